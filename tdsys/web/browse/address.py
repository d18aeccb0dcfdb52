"""What these pages read and order the same way everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

from tdsys.core.hardness import USUAL
from tdsys.errors import InvalidInput
from tdsys.web.visit import Visit, missing

LARGEST_ID = 2**63 - 1


def hardness(difficulty: str) -> tuple[int, str]:
    """The usual words by what they mean, others behind them by their letters."""
    known = difficulty in USUAL
    return (USUAL.index(difficulty) if known else len(USUAL)), difficulty


def number(visit: Visit, what: str = "example") -> int:
    """The number in a path; NotFound for one that nothing can have."""
    found: int = visit.path["id"]
    if found > LARGEST_ID:
        raise missing(what)
    return found


def before(visit: Visit) -> datetime | None:
    """Where a list by time goes on."""
    found = visit.query.get("before")
    try:
        return datetime.fromtimestamp(float(found), UTC) if found else None
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            "the address points to no place in a list", remedy="begin at its start"
        ) from None
