"""When two problems are near-duplicates by their embeddings, and what an embedding may be.

Its rule: whatever an embedder answers is a unit vector of the right length or a reason why there is
none; nothing else is ever compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

Vector: TypeAlias = tuple[float, ...]
# pgvector compares no more than these, and its HNSW index takes no more than those.
MOST_DIMENSIONS = 16_000
MOST_INDEXED = 2_000
# A model reads some 8,000 tokens; half of a text would be like another's half.
LONGEST_TEXT = 8_000
# Single precision: what is stored is no longer exact beyond it.
DECIMALS = 6


class Unembedded(NamedTuple):
    """Why a text has no vector."""

    reason: str


class Embedder(Protocol):
    """Whoever turns texts into vectors."""

    def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float] | Unembedded]:
        """A row for each text, not looked at yet; TdsysError where nobody answers."""
        ...


def unit(row: Sequence[float] | Unembedded, *, dimensions: int | None) -> Vector | Unembedded:
    """A row as a unit vector; `dimensions`: how long those before it are, None: it is the first."""
    if isinstance(row, Unembedded):
        return row
    if not 0 < len(row) <= MOST_DIMENSIONS:
        return Unembedded(f"{len(row)} numbers; 1 to {MOST_DIMENSIONS} make an embedding")
    if dimensions not in {None, len(row)}:
        return Unembedded(f"{len(row)} numbers, those of this model have {dimensions}")
    length = math.hypot(*row)
    if not (math.isfinite(length) and length > 0):
        return Unembedded("not a direction: all is zero, or one is no finite number")
    return tuple(number / length for number in row)


def are_one(cosine: float, *, likeness: float) -> bool:
    """Whether two problems with this cosine belong to one cluster; never for what is no number."""
    return round(cosine, DECIMALS) >= likeness if math.isfinite(cosine) else False
