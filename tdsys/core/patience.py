"""Notice that something stands still; the time is handed in."""

from __future__ import annotations


class Patience:
    """Knows how long a mark has not changed; each standstill is told once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: float | None = None
        self._mark: object = None
        self._told = False

    def is_out(self, mark: object, *, now: float) -> bool:
        """Whether `mark` has been the same for too long, the first time that this is so."""
        if self._since is None or mark != self._mark:
            self._since, self._mark, self._told = now, mark, False
        if self._told or now - self._since < self.seconds:
            return False
        self._told = True
        return True
