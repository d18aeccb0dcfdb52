"""Who is admitted, in the order in which they would go, and their leaving, each with its reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
    union,
)

from tdsys.core.example import Cell, Source
from tdsys.core.pruning import Amount, Held, Leaving, Standing
from tdsys.core.rubric import TRUSTED
from tdsys.store import attributions, programs
from tdsys.store.browse_schema import example_counts
from tdsys.store.cluster_schema import example_templates, templates
from tdsys.store.counts import grouped
from tdsys.store.engine import Tx
from tdsys.store.lifecycle_schema import pins
from tdsys.store.schema import (
    ADMITTED,
    APPROVE,
    IS_OPEN,
    dataset_members,
    examples,
    runs,
    transitions,
)
from tdsys.store.schema import programs as programs_table
from tdsys.store.values import among

# A cell is asked for its share of what has to go, then for four times as many each time.
FIRST_LOOK = 100
# Sorting a large cell is quicker in memory than on disk.
SORTING = "SET LOCAL work_mem = '64MB'"
_STORED = examples.c.created_at


class _Seen(NamedTuple):
    """Where the next look at a cell begins."""

    standing: int
    quality: float
    created_at: datetime
    id: int


def admitted(tx: Tx, *, domain: str) -> Counter[Cell]:
    """How many of each cell are admitted."""
    rows = tx.execute(
        grouped(example_counts, "topic", "difficulty").where(
            example_counts.c.domain == domain, example_counts.c.state == ADMITTED
        )
    )
    return Counter({Cell(topic, difficulty): n for topic, difficulty, n in rows})


def amounts(tx: Tx, *, domains: Collection[str]) -> dict[str, dict[Cell, Amount]]:
    """How many of each cell of these domains are admitted, and what they hold."""
    kept = examples.c
    by = (kept.domain, kept.topic, kept.difficulty)
    rows = tx.execute(
        select(*by, func.count(), func.sum(kept.size))
        .where(kept.domain.in_(sorted(domains)), kept.state == ADMITTED)
        .group_by(*by)
    )
    found: dict[str, dict[Cell, Amount]] = {name: {} for name in domains}
    for domain, topic, difficulty, n, size in rows:
        found[domain][Cell(topic, difficulty)] = Amount(n, size)
    return found


def outdated(
    tx: Tx,
    *,
    domain: str,
    before: Mapping[Source, datetime],
    but: Collection[Cell],
    limit: int,
) -> list[Held]:
    """The oldest of those stored before the time of their source, a person's word last."""
    standing = _standing(domain)
    too_old = or_(*(and_(examples.c.source == source.value, time > _STORED)
                    for source, time in before.items()))  # fmt: skip
    rows = tx.execute(
        _held(domain, standing)
        .where(
            too_old,
            max(before.values()) > _STORED,
            standing < Standing.PINNED,
            tuple_(examples.c.topic, examples.c.difficulty).not_in(list(but)) if but else true(),
        )
        .order_by(standing, _STORED, examples.c.id)
        .limit(limit)
    )
    return list(map(_read, rows))


def alike(tx: Tx, *, domain: str, most: int, limit: int) -> Iterator[list[Held]]:
    """Clusters that hold more than `most` admitted examples, each with all of those."""
    of_example = and_(example_templates.c.example_id == examples.c.id)
    crowded = (
        select(templates.c.cluster)
        .join(example_templates, example_templates.c.template_id == templates.c.id)
        .join(examples, of_example)
        .where(examples.c.domain == domain, examples.c.state == ADMITTED)
        .group_by(templates.c.cluster)
        .having(func.count() > most)
        .order_by(templates.c.cluster)
        .limit(limit)
        .subquery()
    )
    rows = tx.execute(
        _held(domain, _standing(domain))
        .add_columns(templates.c.cluster)
        .join(example_templates, of_example)
        .join(templates, templates.c.id == example_templates.c.template_id)
        .where(templates.c.cluster.in_(select(crowded.c.cluster)))
        .order_by(templates.c.cluster, examples.c.id)
    )
    for _, held in groupby(rows, key=lambda row: row.cluster):
        yield [_read(row) for row in held]


def by_cell(
    tx: Tx, *, domain: str, cells: Collection[Cell], gone: Collection[int], about: int
) -> dict[Cell, Iterator[Held]]:
    """Each cell's admitted examples by `Held.order`, read as they are asked for.

    Without those that are `gone`, and without LIVE ones, which never go. `about` so many of all
    will be asked for.
    """
    tx.execute(text(SORTING))
    look = max(FIRST_LOOK, 2 * about // max(len(cells), 1))
    return {cell: _from_worst(tx, domain, cell, gone, look) for cell in cells}


def _from_worst(
    tx: Tx, domain: str, cell: Cell, gone: Collection[int], look: int
) -> Iterator[Held]:
    standing, kept = _standing(domain), examples.c
    order = (standing, kept.quality, _STORED, kept.id)
    query = _held(domain, standing).where(
        kept.topic == cell.topic, kept.difficulty == cell.difficulty, standing < Standing.LIVE
    )
    last: _Seen | None = None
    while True:
        behind = true() if last is None else tuple_(*order) > tuple_(*last)
        rows = tx.execute(query.where(behind).order_by(*order).limit(look)).all()
        yield from (_read(row) for row in rows if row.id not in gone)
        if len(rows) < look:
            return
        end = rows[-1]
        last = _Seen(end.standing, end.quality, end.created_at, end.id)
        look *= 4


def _held(domain: str, standing: ColumnElement[int]) -> Select[Any]:
    kept = examples.c
    return select(
        kept.id, kept.topic, kept.difficulty, kept.quality, kept.created_at,
        standing.label("standing"), kept.source, kept.size,
    ).where(kept.domain == domain, kept.state == ADMITTED)  # fmt: skip


def _read(row: Any) -> Held:
    cell = Cell(row.topic, row.difficulty)
    standing, source = Standing(row.standing), Source(row.source)
    return Held(row.id, cell, row.quality, row.created_at, standing, source, row.size)


def _standing(domain: str) -> ColumnElement[int]:
    kept = examples.c
    approved = exists().where(transitions.c.example_id == kept.id, transitions.c.move == APPROVE)
    return case(
        (kept.id.in_(_live(domain)), Standing.LIVE.value),
        (exists().where(pins.c.example_id == kept.id), Standing.PINNED.value),
        (or_(kept.reason == TRUSTED, approved), Standing.APPROVED.value),
        else_=Standing.ORDINARY.value,
    )


def _live(domain: str) -> Select[Any]:
    """Whatever the active program, or a run that is open, learns from."""
    active = select(programs_table.c.version_id).where(
        programs_table.c.domain == domain, programs_table.c.active
    )
    learning = select(runs.c.version_id).where(runs.c.domain == domain, IS_OPEN)
    return select(dataset_members.c.example_id).where(
        dataset_members.c.version_id.in_(union(active, learning).scalar_subquery())
    )


def learned_from(tx: Tx, *, domain: str, ids: Collection[int]) -> set[int]:
    """Those of them that the active program, or a run that is open, learns from."""
    live = _live(domain).where(among(dataset_members.c.example_id, ids))
    return set(tx.scalars(live))


def retire(
    tx: Tx, *, leaving: Sequence[Leaving], actor: str, policy_version: int, now: datetime
) -> list[Leaving]:
    """Retire those of them that are admitted still, each with its reason on record; them."""
    why = {one.id: one for one in leaving}
    told = {"rows": json.dumps([(one.id, one.reason, one.detail) for one in why.values()]),
            "actor": actor, "policy_version": policy_version, "now": now}  # fmt: skip
    held = sorted(tx.scalars(_RETIRE, told))
    if held:
        programs.outdate(tx, example_ids=held)
        attributions.outdate(tx, example_ids=held)
    return [why[one] for one in held]


# Looked at and changed in one, in the order of their ids, so that two who do this never wait for
# each other; holding the rows first takes a sixth as long again.
_RETIRE = text(
    """
    WITH leaving AS MATERIALIZED (
        SELECT (row ->> 0)::bigint AS id, row ->> 1 AS reason, row ->> 2 AS detail
        FROM json_array_elements(CAST(:rows AS json)) AS row ORDER BY 1
    ), retired AS (
        UPDATE examples SET state = 'retired', reason = leaving.reason, moved_at = :now
        FROM leaving WHERE examples.id = leaving.id AND examples.state = 'admitted'
        RETURNING leaving.*
    )
    INSERT INTO transitions (example_id, from_state, to_state, move, reason, detail, actor,
                             policy_version, at)
    SELECT id, 'admitted', 'retired', 'retire', reason, detail, :actor, :policy_version, :now
    FROM retired ORDER BY id
    RETURNING example_id
    """
)
