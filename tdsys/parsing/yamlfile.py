"""A YAML file: a list of records, a mapping with such a list inside, or one record per document.

The one rule: only libyaml's events are used. Nothing is composed or constructed by PyYAML, which
dies of deep nesting and explodes on aliases.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import JsonValue
from yaml.error import MarkedYAMLError
from yaml.events import (
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from tdsys.parsing.flaws import Fatal, cut, flaw, show
from tdsys.parsing.reading import Asked, Flaw, Limits, Place, Record
from tdsys.parsing.source import Source
from tdsys.parsing.yamlfeed import Feed, Passed
from tdsys.parsing.yamlvalue import Values, Wrong

_MARKER = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_SAYS_NOTHING = re.compile(r"(?:[ \t]*(?:#.*)?[\r\n]++|%.*[\r\n]++)*+(?:[ \t]*(?:#.*)?\Z)?")
_STARTS = frozenset((MappingStartEvent, SequenceStartEvent))
_ENDS = frozenset((MappingEndEvent, SequenceEndEvent))
_DEEPEST_LIST = 8
_DEEPEST_DASH = 200
_NO_END = "found unexpected end of stream"
_MOST_RESTARTS = 1000
_DOCUMENT = re.compile(r"\n---(?=[ \t\r\n])")
# libyaml's work grows with the square of the depth of brackets: give up early.
_HOPELESS_DEPTH = 500


class YamlFile:
    """One pass over one file."""

    def __init__(self, source: Source, asked: Asked, limits: Limits) -> None:
        self._feed = Feed(source, limits)
        self._parser = yaml.CSafeLoader(self._feed)
        self._values = Values(self._take, limits)
        self._limits = limits
        self._wanted = tuple(asked.at.split(".")) if asked.at else None
        self._several = _several_documents(self._feed.beginning)
        self._pending: deque[Any] = deque()
        self._seen: list[Any] | None = None
        self._depth = self._record = self._end = 0
        self._line = self._column = 1
        # Lines above the one that the parser began at, and what shows where it could begin again.
        self._above = self._restarts = 0
        self._border: re.Pattern[str] | None = None
        # Indexes of where the last error was noticed, and where what is wrong there began.
        self._problem_at = self._wrong_at = 0
        self._inside = False

    def results(self) -> Iterator[Record | Flaw]:
        """Every record and flaw, in the order of the file."""
        more = True
        while more:
            held: Record | Flaw | None = None
            broken: Fatal | None = None
            try:
                # The last one is held: what comes next can show that it was not whole.
                for result in self._documents():
                    if held:
                        yield held
                    held = result
            except Fatal as end:
                broken = end
            spoilt = bool(broken and held and self._goes_on())
            if held and not spoilt:
                yield held
            flaw = self._recovered(broken.flaw, spoilt=spoilt) if broken else None
            if flaw:
                yield flaw
            more = broken is not None and not (flaw and flaw.fatal)

    def _goes_on(self) -> bool:
        """Whether what is wrong still belongs to the record that seemed to be over."""
        if self._inside or not self._border or not self._problem_at:
            return False
        return not self._feed.shows(self._border, self._problem_at)

    def _recovered(self, flaw: Flaw, *, spoilt: bool) -> Flaw | None:
        """What to tell when the broken record has been left out; fatal where it could not be."""
        whole = not self._inside and self._feed.start > self._feed.origin
        passed = self._begin_again(self._feed.start if spoilt else self._wrong_at)
        if passed and whole and flaw.code == "record_too_large":
            return None  # what lies ahead is too large; it is read again, as the next record
        self._record += not spoilt
        place = flaw.place._replace(record=self._record)
        raw = passed.raw if passed else flaw.raw
        return flaw._replace(place=place, raw=raw, fatal=passed is None)

    def _documents(self) -> Iterator[Record | Flaw]:
        while type(event := self._take()) is not StreamEndEvent:
            if type(event) is DocumentStartEvent:
                self._border = _DOCUMENT if self._several else None
                yield from self._document(self._take())
        if self._feed.trouble:
            raise self._trouble()

    def _document(self, event: Any) -> Iterator[Record | Flaw]:
        if type(event) is SequenceStartEvent:
            if self._wanted:
                raise self._fatal(event, "no_list", "the file is a list itself")
            _, column = self._place(event.start_mark)
            if not event.flow_style and column < _DEEPEST_DASH:
                dash = " " * (column - 1) + "-"
                self._border = re.compile(rf"\n(?:{dash}|---)(?=[ \t\r\n])")
            yield from self._items()
        elif type(event) is MappingStartEvent and (self._wanted or not self._several):
            yield from self._mapping_or_record(event)
        elif type(event) is not ScalarEvent or event.value or not event.implicit[0]:
            yield self._item(event)

    def _begin_again(self, at: int) -> Passed | None:
        """Leave the broken record out; None where nothing shows where the next one begins.

        By the rules of YAML neither a dash at the column of the list's dashes nor a document marker
        can stand inside a record, whatever is wrong with it.
        """
        self._restarts += 1
        if not self._border or self._restarts > _MOST_RESTARTS:
            return None
        passed = self._feed.pass_to(self._border, max(self._feed.start, at))
        if passed:
            self._parser = yaml.CSafeLoader(self._feed)
            self._above = self._line + passed.lines - 1
            self._line, self._column = self._above + 1, 1
            self._depth = self._wrong_at = self._problem_at = 0
            self._inside = False
            self._pending.clear()
        return passed

    # Records

    def _items(self) -> Iterator[Record | Flaw]:
        while type(event := self._take()) is not SequenceEndEvent:
            yield self._item(event)

    def _item(self, event: Any) -> Record | Flaw:
        outside = self._depth - (type(event) in _STARTS)
        self._stand_at(event)
        self._inside = True
        value: JsonValue = None
        wrong: Wrong | None = None
        try:
            value = self._values.record(event)
        except Wrong as bad:
            wrong = bad
            self._leave(outside, bad)
        raw = self._raw()
        too_large = len(raw) > self._limits.record
        if self._end >= self._feed.end or (too_large and self._feed.trouble):
            raise self._trouble()
        self._inside = False
        self._record += 1
        place = Place(self._record, self._line, self._column)
        if too_large:
            message = f"longer than {self._limits.record:,} characters"
            return flaw(place, "record_too_large", message, raw=cut(raw))
        if wrong:
            place = Place(self._record, *self._place(wrong.mark))
            return flaw(place, wrong.code, wrong.message, field=wrong.field, raw=cut(raw))
        return Record(place, value, cut(raw))

    def _leave(self, outside: int, wrong: Wrong) -> None:
        """Pass the rest of a record."""
        while self._depth > outside:
            self._take()
            if self._depth > _HOPELESS_DEPTH:
                place = self._place(wrong.mark)
                raise self._at(*place, wrong.code, wrong.message, field=wrong.field)

    def _raw(self) -> str:
        """The text of the record, as it can stand alone."""
        raw = self._feed.raw(self._end).rstrip()
        return " " * (self._column - 1) + raw if "\n" in raw else raw

    # A mapping around the list

    def _mapping_or_record(self, event: Any) -> Iterator[Record | Flaw]:
        self._stand_at(event)
        self._seen = [event]
        for steps, opened in self._lists(()):
            if self._seen is not None:
                self._seen = None
                yield from self._items()
            else:
                message = f"the list at {show('.'.join(steps))} is not read"
                yield self._fatal(opened, "another_list", message).flaw._replace(fatal=False)
                self._record += 1
                self._pass(opened)
        seen, self._seen = self._seen, None
        if seen and self._wanted:
            message = f"there is no list at {show('.'.join(self._wanted))}"
            raise self._fatal(event, "no_list", message)
        if seen:
            self._pending.extend(seen)
            yield self._item(self._take())

    def _lists(self, steps: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Each list that could hold the records, once its start is taken; the rest is passed."""
        while type(name := self._member()) is not MappingEndEvent:
            self._pass(name)
            here = (*steps, name.value if type(name) is ScalarEvent else "")
            value = self._member()
            if type(value) is SequenceStartEvent and self._is_the_list(here):
                yield here, value
            elif type(value) is MappingStartEvent and len(here) < _DEEPEST_LIST:
                yield from self._lists(here)
            else:
                self._pass(value)

    def _is_the_list(self, steps: tuple[str, ...]) -> bool:
        if self._wanted:
            return steps == self._wanted
        event = self._take()
        self._pending.appendleft(event)
        self._depth -= _depth(event)
        return type(event) is MappingStartEvent

    def _member(self) -> Any:
        """The next event of a mapping that may be no record; kept as long as it may be one."""
        event = self._take()
        if self._seen is None:
            self._stand_at(event)
        else:
            self._seen.append(event)
            if self._depth > _HOPELESS_DEPTH:
                raise self._fatal(
                    event, "too_deep", f"nested deeper than {self._limits.depth} levels"
                )
            if len(self._seen) > 2 * self._limits.values:
                message = f"more than {self._limits.values:,} values and no list of mappings"
                raise self._fatal(event, "too_many_values", message)
        return event

    def _pass(self, event: Any) -> None:
        outside = self._depth - 1
        while type(event) in _STARTS and self._depth > outside:
            self._member()

    # Events and flaws

    def _take(self) -> Any:
        if self._pending:
            event = self._pending.popleft()
        else:
            try:
                event = self._parser.get_event()
            except MarkedYAMLError as bad:
                raise self._malformed(bad) from None
        self._depth += _depth(event)
        self._end = event.end_mark.index + self._feed.origin
        return event

    def _place(self, mark: Any) -> tuple[int, int]:
        return self._above + mark.line + 1, mark.column + 1

    def _stand_at(self, event: Any) -> None:
        self._line, self._column = self._place(event.start_mark)
        self._feed.start = event.start_mark.index + self._feed.origin

    def _malformed(self, bad: MarkedYAMLError) -> Fatal:
        noticed = bad.problem_mark.index + self._feed.origin if bad.problem_mark else 0
        if self._feed.trouble and noticed >= self._feed.end:
            large = self._feed.trouble.code == "record_too_large"
            self._wrong_at = 0 if self._inside or large else self._feed.end
            return self._trouble()
        begun = bad.context_mark or bad.problem_mark
        self._problem_at = noticed
        mark = begun if bad.problem == _NO_END else bad.problem_mark or begun
        line, column = self._place(mark) if mark else (self._line, self._column)
        self._wrong_at = 0 if self._inside or not begun else begun.index + self._feed.origin
        message = ": ".join(part for part in (bad.context, bad.problem) if part)
        return self._at(line, column, "malformed", message)

    def _trouble(self) -> Fatal:
        code, message = self._feed.trouble or ("", "")
        line, column = self._line, self._column
        if code != "record_too_large":
            line, column = self._feed.position(line, column)
        return self._at(line, column, code, message)

    def _fatal(self, event: Any, code: str, message: str) -> Fatal:
        return self._at(*self._place(event.start_mark), code, message)

    def _at(self, line: int, column: int, code: str, message: str, *, field: str = "") -> Fatal:
        raw = cut(self._feed.raw(None))
        place = Place(self._record + 1, line, column)
        return Fatal(flaw(place, code, message, field=field, raw=raw, fatal=True))


def _depth(event: Any) -> int:
    """How the event changes the depth."""
    return (type(event) in _STARTS) - (type(event) in _ENDS)


def _several_documents(beginning: str) -> bool:
    markers = list(_MARKER.finditer(beginning))
    if not markers:
        return False
    before = _SAYS_NOTHING.match(beginning)
    leads = before is not None and before.end() >= markers[0].start()
    return len(markers) > leads
