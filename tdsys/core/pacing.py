"""How fast one account may act: by kind, a steady pace and how much may come at once."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Pace(StrEnum):
    """What is limited: changes, searches, and what takes long or fills the disk."""

    CHANGE = "change"
    SEARCH = "search"
    COSTLY = "costly"


class Rate(NamedTuple):
    """One each `every` seconds in the long run, `at_once` in a moment."""

    every: float
    at_once: int


# A reviewer who decides four a second sends twelve changes: decision, draft, what is similar.
RATES: dict[Pace, Rate] = {
    Pace.CHANGE: Rate(0.05, 200),
    Pace.SEARCH: Rate(0.2, 100),
    Pace.COSTLY: Rate(3.0, 20),
}


def rate(pace: Pace, *, factor: float) -> Rate | None:
    """The rate for an installation that is `factor` times as generous; None: no limit."""
    usual = RATES[pace]
    return Rate(usual.every / factor, max(1, round(usual.at_once * factor))) if factor else None
