"""What an invariant is."""

from __future__ import annotations

from typing import NamedTuple


class Invariant(NamedTuple):
    """A name, what should hold, and a query for the ids of everything it does not hold for.

    `remedy` is what to do about it, where an operator can do anything.
    """

    name: str
    says: str
    query: str
    remedy: str = ""
