"""How many examples there are, by what, from the counts that are kept while writing.

One rule: rows are differences until they are folded, so every number is a sum. What reads here
costs the same at a thousand examples and at a million.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, delete, func, literal, select, true
from sqlalchemy.dialects.postgresql import insert

from tdsys.core import example
from tdsys.core.browsing import Filter
from tdsys.core.lifecycle import State
from tdsys.core.rubric import Dimension
from tdsys.store.browse_schema import LONGEST_REASON, age_counts, example_counts, score_counts
from tdsys.store.engine import Tx

LOCK = 7_301_002
COUNTED = (example_counts, age_counts, score_counts)
Domains = Collection[str] | None


class Cell(NamedTuple):
    """Examples alike in all that is counted, but for their reason."""

    domain: str
    state: str
    topic: str
    difficulty: str
    n: int


def fold(tx: Tx) -> int:
    """Add up what was written since; how many rows that took. One at a time does it."""
    if not tx.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
        return 0
    return sum(_fold(tx, table) for table in COUNTED)


def _fold(tx: Tx, table: Table) -> int:
    keys = [column for column in table.c if column.name not in {"n", "folded"}]
    loose = delete(table).where(~table.c.folded).returning(*table.c).cte("loose")
    taken = [loose.c[key.name] for key in keys]
    sums = (
        select(*taken, func.sum(loose.c.n), literal(True))  # noqa: FBT003  # the column's value
        .group_by(*taken)
        .having(func.sum(loose.c.n) != 0)
    )
    added = insert(table).from_select([*(key.name for key in keys), "n", "folded"], sums)
    count = tx.execute(
        added.on_conflict_do_update(
            index_elements=keys,
            index_where=table.c.folded,
            set_={"n": table.c.n + added.excluded.n},
        )
    ).rowcount
    tx.execute(delete(table).where(table.c.folded, table.c.n == 0))
    return count


def grouped(table: Table, *names: str) -> Select[Any]:
    """The sums of a table of counts by some of its columns; none that is nothing."""
    keys = [table.c[name] for name in names]
    total = func.sum(table.c.n)
    # A sum of bigint is numeric; nothing here is as large.
    return select(*keys, total.cast(table.c.n.type)).group_by(*keys).having(total != 0)


def within(table: Table, domains: Domains) -> ColumnElement[bool]:
    """Only these domains; None: all."""
    return true() if domains is None else table.c.domain.in_(sorted(domains))


def counted(asked: Filter) -> list[ColumnElement[bool]]:
    """The part of a filter that the counts know."""
    kept = example_counts.c
    told = asked.model_dump(mode="json", exclude_none=True)
    named = [n for n in ("domain", "state", "source", "topic", "difficulty") if n in told]
    conditions = [kept[name] == told[name] for name in named]
    if asked.reason is not None:
        conditions.append(kept.reason == asked.reason[:LONGEST_REASON])
    return conditions


def total(tx: Tx, *, asked: Filter, domains: Domains) -> int:
    """How many examples there are by the part of a filter that the counts know."""
    kept = example_counts
    return int(
        tx.scalar(select(func.sum(kept.c.n)).where(within(kept, domains), *counted(asked))) or 0
    )


def cells(tx: Tx, *, asked: Filter, domains: Domains, limit: int) -> list[Cell]:
    """The first cells by state in which such examples are."""
    rows = tx.execute(
        grouped(example_counts, "domain", "state", "topic", "difficulty")
        .where(within(example_counts, domains), *counted(asked))
        .limit(limit)
    )
    return [Cell(*row) for row in rows]


def admitted(tx: Tx, *, domain: str) -> dict[example.Cell, int]:
    """How many of each cell of a domain are admitted."""
    kept = example_counts
    rows = tx.execute(
        grouped(kept, "topic", "difficulty").where(
            kept.c.domain == domain, kept.c.state == State.ADMITTED.value
        )
    )
    return {example.Cell(topic, difficulty): n for topic, difficulty, n in rows}


def values(
    tx: Tx, *, names: Sequence[str], domain: str | None, domains: Domains
) -> dict[str, list[str]]:
    """The values of columns of the counts, the commonest first, from one look at them."""
    kept = example_counts.c
    columns = [kept[name] for name in names]
    total = func.sum(kept.n)
    rows = tx.execute(
        select(func.grouping(*columns), *columns, total)
        .where(within(example_counts, domains), true() if domain is None else kept.domain == domain)
        .group_by(func.grouping_sets(*columns))
        .having(total > 0)
        .order_by(total.desc(), *columns)
    ).all()
    # Of each row one column counts: the one whose bit, from the left, is not set.
    bits = [1 << place for place in reversed(range(len(names)))]
    everything = sum(bits)
    return {
        name: [row[1 + i] for row in rows if row[0] == everything - bit and row[1 + i]]
        for i, (name, bit) in enumerate(zip(names, bits, strict=True))
    }


def scored(tx: Tx, *, domains: Domains) -> dict[str, int]:
    """How many examples of each domain have a judge's score."""
    kept = score_counts
    rows = tx.execute(
        grouped(kept, "domain").where(
            within(kept, domains), kept.c.dimension == Dimension.ACCURACY.value
        )
    )
    return {domain: n for domain, n in rows}  # noqa: C416  # rows, not pairs


def by_age(tx: Tx, *, domains: Domains, since: Sequence[date]) -> list[tuple[str, str, list[int]]]:
    """Each domain's examples by state: how many were stored since each of these days, and ever."""
    kept = age_counts
    younger = [
        func.coalesce(func.sum(kept.c.n).filter(kept.c.day >= day), 0).cast(kept.c.n.type)
        for day in since
    ]
    rows = tx.execute(
        grouped(kept, "domain", "state")
        .add_columns(*younger)
        .where(within(kept, domains))
        .order_by(kept.c.domain, kept.c.state)
    )
    return [(row[0], row[1], [*row[3:], row[2]]) for row in rows]


def arrived(tx: Tx, *, domains: Domains, since: date) -> list[tuple[date, int]]:
    """How many examples were stored on each day since then."""
    rows = tx.execute(
        grouped(age_counts, "day")
        .where(within(age_counts, domains), age_counts.c.day >= since)
        .order_by(age_counts.c.day)
    )
    return [(day, n) for day, n in rows]
