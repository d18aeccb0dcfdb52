"""What an invariant is."""

from __future__ import annotations

from typing import NamedTuple


class Invariant(NamedTuple):
    """A name, what should hold, and a query for the ids of everything it does not hold for."""

    name: str
    says: str
    query: str
