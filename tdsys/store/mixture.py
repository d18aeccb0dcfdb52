"""How many examples came from where: by cell, by day, and how good they are; reads only."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from sqlalchemy import ColumnElement, Date, cast, func, select, true

from tdsys.store.engine import Tx
from tdsys.store.schema import ADMITTED, examples

_ADMITTED = func.count().filter(examples.c.state == ADMITTED)


class CellMix(NamedTuple):
    """Examples of one cell and source."""

    domain: str
    topic: str
    difficulty: str
    source: str
    n: int
    admitted: int


class DayMix(NamedTuple):
    """Examples of one source that were stored on one day, UTC."""

    day: date
    source: str
    n: int
    admitted: int


class SourceQuality(NamedTuple):
    """One source's examples; who has no score is in no mean."""

    source: str
    n: int
    admitted: int
    rejected: int
    scored: int
    quality: float | None
    admitted_quality: float | None


def by_cell(tx: Tx, *, domain: str | None) -> list[CellMix]:
    """Every cell and source there is, in their order."""
    kept = examples.c
    by = (kept.domain, kept.topic, kept.difficulty, kept.source)
    rows = tx.execute(
        select(*by, func.count(), _ADMITTED).where(_of(domain)).group_by(*by).order_by(*by)
    )
    return [CellMix(*row) for row in rows]


def by_day(tx: Tx, *, domain: str | None) -> list[DayMix]:
    """Every day and source there is, the oldest first."""
    by = (cast(func.timezone("UTC", examples.c.created_at), Date), examples.c.source)
    rows = tx.execute(
        select(*by, func.count(), _ADMITTED).where(_of(domain)).group_by(*by).order_by(*by)
    )
    return [DayMix(*row) for row in rows]


def by_source(tx: Tx, *, domain: str | None) -> list[SourceQuality]:
    """Each source with the mean quality of what was scored."""
    kept = examples.c
    mean = func.avg(kept.quality)
    rows = tx.execute(
        select(
            kept.source,
            func.count(),
            _ADMITTED,
            func.count().filter(kept.state == "rejected"),
            func.count(kept.quality),
            mean,
            mean.filter(kept.state == ADMITTED),
        )
        .where(_of(domain))
        .group_by(kept.source)
        .order_by(kept.source)
    )
    return [SourceQuality(*row) for row in rows]


def _of(domain: str | None) -> ColumnElement[bool]:
    return true() if domain is None else examples.c.domain == domain
