"""Each domain at the end of each day: written again and again until the day is over, then kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import Date, Double, cast, func, select, true
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.example import Cell
from tdsys.core.rubric import Dimension
from tdsys.core.trends import Day, Moments
from tdsys.store.browse_schema import example_counts
from tdsys.store.counts import Domains, grouped, within
from tdsys.store.day_schema import days as days_table
from tdsys.store.engine import Tx
from tdsys.store.schema import ADMITTED, ScoreKind, examples, scores

Scores = Mapping[tuple[str, date], Mapping[str, Moments]]


def last(tx: Tx, *, today: date) -> date | None:
    """The newest day that was written, but for days that a wrong clock wrote; None: none was."""
    found: date | None = tx.scalar(
        select(func.max(days_table.c.day)).where(days_table.c.day <= today)
    )
    return found


def scored(tx: Tx, *, since: date | None) -> Scores:
    """What judges gave, by domain and day (UTC), from that day on."""
    kept = scores.c
    day = cast(func.timezone("UTC", kept.created_at), Date)
    wide = [cast(kept[d.value], Double) for d in Dimension]
    begin = None if since is None else datetime.combine(since, time.min, UTC)
    rows = tx.execute(
        select(examples.c.domain, day, func.count(), *map(func.avg, wide), *map(func.var_pop, wide))
        .join(examples, examples.c.id == kept.example_id)
        .where(
            kept.kind == ScoreKind.JUDGE.value,
            kept.outcome == "scored",
            true() if begin is None else kept.created_at >= begin,
        )
        .group_by(examples.c.domain, day)
    ).all()
    n = len(wide)
    return {
        (domain, day): {
            d.value: Moments(count, numbers[i], numbers[n + i] * count)
            for i, d in enumerate(Dimension)
        }
        for domain, day, count, *numbers in rows
    }


def present(tx: Tx, *, today: date, scored_today: Scores) -> dict[str, Day]:
    """Each domain as it is now."""
    states: dict[str, dict[str, int]] = defaultdict(dict)
    sources: dict[str, dict[str, int]] = defaultdict(dict)
    cells: dict[str, dict[Cell, int]] = defaultdict(dict)
    kept = example_counts.c
    for domain, state, n in tx.execute(grouped(example_counts, "domain", "state")):
        states[domain][state] = n
    admitted = kept.state == ADMITTED
    for domain, source, n in tx.execute(
        grouped(example_counts, "domain", "source").where(admitted)
    ):
        sources[domain][source] = n
    by_cell = grouped(example_counts, "domain", "topic", "difficulty").where(admitted)
    for domain, topic, difficulty, n in tx.execute(by_cell):
        cells[domain][Cell(topic, difficulty)] = n
    return {
        domain: Day(
            today, held, sources[domain], cells[domain], scored_today.get((domain, today), {})
        )
        for domain, held in states.items()
    }


def write(tx: Tx, *, domain: str, day: Day, now: datetime) -> None:
    """Keep a day; what was known of it before is replaced."""
    row = {
        "states": dict(day.states),
        "sources": dict(day.sources),
        "cells": [[*cell, n] for cell, n in sorted(day.cells.items())],
        "scores": {name: list(one) for name, one in day.scores.items()},
        "written_at": now,
    }
    tx.execute(
        insert(days_table)
        .values(domain=domain, day=day.day, **row)
        .on_conflict_do_update(constraint=days_table.primary_key, set_=row)
    )


def write_scores(tx: Tx, *, domain: str, day: Day, now: datetime) -> None:
    """Keep the scores of a day that is over; what else is known of it stays."""
    told = {name: list(one) for name, one in day.scores.items()}
    empty: dict[str, Any] = {"states": {}, "sources": {}, "cells": []}
    tx.execute(
        insert(days_table)
        .values(domain=domain, day=day.day, scores=told, written_at=now, **empty)
        .on_conflict_do_update(
            constraint=days_table.primary_key, set_={"scores": told, "written_at": now}
        )
    )


def read(tx: Tx, *, domains: Domains, since: date, until: date) -> dict[str, list[Day]]:
    """The days of each domain between these two, the oldest first."""
    rows = tx.execute(
        select(days_table)
        .where(within(days_table, domains), days_table.c.day.between(since, until))
        .order_by(days_table.c.domain, days_table.c.day)
    ).mappings()
    found: dict[str, list[Day]] = defaultdict(list)
    for row in rows:
        found[row["domain"]].append(
            Day(
                row["day"],
                row["states"],
                row["sources"],
                {Cell(topic, difficulty): n for topic, difficulty, n in row["cells"]},
                {name: Moments(*numbers) for name, numbers in row["scores"].items()},
            )
        )
    return dict(found)
