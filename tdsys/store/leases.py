"""When a row may be claimed: its time has come, or no right clock can have put it off so far."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, bindparam, or_

# More than any backoff, and than the clocks of two machines differ while both work well.
LONGEST_WAIT = timedelta(minutes=15)


def farthest(now: datetime, *, lease: timedelta) -> datetime:
    """The latest time at which anything can be due; what lies behind it, a wrong clock wrote."""
    return now + lease + LONGEST_WAIT


def is_due(due_at: Column[Any], *, now: datetime, lease: timedelta) -> ColumnElement[bool]:
    """Whether a row may be claimed.

    A worker whose clock was ahead for a moment would otherwise leave rows that wait for hours.
    Whoever still works on one is fenced, so claiming it too early costs time, never a result.
    """
    return _has_come(due_at, now, farthest(now, lease=lease))


def is_due_then(due_at: Column[Any]) -> ColumnElement[bool]:
    """The same in a statement that is built once, and given a `moment`."""
    return _has_come(due_at, bindparam("now"), bindparam("farthest"))


def _has_come(due_at: Column[Any], now: Any, last: Any) -> ColumnElement[bool]:
    return or_(due_at <= now, due_at > last)


def moment(now: datetime, *, lease: timedelta) -> dict[str, datetime]:
    """When it is asked for, for `is_due_then`."""
    return {"now": now, "farthest": farthest(now, lease=lease)}
