"""One JSON value out of a text, strictly.

The one rule: the standard library's scanner decides fast, with hooks that only raise; whatever it
refuses is read again by a slow reader of our own, which says exactly where and why. Nothing is
accepted that the slow reader would refuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.parsing.flaws import LONE, Fault, broken_encoding, path, show
from tdsys.parsing.reading import Limits

SPACE = re.compile(r"[ \t\n\r]*+")
_BAD = re.compile("[\x00\ud800-\udfff]")
_STRING = re.compile(
    r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+', re.ASCII
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][-+]?[0-9]++)?(?![0-9A-Za-z.+-])")
_WORD = re.compile(r"[-+.\w]++")
# Given what _STRING has matched, it can only return text.
_decode_text: Callable[[str, int], tuple[str, int]] = json.JSONDecoder().raw_decode
_ENDED_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3}+)?\Z")
_LITERALS = ("true", "false", "null")
_CONSTANTS = ("NaN", "Infinity", "-Infinity")
# Whole surrogate pairs and escaped backslashes are passed over; the group is what must not be.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u(?:0000|[dD][89a-fA-F]..))|\\.", re.DOTALL
)


class _Suspect(ValueError):
    """The fast reader met something that the slow one has to judge."""


class Read(NamedTuple):
    """A value and the index of the character behind it."""

    value: JsonValue
    end: int


class StrictJson:
    """Reads values within limits; `encoding` is what broken bytes are said to violate."""

    def __init__(self, limits: Limits, encoding: str) -> None:
        self._limits = limits
        self._encoding = encoding
        self._decode = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=_float,
            parse_constant=_constant,
        ).raw_decode

    def read(self, text: str, at: int = 0, *, damaged: bool = False) -> Read:
        """The value that begins at `at`; Fault says where in the text it is wrong."""
        try:
            value, end = self._decode(text, at)
            if end - at > self._limits.record:
                message = f"longer than {self._limits.record:,} characters"
                raise Fault(at, "record_too_large", message)
            doubtful = self._doubtful(text, at, end, damaged=damaged)
            if doubtful and not self._within_limits(value):
                self._inspect(text, at)
        except (ValueError, RecursionError) as bad:
            self._inspect(text, at)
            raise Fault(at, "malformed", str(bad)) from None
        return Read(value, end)

    def alone(self, text: str, *, damaged: bool = False) -> JsonValue:
        """The one value that a text without blanks at its ends holds."""
        value, end = self.read(text, damaged=damaged)
        if end != len(text):
            raise Fault(end, "malformed", "other text follows the end of the record")
        return value

    def _object(self, pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        made = dict(pairs)
        if len(made) != len(pairs) or len(max(made, key=len, default="")) > self._limits.key:
            raise _Suspect("a repeated or long name")
        return made

    def _integer(self, digits: str) -> int:
        if len(digits) > self._limits.digits:
            raise _Suspect("a long number")
        return int(digits)

    def _doubtful(self, text: str, at: int, end: int, *, damaged: bool) -> bool:
        """Whether the record could break a limit that the hooks do not see; cheap."""
        limits = self._limits
        return (
            damaged
            or end - at > min(limits.text, limits.values)
            or text.count("{", at, end) + text.count("[", at, end) > limits.depth
            or text.find("\\u", at, end) >= 0
        )

    def _within_limits(self, value: JsonValue) -> bool:
        """Whether a value, already read, keeps every limit."""
        count, level = 0, [value]
        for _ in range(self._limits.depth):
            count += len(level)
            if count > self._limits.values or not all(map(self._fits, level)):
                return False
            level = [inner for outer in level for inner in _inside(outer)]
        count += len(level)
        flat = not any(isinstance(one, dict | list) for one in level)
        return flat and count <= self._limits.values and all(map(self._fits, level))

    def _fits(self, value: JsonValue) -> bool:
        if isinstance(value, str):
            return len(value) <= self._limits.text and not _BAD.search(value)
        return not isinstance(value, dict) or not any(map(_BAD.search, value))

    def _inspect(self, text: str, at: int) -> None:
        Inspection(text, at, self._limits, self._encoding).value()


def _inside(value: JsonValue) -> Iterable[JsonValue]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _float(digits: str) -> float:
    number = float(digits)
    if number - number != 0:
        raise _Suspect("an infinite number")
    return number


def _constant(name: str) -> float:
    raise _Suspect(name)


class Inspection:
    """The slow reader: raises the first Fault of a value, or leaves `at` behind it."""

    def __init__(self, text: str, at: int, limits: Limits, encoding: str) -> None:
        self.at = at
        self._text = text
        self._limits = limits
        self._encoding = encoding
        self._values = 0
        self._steps: list[str | int] = []

    def value(self) -> None:
        """Read one value of any kind."""
        self._values += 1
        if self._values > self._limits.values:
            raise self._fault("too_many_values", f"more than {self._limits.values:,} values")
        match self._text[self.at : self.at + 1]:
            case "{":
                self._nested(self._members, "}")
            case "[":
                self._nested(self._items, "]")
            case '"':
                self._string(self._limits.text, "text_too_long")
            case _:
                self._plain()

    def _nested(self, contents: Callable[[], None], close: str) -> None:
        depth = len(self._steps) + 1
        if depth > self._limits.depth:
            raise self._fault("too_deep", f"nested deeper than {self._limits.depth} levels")
        self.at += 1
        self._space()
        if self._text[self.at : self.at + 1] == close:
            self.at += 1
        else:
            contents()

    def _members(self) -> None:
        names: set[str] = set()
        while True:
            begin = self.at
            if self._text[begin : begin + 1] != '"':
                raise self._expected("a name in double quotes")
            name = self._string(self._limits.key, "key_too_long")
            self._steps.append(name)
            if name in names:
                raise self._fault("duplicate_key", f"the name {show(name)} is given twice", begin)
            names.add(name)
            self._space()
            self._skip(":", "':'")
            self._space()
            self.value()
            self._steps.pop()
            if self._closed("}"):
                return

    def _items(self) -> None:
        self._steps.append(0)
        while True:
            self.value()
            if self._closed("]"):
                self._steps.pop()
                return
            self._steps[-1] = int(self._steps[-1]) + 1

    def _closed(self, close: str) -> bool:
        """Whether the list or object ends here; else its comma is passed."""
        self._space()
        if self._text[self.at : self.at + 1] == close:
            self.at += 1
            return True
        self._skip(",", f"',' or {close!r}")
        self._space()
        return False

    def _skip(self, mark: str, expected: str) -> None:
        if self._text[self.at : self.at + 1] != mark:
            raise self._expected(expected)
        self.at += 1

    def _space(self) -> None:
        found = SPACE.match(self._text, self.at)
        self.at = found.end() if found else self.at

    def _string(self, longest: int, code: str) -> str:
        begin = self.at
        found = _STRING.match(self._text, begin)
        end = found.end() if found else begin
        if self._text[end : end + 1] != '"':
            raise self._bad_string(begin, end)
        text, self.at = _decode_text(self._text, begin)
        if len(text) > longest:
            raise self._fault(code, f"{len(text):,} characters, at most {longest:,}", begin)
        if _BAD.search(text):
            raise self._bad_character(begin)
        return text

    def _bad_string(self, begin: int, at: int) -> Fault:
        wrong = self._text[at : at + 1]
        if not wrong or _ENDED_ESCAPE.match(self._text, at):
            return self._fault("malformed", "the text in quotes does not end", begin, ended=True)
        if wrong == "\\":
            escape = self._text[at : at + 2]
            return self._fault("malformed", f"{show(escape)} is no escape that JSON knows", at)
        return self._fault("malformed", f"the control character {show(wrong)} is not escaped", at)

    def _bad_character(self, begin: int) -> Fault:
        text = self._text
        if lone := LONE.search(text, begin, self.at):
            why = broken_encoding(text, lone.start(), self._encoding)
            return self._fault("encoding", why, lone.start())
        for escape in _ESCAPE.finditer(text, begin, self.at):
            if escape.group(1):
                what = "a NUL" if escape.group(1) == "\\u0000" else "half a surrogate pair"
                why = f"{escape.group(1)} is {what}"
                return self._fault("bad_character", why, escape.start())
        return self._fault("bad_character", "a NUL or half a surrogate pair", begin)

    def _plain(self) -> None:
        begin = self.at
        number = _NUMBER.match(self._text, begin)
        if number:
            self.at = number.end()
            self._check_number(number, begin)
            return
        found = _WORD.match(self._text, begin)
        word = found.group() if found else ""
        if word in _CONSTANTS:
            raise self._fault("not_finite", f"{word} is not a JSON number")
        if word not in _LITERALS:
            raise self._expected("a value")
        self.at += len(word)

    def _check_number(self, number: re.Match[str], begin: int) -> None:
        digits = number.group()
        if number.lastindex is None:
            if len(digits) > self._limits.digits:
                message = f"a whole number of {len(digits):,} digits, at most {self._limits.digits}"
                ended = self.at == len(self._text)
                raise self._fault("number_too_long", message, begin, ended=ended)
        elif float(digits) in (float("inf"), float("-inf")):
            raise self._fault("not_finite", f"{show(digits)} is too large for a number", begin)

    def _expected(self, what: str) -> Fault:
        found = _WORD.match(self._text, self.at)
        word = found.group() if found else self._text[self.at : self.at + 1]
        ended = self.at + len(word) >= len(self._text)
        if not word:
            return self._fault("malformed", f"expected {what}, but it ends here", ended=True)
        if word == "\ufeff":
            return self._fault("malformed", "an invisible byte-order mark (U+FEFF) stands here")
        return self._fault("malformed", f"expected {what}, found {show(word)}", ended=ended)

    def _fault(
        self, code: str, message: str, at: int | None = None, *, ended: bool = False
    ) -> Fault:
        at = self.at if at is None else at
        return Fault(at, code, message, field=path(self._steps), ended=ended)
