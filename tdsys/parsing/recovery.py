"""Where a broken JSON record ends, so that the next one can be read.

The one rule: a text that reads `, {"name":` with a name that records begin with is the border of
two records, unless it stands in a list inside the record. Within a well-written text in quotes it
could not appear, because its own quotes would be escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tdsys.parsing.window import Window

_SPACE = r"[ \t\n\r]*+"
_NAME = r'"(?:[^"\\\x00-\x1f]|\\.){0,256}+"'
_FIRST_NAME = re.compile(rf"\{{{_SPACE}({_NAME}){_SPACE}:")
_TEXT = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_PLAIN_END = re.compile(r"[,\]}]")
# How far the text of a border can reach: its name and some blanks.
_BORDER = 600
# More than the limits of a record allow: counting brackets any further is not worth its time.
_MOST_MARKS = 100_000
# Of broken records: each more makes new patterns, and they are compiled slowly.
_MOST_NAMES = 16
# How often a window is searched for a border in vain.
_MOST_MISSES = 100
_ANOTHER = re.compile(rf"{_SPACE},{_SPACE}[{{\[]")
_OPEN_FOR = {"}": "{", "]": "["}


class Recovery:
    """Moves a window behind the broken value that it stands at."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._misses = 0
        self._own: set[str] = set()

    def pass_value(self, names: Iterable[str], *, wrapped: bool, sound: bool) -> bool:
        """Stand behind the value, or at a border before; False if the text ended first.

        `names` are those that records before began with. `wrapped` tells that the list is inside an
        object, so that more may follow behind its end; `sound`, that brackets and quotes are right.
        """
        text, at = self._window.text, self._window.at
        own = _FIRST_NAME.match(text, at)
        if own and len(self._own) < _MOST_NAMES:
            self._own.add(re.escape(own.group(1)))
        known = "|".join([*map(_written, sorted(names)), *sorted(self._own)])
        border = rf",(?={_SPACE}\{{{_SPACE}(?:{known or _NAME}){_SPACE}:)"
        end = rf"\]{_SPACE}" + (r"[,}]" if wrapped else r"\Z")
        next_one = rf",{_SPACE}\{{{_SPACE}(?:\}}|{known})" if known else ","
        self._border = re.compile(border)
        self._marks = re.compile(rf'["\[\]{{}}]|{border}')
        self._after = re.compile("" if sound else rf"{_SPACE}(?:{next_one}|{end})")
        try:
            self._pass(text[at : at + 1], named=bool(known))
        except _Ended:
            return False
        return True

    def _pass(self, first: str, *, named: bool) -> None:
        if first in {"{", "["}:
            self._pass_brackets()
            return
        self._window.at += 1
        if named:
            self._pass_to(self._border)
        elif first == '"':
            self._pass_text()
        else:
            self._pass_to(_PLAIN_END)

    def _pass_brackets(self) -> None:
        window, opened = self._window, list[str]()
        for _ in range(_MOST_MARKS):
            self._pass_to(self._marks)
            mark = window.text[window.at]
            if mark == "," and opened[-1] == "{":
                return
            window.at += 1
            if mark == '"':
                if self._pass_text():
                    return
            elif mark in _OPEN_FOR:
                if opened.pop() != _OPEN_FOR[mark]:
                    break
                if not opened and self._is_the_end():
                    return
                if not opened:
                    break
            elif mark != ",":
                opened.append(mark)
        self._pass_to(self._border)

    def _is_the_end(self) -> bool:
        """Whether the brackets that closed were those of the record.

        A quote too many turns texts inside out, and brackets in them close the record too early.
        """
        text, at = self._window.text, self._window.at
        if self._after.match(text, at):
            return True
        if not _ANOTHER.match(text, at):
            return False
        # Of a kind never seen, it is the next record only if none of a known kind is near.
        if self._misses < _MOST_MISSES and self._border.search(text, at):
            return False
        self._misses += 1
        return True

    def _pass_text(self) -> bool:
        """Stand behind the quote that ends a text; or at a border inside it, and say so."""
        window = self._window
        while found := _TEXT.match(window.text, window.at):
            end = found.end()
            border = self._border.search(window.text, window.at, end + _BORDER)
            if border and border.start() < end:
                window.at = border.start()
                return True
            window.at = end
            if window.text[end : end + 1] == '"':
                window.at += 1
                break
            if not window.more():
                raise _Ended
        return False

    def _pass_to(self, pattern: re.Pattern[str]) -> None:
        window = self._window
        while not (found := pattern.search(window.text, window.at)):
            window.at = max(window.at, len(window.text) - _BORDER)
            if not window.more():
                raise _Ended
        window.at = found.start()


class _Ended(Exception):
    """The text was over before the value was."""


def _written(name: str) -> str:
    """A name as files have it: plain, or with escapes."""
    return "|".join(re.escape(json.dumps(name, ensure_ascii=escaped)) for escaped in (False, True))
