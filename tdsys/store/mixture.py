"""Where examples came from, by cell and by day, and how good they are; and what is kept of it."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Date, Double, Text, cast, func, select, true, update

from tdsys.store.browse_schema import example_counts
from tdsys.store.counts import grouped
from tdsys.store.day_schema import days
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


class Worth(NamedTuple):
    """How good one source's scored examples are."""

    scored: int
    quality: float | None
    admitted_quality: float | None


class CellSource(NamedTuple):
    """One source's examples of one cell and state."""

    topic: str
    difficulty: str
    source: str
    state: str
    n: int


def counted(tx: Tx, *, domain: str) -> list[CellSource]:
    """A domain's cells by source and state, from the counts that are kept while writing."""
    rows = tx.execute(
        grouped(example_counts, "topic", "difficulty", "source", "state")
        .where(example_counts.c.domain == domain)
        .order_by("topic", "difficulty", "source", "state")
    )
    return [CellSource(*row) for row in rows]


def worths(tx: Tx, *, domain: str | None) -> dict[str, dict[str, Worth]]:
    """How good each source of each domain is now; it reads every example."""
    kept = examples.c
    mean = cast(func.avg(kept.quality), Double)
    rows = tx.execute(
        select(
            kept.domain,
            kept.source,
            func.count(kept.quality),
            mean,
            cast(func.avg(kept.quality).filter(kept.state == ADMITTED), Double),
        )
        .where(_of(domain))
        .group_by(kept.domain, kept.source)
    )
    found: dict[str, dict[str, Worth]] = defaultdict(dict)
    for name, source, *worth in rows:
        found[name][source] = Worth(*worth)
    return found


def write(tx: Tx, *, day: date) -> None:
    """Keep how good each source is with what else is kept of the day."""
    for domain, found in worths(tx, domain=None).items():
        told = {source: list(worth) for source, worth in found.items()}
        tx.execute(
            update(days).where(days.c.domain == domain, days.c.day == day).values(qualities=told)
        )


def written(tx: Tx, *, domain: str) -> tuple[datetime, dict[str, Worth]] | None:
    """What was kept last of a domain's sources, and when; None: nothing was yet."""
    row = tx.execute(
        select(days.c.written_at, days.c.qualities)
        .where(days.c.domain == domain, days.c.qualities.is_not(None))
        .order_by(days.c.day.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return row.written_at, {source: Worth(*worth) for source, worth in row.qualities.items()}


def sources_by_day(tx: Tx, *, domain: str, since: date) -> list[tuple[date, dict[str, int]]]:
    """How many of each source were admitted at the end of each day that was written."""
    kept = days.c
    rows = tx.execute(
        select(kept.day, kept.sources)
        .where(kept.domain == domain, kept.day >= since, cast(kept.states, Text) != "{}")
        .order_by(kept.day)
    )
    return [(day, sources) for day, sources in rows]


def _of(domain: str | None) -> ColumnElement[bool]:
    return true() if domain is None else examples.c.domain == domain
