"""Who is admitted, the oldest or the worst first, and their leaving, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, exists, func, insert, or_, select, true, tuple_, update

from tdsys.core.example import Cell
from tdsys.core.lifecycle import Move, State
from tdsys.core.pruning import Held
from tdsys.core.rubric import TRUSTED
from tdsys.store import attributions, programs
from tdsys.store.engine import Tx
from tdsys.store.schema import ADMITTED, APPROVE, examples, transitions


class Why(NamedTuple):
    """The reason of a retirement, and what a person reads."""

    reason: str
    detail: str


def admitted(tx: Tx, *, domain: str) -> Counter[Cell]:
    """How many of each cell are admitted."""
    by = (examples.c.topic, examples.c.difficulty)
    rows = tx.execute(
        select(*by, func.count())
        .where(examples.c.domain == domain, examples.c.state == ADMITTED)
        .group_by(*by)
    )
    return Counter({Cell(topic, difficulty): n for topic, difficulty, n in rows})


def oldest(
    tx: Tx, *, domain: str, before: datetime, but: Collection[Cell], limit: int | None
) -> list[Held]:
    """The admitted ones stored before a time, without those of some cells.

    Those a person's word admitted come last.
    """
    stored = examples.c.created_at
    return _held(tx, domain, but, limit, stored < before, [stored])


def worst(
    tx: Tx, *, domain: str, since: datetime | None, but: Collection[Cell], limit: int | None
) -> list[Held]:
    """The admitted ones from the lowest quality on, of one quality the oldest first.

    Only those stored `since`, without those of some cells. A person's word comes last.
    """
    stored = examples.c.created_at
    young = true() if since is None else stored >= since
    return _held(tx, domain, but, limit, young, [examples.c.quality, stored])


def _held(
    tx: Tx,
    domain: str,
    but: Collection[Cell],
    limit: int | None,
    which: ColumnElement[bool],
    order: Sequence[ColumnElement[object]],
) -> list[Held]:
    kept = examples.c
    approved = or_(
        kept.reason == TRUSTED,
        exists().where(transitions.c.example_id == kept.id, transitions.c.move == APPROVE),
    ).label("approved")
    rows = tx.execute(
        select(kept.id, kept.topic, kept.difficulty, kept.quality, kept.created_at, approved)
        .where(
            kept.domain == domain,
            kept.state == ADMITTED,
            which,
            tuple_(kept.topic, kept.difficulty).not_in(list(but)) if but else true(),
        )
        .order_by(approved, *order, kept.id)
        .limit(limit)
    )
    return [Held(r.id, Cell(r.topic, r.difficulty), r.quality, r.created_at, r.approved)
            for r in rows]  # fmt: skip


def retire(
    tx: Tx, *, reasons: Mapping[int, Why], actor: str, policy_version: int, now: datetime
) -> list[int]:
    """Retire those of them that are admitted still, each with its reason on record; their ids."""
    # In one order, so that two who do this never wait for each other.
    held = tx.scalars(
        select(examples.c.id)
        .where(examples.c.id.in_(reasons), examples.c.state == ADMITTED)
        .order_by(examples.c.id)
        .with_for_update()
    ).all()
    if not held:
        return []
    for reason in sorted({reasons[one].reason for one in held}):
        tx.execute(
            update(examples)
            .where(examples.c.id.in_([one for one in held if reasons[one].reason == reason]))
            .values(state=State.RETIRED.value, reason=reason, moved_at=now)
        )
    step = {"from_state": State.ADMITTED.value, "to_state": State.RETIRED.value,
            "move": Move.RETIRE.value, "actor": actor, "policy_version": policy_version,
            "at": now}  # fmt: skip
    steps = [{**step, "example_id": one, **reasons[one]._asdict()} for one in held]
    tx.execute(insert(transitions), steps)
    programs.outdate(tx, example_ids=held)
    attributions.outdate(tx, example_ids=held)
    return list(held)
