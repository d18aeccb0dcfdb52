"""JSON Lines: one JSON value per line; blank lines are no records.

The one rule: a line is read on its own, so a broken one never reaches its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

from tdsys.parsing.flaws import Fault, cut, flaw
from tdsys.parsing.lines import Lines
from tdsys.parsing.reading import Flaw, Limits, Place, Record
from tdsys.parsing.source import Source
from tdsys.parsing.strictjson import StrictJson

_SPACE = " \t\r"


def read(source: Source, limits: Limits, skip: int) -> Iterator[Record | Flaw]:
    """Every line that is not blank as a record or a flaw; the first `skip` are not looked into."""
    lines = Lines(source, longest=limits.record, universal=False)
    parser = StrictJson(limits, source.encoding)
    record = line = 0
    for line, text in enumerate(lines, 1):
        bare = text.strip(_SPACE)
        if not bare:
            continue
        record += 1
        if record <= skip:
            continue
        column = 1 if text[0] not in _SPACE else len(text) - len(text.lstrip(_SPACE)) + 1
        place = Place(record, line, column)
        if len(text) > limits.record:
            message = f"the line is longer than {limits.record:,} characters"
            yield flaw(place, "record_too_large", message, raw=cut(text))
            continue
        try:
            value = parser.alone(bare, damaged=source.damaged)
        except Fault as bad:
            place = place._replace(column=column + bad.at)
            yield flaw(place, bad.code, bad.message, field=bad.field, raw=cut(bare))
        else:
            yield Record(place, value, cut(bare))
    if source.trouble and record >= skip:
        place = Place(record + 1, line + 1, 1)
        yield flaw(place, *source.trouble, raw=cut(lines.tail), fatal=True)
