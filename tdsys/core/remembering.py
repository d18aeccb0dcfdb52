"""Remember what was read from short pieces of text, because the same pieces make most texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

MOST_PIECES = 1 << 15
LONGEST_PIECE = 40

T = TypeVar("T")


class Remembered(dict[str, T]):
    """What a pure function says of a piece: `remembered[piece]`, a tenth of a call's cost.

    Bounded: a long piece is read each time anew, and a full memory starts empty.
    """

    def __init__(self, read: Callable[[str], T]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, piece: str) -> T:
        found = self._read(piece)
        if len(piece) <= LONGEST_PIECE:
            if len(self) >= MOST_PIECES:
                self.clear()
            self[piece] = found
        return found
