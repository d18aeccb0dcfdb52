"""The text of a YAML file as libyaml takes it: on demand, and kept as long as a record needs it.

The one rule: text that libyaml must not see (bytes that are no text, control characters, more than
a record may hold) ends the feed before it; `trouble` then says why, and `end` where.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

from tdsys.parsing.flaws import LONE, Trouble, broken_encoding, cut, show
from tdsys.parsing.reading import RAW_CHARACTERS, Limits
from tdsys.parsing.source import Source

# The complement of YAML's printable characters, as libyaml has them.
_NOT_YAML = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PIECE = 16 * 1024
_LONGEST_BORDER = 256
_UNKNOWN = -1
# libyaml asks for more while it still holds this much.
_READ_AHEAD = 64 * 1024


class Passed(NamedTuple):
    """What was left out to go on behind it: how many lines, and its text."""

    lines: int
    raw: str


class Feed:
    """A stream for the parser; `start` is the index of the record that is being read.

    Indexes count the characters of the file, `origin` is the one that the parser began at.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._text = source.read()
        self._base = self._given = 0
        self._bad = self._find_bad(0)
        self._over = False
        self.start = self.origin = 0
        self.end = sys.maxsize
        self.trouble: Trouble | None = None

    def read(self, _size: int = -1, /) -> str:
        """The next piece; empty at the end, as a file has it."""
        if self._over:
            return ""
        if self._given - self.start > self._limits.record + _READ_AHEAD:
            return self._stop("record_too_large", f"longer than {self._limits.record:,} characters")
        if self._given == self._base + len(self._text) and not self._more(self.start):
            return self._stop(*(self._source.trouble or ("", "")))
        if self._given == self._bad:
            return self._stop(*self._unprintable())
        begin = self._given - self._base
        piece = self._text[begin : min(begin + _PIECE, self._bad - self._base)]
        self._given += len(piece)
        return piece

    @property
    def beginning(self) -> str:
        """The first block of the file, before anything is read."""
        return self._text

    def raw(self, end: int | None) -> str:
        """The text of the record that began at `start`, up to an index or all that was given."""
        end = self._given if end is None else end
        return self._text[self.start - self._base : end - self._base]

    def position(self, line: int, column: int) -> tuple[int, int]:
        """Where the feed ended, if the record began at this line and column."""
        begin, end = self.start - self._base, self._given - self._base
        behind = begin
        for found in _LINE_END.finditer(self._text, begin, end):
            line, column, behind = line + 1, 1, found.end()
        return line, column + end - behind

    def shows(self, border: re.Pattern[str], end: int) -> bool:
        """Whether the border of a record stands between the start and an index."""
        begin = self.start - self._base
        # The character behind the border belongs to it.
        return border.search(self._text, begin, end - self._base + 1) is not None

    def pass_to(self, border: re.Pattern[str], at: int) -> Passed | None:
        """Go on at the line that the border shows behind an index; None if there is none.

        A border begins with the end of the line before.
        """
        lines, first = 0, at
        raw = self._text[at - self._base : at - self._base + RAW_CHARACTERS]
        at = max(at, self.origin)
        while not (found := border.search(self._text, at - self._base)):
            # What is kept is the last line with the end of the line before, if it can be a border.
            keep = self._base + max(self._text.rfind("\n"), len(self._text) - _LONGEST_BORDER)
            lines += self._lines(self.start, keep)
            self.start, at = max(keep, self.start), max(keep, at)
            self._bad = _UNKNOWN
            if not self._more(min(at, self.start)):
                return None
        begin = self._base + found.start() + 1
        lines += self._lines(self.start, begin)
        self.start = self.origin = self._given = begin
        if self._bad < begin:
            self._bad = self._find_bad(begin - self._base)
        self._over, self.trouble, self.end = False, None, sys.maxsize
        return Passed(lines, cut(raw[: begin - first].rstrip(), begin - first))

    def _lines(self, begin: int, end: int) -> int:
        """How many lines end between two indexes."""
        text = self._text[begin - self._base : max(begin, end) - self._base]
        return sum(map(text.count, "\n\r\x85\u2028\u2029")) - text.count("\r\n")

    def _more(self, keep: int) -> bool:
        """Read a block; what is before an index is dropped."""
        block = self._source.read()
        held = self._text[keep - self._base :]
        self._text, self._base = held + block, keep
        if self._bad == sys.maxsize:
            self._bad = self._find_bad(len(held))
        return bool(block)

    def _find_bad(self, begin: int) -> int:
        found = _NOT_YAML.search(self._text, begin)
        return self._base + found.start() if found else sys.maxsize

    def _stop(self, code: str, message: str) -> str:
        self._over = True
        if code:
            self.trouble, self.end = Trouble(code, message), self._given
        return ""

    def _unprintable(self) -> Trouble:
        at = self._bad - self._base
        if LONE.match(self._text, at):
            return Trouble("encoding", broken_encoding(self._text, at, self._source.encoding))
        character = show(self._text[at])
        return Trouble("bad_character", f"the character {character} may not stand in YAML")
