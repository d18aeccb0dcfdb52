"""The lines of a text, each bounded.

The one rule: a line longer than the limit is cut to a little more than the limit, so that who reads
it sees that it is too long without anybody having held it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from tdsys.parsing.source import Source


class Lines:
    """Lines as they arrive: `universal` ends them at LF, CRLF or CR and keeps the ends, else at LF.

    `tail` is what stood behind the last line end if the text ended in trouble; it is no line.
    """

    def __init__(self, source: Source, *, longest: int, universal: bool) -> None:
        self._source = source
        self._longest = longest
        self._split = _universal if universal else _unix
        self.tail = ""

    def __iter__(self) -> Iterator[str]:
        rest, longest = "", self._longest
        while block := self._source.read():
            lines, rest = self._split(rest + block)
            for line in lines:
                yield line if len(line) <= longest else line[: longest + 1]
            if len(rest) > longest:
                # The last character may be the first half of a line end.
                rest = rest[: longest + 1] + rest[-1]
        if self._source.trouble:
            self.tail = rest
        elif rest:
            yield rest


def _unix(text: str) -> tuple[list[str], str]:
    lines = text.split("\n")
    rest = lines.pop()
    return lines, rest


def _universal(text: str) -> tuple[list[str], str]:
    lines = list(io.StringIO(text, newline=""))
    rest = "" if lines[-1].endswith("\n") else lines.pop()
    return lines, rest
