"""Readers of import files: JSON, JSONL, CSV and YAML, plain or gzip-compressed.

The one rule: bytes from strangers become records and precise flaws in bounded memory and time;
nothing is executed, nothing is guessed silently, and one broken record costs only itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tdsys.parsing.reading import (
    HEAD_BYTES,
    Asked,
    Flaw,
    Format,
    Limits,
    Place,
    Reading,
    Record,
)

__all__ = [
    "HEAD_BYTES",
    "Asked",
    "Flaw",
    "Format",
    "Limits",
    "Place",
    "Reading",
    "Record",
    "detect",
    "records",
]


def detect(head: bytes, asked: Asked, *, filename: str = "") -> Reading:
    """How a file that begins with `head` (its first HEAD_BYTES, or all of it) will be read.

    Decided by content; the name only breaks a tie. Raises InvalidInput where it is undecidable.
    """
    raise NotImplementedError


def records(
    pieces: Iterable[bytes],
    asked: Asked,
    *,
    filename: str = "",
    limits: Limits = Limits(),  # noqa: B008  # frozen
    skip: int = 0,
) -> Iterator[Record | Flaw]:
    """Every record and flaw of a file after the first `skip`, while its bytes arrive.

    The pieces may have any size. Raises InvalidInput as `detect` does, before the first result.
    """
    raise NotImplementedError
