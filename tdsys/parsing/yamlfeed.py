"""The text of a YAML file as libyaml takes it: on demand, and kept as long as a record needs it.

The one rule: text that libyaml must not see (bytes that are no text, control characters, more than
a record may hold) ends the feed before it; `trouble` then says why, and `end` where.
"""

from __future__ import annotations

import re
import sys

from tdsys.parsing.flaws import LONE, Trouble, broken_encoding, show
from tdsys.parsing.reading import Limits
from tdsys.parsing.source import Source

# The complement of YAML's printable characters, as libyaml has them.
_NOT_YAML = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
# libyaml asks for more while it still holds this much.
_READ_AHEAD = 64 * 1024


class Feed:
    """A stream for the parser; `start` is the index of the record that is being read."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._text = ""
        self._base = 0
        self._over = False
        self.start = 0
        self.end = sys.maxsize
        self.trouble: Trouble | None = None
        self.beginning = source.read()

    def read(self, _size: int = -1, /) -> str:
        """The next block; empty at the end, as a file has it."""
        if self._over:
            return ""
        block, self.beginning = self.beginning or self._source.read(), ""
        held = self._text[max(0, self.start - self._base) :]
        self._base = self._base + len(self._text) - len(held)
        if len(held) > self._limits.record + _READ_AHEAD:
            self._stop("record_too_large", f"longer than {self._limits.record:,} characters")
            block = ""
        elif not block:
            self._stop(*(self._source.trouble or ("", "")))
        elif found := _NOT_YAML.search(block):
            self._stop(*self._unprintable(block, found.start()))
            block = block[: found.start()]
        self._text = held + block
        if self.trouble:
            self.end = self._base + len(self._text)
        return block

    def raw(self, end: int | None) -> str:
        """The text of the record that began at `start`, up to an index or as far as it was fed."""
        return self._text[self.start - self._base : None if end is None else end - self._base]

    def position(self, line: int, column: int) -> tuple[int, int]:
        """Where the feed ended, if the record began at this line and column."""
        behind = 0
        for found in _LINE_END.finditer(self._text, self.start - self._base):
            line, column, behind = line + 1, 1, found.end()
        behind = behind or self.start - self._base
        return line, column + len(self._text) - behind

    def _stop(self, code: str, message: str) -> None:
        self._over = True
        self.trouble = Trouble(code, message) if code else None

    def _unprintable(self, block: str, at: int) -> Trouble:
        if LONE.match(block, at):
            return Trouble("encoding", broken_encoding(block, at, self._source.encoding))
        return Trouble("bad_character", f"the character {show(block[at])} may not stand in YAML")
