"""Where a domain's admitted examples come from, by cell and by week; reads only."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from tdsys.core.example import Cell
from tdsys.store.engine import Tx
from tdsys.store.schema import ADMITTED, examples


class SourceCount(NamedTuple):
    """Admitted examples of one source in one cell, and their mean quality."""

    cell: Cell
    source: str
    n: int
    simulated: int
    quality: float


class WeekCount(NamedTuple):
    """Admitted examples of one source that came in the week that began then."""

    week: datetime
    source: str
    n: int


def by_cell(tx: Tx, *, domain: str) -> list[SourceCount]:
    """Admitted examples by cell and source."""
    kept = examples.c
    by = (kept.topic, kept.difficulty, kept.source)
    rows = tx.execute(
        select(
            *by,
            func.count(),
            func.count().filter(kept.simulated),
            func.avg(kept.quality),
        )
        .where(kept.domain == domain, kept.state == ADMITTED)
        .group_by(*by)
        .order_by(*by)
    )
    return [SourceCount(Cell(row[0], row[1]), row[2], row[3], row[4], row[5]) for row in rows]


def by_week(tx: Tx, *, domain: str) -> list[WeekCount]:
    """Admitted examples by the week they were stored in and their source."""
    kept = examples.c
    week = func.date_trunc("week", kept.created_at)
    rows = tx.execute(
        select(week, kept.source, func.count())
        .where(kept.domain == domain, kept.state == ADMITTED)
        .group_by(week, kept.source)
        .order_by(week, kept.source)
    )
    return [WeekCount(*row) for row in rows]
