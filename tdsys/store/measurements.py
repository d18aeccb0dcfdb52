"""What the two programs of a run scored on the frozen test items, item by item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.program import ItemScore
from tdsys.store.engine import Tx
from tdsys.store.measure_schema import Side
from tdsys.store.measure_schema import test_scores as scores_table
from tdsys.store.schema import dataset_members, runs


class Slice(NamedTuple):
    """One cell of a test split: its items, the means of those that have a score, and how many.

    A mean is None where no item has a score.
    """

    topic: str
    difficulty: str
    items: int
    before: float | None
    before_scored: int
    after: float | None
    after_scored: int


def keep(tx: Tx, *, run_id: UUID, before: Sequence[ItemScore], after: Sequence[ItemScore]) -> None:
    """Write both sides of a run's comparison; a replayed run finds them there."""
    rows = [
        {"run_id": run_id, "side": side.value, "position": n, "uid": one.uid, "value": one.value}
        for side, given in ((Side.BEFORE, before), (Side.AFTER, after))
        for n, one in enumerate(given)
    ]
    if rows:
        tx.execute(insert(scores_table).on_conflict_do_nothing(), rows)


def made_by(tx: Tx, *, run_id: UUID) -> dict[str, float]:
    """What the run's own program scored on each test item that has a score."""
    kept = scores_table.c
    rows = tx.execute(
        select(kept.uid, kept.value).where(
            kept.run_id == run_id, kept.side == Side.AFTER.value, kept.value.is_not(None)
        )
    )
    return {uid: value for uid, value in rows}  # noqa: C416  # a row is no pair to mypy


def slices(tx: Tx, *, run_id: UUID) -> list[Slice]:
    """A run's comparison by topic and difficulty; empty where nothing was measured."""
    kept, member = scores_table.c, dataset_members.c
    rows = tx.execute(
        select(
            member.topic, member.difficulty, _count(Side.AFTER, whole=True),
            _mean(Side.BEFORE), _count(Side.BEFORE), _mean(Side.AFTER), _count(Side.AFTER),
        )
        .join_from(scores_table, runs, runs.c.id == kept.run_id)
        .join(
            dataset_members,
            (member.version_id == runs.c.version_id) & (member.fingerprint == kept.uid),
        )
        .where(kept.run_id == run_id, member.split == "test")
        .group_by(member.topic, member.difficulty)
        .order_by(member.topic, member.difficulty)
    )  # fmt: skip
    return [Slice(*row) for row in rows]


def _mean(side: Side) -> ColumnElement[float]:
    return func.avg(scores_table.c.value).filter(scores_table.c.side == side.value)


def _count(side: Side, *, whole: bool = False) -> ColumnElement[int]:
    counted = func.count() if whole else func.count(scores_table.c.value)
    return counted.filter(scores_table.c.side == side.value)
