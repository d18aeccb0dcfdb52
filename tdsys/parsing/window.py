"""A sliding window over a text, which knows the line and column of what it shows.

The one rule: after `look` at least `ahead` characters follow `at`, or all there are.
"""

from __future__ import annotations

from tdsys.parsing.source import Source


class Window:
    """`text[at:]` is still to be read; `base` characters of the file lie before `text`."""

    def __init__(self, source: Source, ahead: int) -> None:
        self.source = source
        self.text = ""
        self.at = 0
        self.base = 0
        self._ahead = ahead
        self._mark, self._line, self._column = 0, 1, 1

    @property
    def whole(self) -> bool:
        """Whether the window reaches to the end of the text."""
        return self.source.done

    def look(self) -> None:
        """Read on if little is left; indexes into the text taken before become invalid."""
        if len(self.text) - self.at <= self._ahead and not self.source.done:
            self.more()

    def more(self) -> bool:
        """Read on; False if the text is over."""
        self._pass()
        parts = [self.text[self.at :]]
        left = size = len(parts[0])
        while size <= 2 * self._ahead and (block := self.source.read()):
            parts.append(block)
            size += len(block)
        self.base += self.at
        self.text, self.at, self._mark = "".join(parts), 0, 0
        return size > left

    def position(self, at: int) -> tuple[int, int]:
        """Line and column, from 1, of an index that is not before the last `here`."""
        lines = self.text.count("\n", self._mark, at)
        if lines:
            return self._line + lines, at - self.text.rfind("\n", self._mark, at)
        return self._line, self._column + at - self._mark

    def here(self) -> tuple[int, int]:
        """Line and column of `at`."""
        self._pass()
        return self._line, self._column

    def _pass(self) -> None:
        self._line, self._column = self.position(self.at)
        self._mark = self.at
