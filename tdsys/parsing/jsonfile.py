"""A JSON file: a list of records, an object with such a list inside, or one record.

The one rule: the window always shows a whole record's limit ahead, so a record that reaches its end
is too large or cut off, never merely not there yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import JsonValue

from tdsys.parsing.flaws import Fatal, Fault, Trouble, cut, flaw, show
from tdsys.parsing.reading import RAW_CHARACTERS, Asked, Flaw, Limits, Place, Record
from tdsys.parsing.recovery import Recovery
from tdsys.parsing.source import Source
from tdsys.parsing.strictjson import SPACE, Read, StrictJson
from tdsys.parsing.window import Window

_LIST_OF_OBJECTS = re.compile(r"\[[ \t\n\r]*+\{")
_GOES_ON = re.compile(r'[ \t\n\r]*+,?[ \t\n\r]*+"((?:[^"\\]|\\.){0,256}+)"[ \t\n\r]*+:')
_BEGINS_A_VALUE = frozenset('{["-0123456789tfn')
_DEEPEST_LIST = 8
_MOST_NAMES = 16
_PART = 8192
_CUT_OFF = Trouble("cut_off", "the file ends in the middle")


class JsonFile:
    """One pass over one file."""

    def __init__(self, source: Source, asked: Asked, limits: Limits) -> None:
        self._window = Window(source, limits.record + 1)
        self._recovery = Recovery(self._window)
        self._json = StrictJson(limits, source.encoding)
        self._limits = limits
        self._wanted = tuple(asked.at.split(".")) if asked.at else None
        self._found: tuple[str, ...] | None = None
        self._record = 0
        self._names: set[str] = set()
        self._part = _PART

    def results(self) -> Iterator[Record | Flaw]:
        """Every record and flaw, in the order of the file."""
        try:
            yield from self._root()
            self._expect_nothing_more()
        except Fatal as end:
            yield end.flaw

    def _root(self) -> Iterator[Record | Flaw]:
        match self._peek():
            case "[" if not self._wanted:
                yield from self._list()
            case "[":
                raise self._fatal("no_list", "the file is a list itself, without names inside")
            case "{":
                yield from self._object_or_record()
            case "":
                raise self._cut_off()
            case _:
                yield self._item()

    def _expect_nothing_more(self) -> None:
        found = self._peek()
        if found:
            raise self._fatal("trailing_data", f"{show(found)} follows the end of the data")
        if self._window.source.trouble:
            raise self._cut_off()

    # Lists of records

    def _list(self) -> Iterator[Record | Flaw]:
        self._window.at += 1
        first, comma = True, False
        while (found := self._peek()) != "]":
            if not found:
                raise self._cut_off()
            if found == ",":
                yield self._flaw("malformed", "a comma without a record before it")
            else:
                if not first and not comma and found in _BEGINS_A_VALUE:
                    yield self._flaw("malformed", "a comma is missing between two records")
                yield self._item()
            first, comma = False, self._peek() == ","
            self._window.at += comma
        if comma:
            yield self._flaw("malformed", "a comma without a record after it")
        self._window.at += 1

    def _item(self) -> Record | Flaw:
        window, begin = self._window, self._window.at
        place = self._place()
        try:
            value, end = self._read()
            self._expect_an_end(value, end)
        except Fault as bad:
            return self._broken(place, bad)
        window.at = end
        if isinstance(value, dict) and value and len(self._names) <= _MOST_NAMES:
            self._names.add(next(iter(value)))
        return Record(place, value, cut(window.text[begin : window.at]))

    def _expect_an_end(self, value: JsonValue, at: int) -> None:
        """Refuse a value that is only the first part of something else."""
        text = self._window.text
        if isinstance(value, dict | list):
            # A name that records begin with tells that the next one lacks its brace.
            if (goes_on := _GOES_ON.match(text, at)) and goes_on.group(1) not in self._names:
                raise Fault(at - 1, "malformed", "the object ends here, and goes on behind")
            return
        found = SPACE.match(text, at)
        follows = text[found.end() : found.end() + 1] if found else ""
        if follows and follows not in ",]" and follows not in _BEGINS_A_VALUE:
            raise Fault(at, "malformed", f"expected ',' or ']', found {show(follows)}")

    def _broken(self, place: Place, bad: Fault) -> Flaw:
        """The flaw of the record at the window's place, which is left behind it."""
        window = self._window
        begin, text = window.base + window.at, window.text[window.at : window.at + RAW_CHARACTERS]
        line, column = window.position(bad.at)
        code, message = bad.code, bad.message
        if bad.ended and not window.whole:
            code, message = "record_too_large", f"longer than {self._limits.record:,} characters"
        else:
            place = Place(place.record, line, column)
        names = self._names if len(self._names) <= _MOST_NAMES else ()
        sound = bad.code != "malformed" and not bad.ended
        passed = self._recovery.pass_value(names, wrapped=bool(self._found), sound=sound)
        if not passed and bad.ended:
            code, message = window.source.trouble or ("cut_off", message)
        size = window.base + (window.at if passed else len(window.text)) - begin
        found = flaw(
            place, code, message, field=bad.field, raw=cut(text[:size], size), fatal=not passed
        )
        if found.fatal:
            raise Fatal(found)
        return found

    # An object around the list

    def _object_or_record(self) -> Iterator[Record | Flaw]:
        alone: Flaw | None = None
        try:
            value = self._read().value
        except Fault as bad:
            alone = self._flawed_record(bad)
        else:
            if not self._wanted and not _holds_a_list(value, _DEEPEST_LIST):
                yield self._item()
                return
        try:
            yield from self._object(())
        except Fatal:
            if self._found is None and alone and alone.code != "no_list":
                raise Fatal(alone._replace(fatal=True)) from None
            raise
        if self._wanted and self._found is None:
            raise self._fatal("no_list", f"there is no list at {show('.'.join(self._wanted))}")
        if self._found is None and alone:
            yield alone

    def _flawed_record(self, bad: Fault) -> Flaw:
        """What is wrong with the object if it turns out to be the only record."""
        window = self._window
        place, code, message = Place(1, *window.position(bad.at)), bad.code, bad.message
        if bad.ended and window.whole:
            code, message = window.source.trouble or ("cut_off", message)
        elif bad.ended:
            code, place = "no_list", Place(1, *window.here())
            message = f"one object of over {self._limits.record:,} characters without a list inside"
        raw = cut(window.text[window.at : window.at + self._limits.record])
        return flaw(place, code, message, field=bad.field, raw=raw)

    def _object(self, steps: tuple[str, ...]) -> Iterator[Record | Flaw]:
        """The members of an object that is itself no record."""
        window = self._window
        window.at += 1
        found = self._peek()
        while found != "}":
            name = self._name()
            yield from self._member((*steps, name))
            found = self._peek()
            if found == ",":
                window.at += 1
                found = self._peek()
                if found == "}":
                    raise self._fatal("malformed", "a comma without a member after it")
            elif found != "}":
                raise self._fatal("malformed", f"expected ',' or '}}', found {show(found)}")
        window.at += 1

    def _name(self) -> str:
        window = self._window
        if window.text[window.at : window.at + 1] != '"':
            raise self._fatal("malformed", "expected a name in double quotes")
        name = self._pass_over()
        if self._peek() != ":":
            raise self._fatal("malformed", "expected ':' after a name")
        window.at += 1
        return name if isinstance(name, str) else ""

    def _member(self, steps: tuple[str, ...]) -> Iterator[Record | Flaw]:
        found = self._peek()
        if found == "[" and self._is_the_list(steps):
            self._found = steps
            yield from self._list()
        elif found == "{" and len(steps) < _DEEPEST_LIST:
            yield from self._object(steps)
        else:
            if found == "[" and not self._wanted and self._holds_objects():
                yield self._flaw("another_list", f"the list at {show('.'.join(steps))} is not read")
            self._pass_over()

    def _is_the_list(self, steps: tuple[str, ...]) -> bool:
        if self._wanted:
            return steps == self._wanted
        return self._found is None and self._holds_objects()

    def _holds_objects(self) -> bool:
        return bool(_LIST_OF_OBJECTS.match(self._window.text, self._window.at))

    def _pass_over(self) -> JsonValue:
        """Leave a member behind that is no record: it must be well written, nothing else."""
        window = self._window
        try:
            value, window.at = self._read()
        except Fault as bad:
            if bad.code == "malformed" and not (bad.ended and not window.whole):
                window.at = bad.at
                raise self._fatal(bad.code, bad.message) from None
            if not self._recovery.pass_value((), wrapped=True, sound=True):
                raise self._cut_off() from None
            return None
        return value

    # Values, places and flaws

    def _read(self) -> Read:
        """The value that the window stands at.

        A part of the window is tried first: an error of the standard library counts lines from the
        beginning of the text it was given, which made many small errors in a large window slow.
        """
        window, at = self._window, self._window.at
        damaged = window.source.damaged
        part = window.text[at : at + self._part]
        alone = at + len(part) == len(window.text)
        try:
            value, end = self._json.read(part, damaged=damaged)
            if alone or end < len(part):
                return Read(value, at + end)
        except Fault as bad:
            if alone or not bad.ended:
                bad.at += at
                raise
        value, end = self._json.read(window.text, at, damaged=damaged)
        self._part = max(_PART, 2 * (end - at))
        return Read(value, end)

    def _peek(self) -> str:
        """The next character that is no blank; empty at the end of the file."""
        window = self._window
        while True:
            window.look()
            found = SPACE.match(window.text, window.at)
            window.at = found.end() if found else window.at
            if window.at < len(window.text) or not window.more():
                return window.text[window.at : window.at + 1]

    def _place(self) -> Place:
        self._record += 1
        return Place(self._record, *self._window.here())

    def _flaw(self, code: str, message: str) -> Flaw:
        return flaw(self._place(), code, message)

    def _fatal(self, code: str, message: str) -> Fatal:
        return Fatal(flaw(self._place(), code, message, fatal=True))

    def _cut_off(self) -> Fatal:
        return self._fatal(*(self._window.source.trouble or _CUT_OFF))


def _holds_a_list(value: JsonValue, deepest: int) -> bool:
    """Whether a list of objects is somewhere inside, reached by names only."""
    if not isinstance(value, dict) or not deepest:
        return False
    return any(
        (isinstance(one, list) and bool(one) and isinstance(one[0], dict))
        or _holds_a_list(one, deepest - 1)
        for one in value.values()
    )
