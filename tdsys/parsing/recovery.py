"""Where a broken JSON record ends, so that the next one can be read.

The one rule: a text that reads `, {"name":` with the name that records begin with is the border of
two records unless it stands in a list inside the record: within a well-written text in quotes it
could not appear, because its own quotes would be escaped.
"""

from __future__ import annotations

import re

from tdsys.parsing.window import Window

_SPACE = r"[ \t\n\r]*+"
_FIRST_NAME = re.compile(rf'{_SPACE}\{{{_SPACE}("(?:[^"\\\x00-\x1f]|\\.){{0,256}}+"){_SPACE}:')
_ANY_NAME = r'"(?:[^"\\\x00-\x1f]|\\.){1,256}+"'
_TEXT = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_PLAIN_END = re.compile(r"[,\]}]")
# How far the text of a border can reach: its name and some blanks.
_BORDER = 600
# More than the limits of a record allow: counting brackets any further is not worth its time.
_MOST_MARKS = 100_000
_OPEN_FOR = {"}": "{", "]": "["}


class Recovery:
    """Moves a window behind the broken value that it stands at."""

    def __init__(self, window: Window, begun: list[str]) -> None:
        """`begun` are texts of records, whose first names make a border."""
        names = {re.escape(found.group(1)) for text in begun if (found := _FIRST_NAME.match(text))}
        name = "|".join(sorted(names)) or _ANY_NAME
        border = rf",(?={_SPACE}\{{{_SPACE}(?:{name}){_SPACE}:)"
        self._named = bool(names)
        self._window = window
        self._border = re.compile(border)
        self._marks = re.compile(rf'["\[\]{{}}]|{border}')

    def pass_value(self) -> bool:
        """Stand behind the value, or at a border before; False if the text ended first."""
        try:
            self._pass_value()
        except _Ended:
            return False
        return True

    def _pass_value(self) -> None:
        window = self._window
        match window.text[window.at : window.at + 1]:
            case "{" | "[":
                self._pass_brackets()
            case '"' if not self._named:
                window.at += 1
                self._pass_text()
            case _:
                window.at += 1
                self._pass_to(self._border if self._named else _PLAIN_END)

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
                if not opened:
                    return
            elif mark != ",":
                opened.append(mark)
        self._pass_to(self._border)

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
