"""What new examples are made of: admitted ones of a cell or its topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select, true

from tdsys.core.batch import Parent
from tdsys.core.example import Cell
from tdsys.store.batch_schema import batch_items
from tdsys.store.engine import Tx
from tdsys.store.schema import ADMITTED, example_bodies, examples

MOST_PARENTS = 40
FEWEST_PARENTS = 5

_DRIFTS = select(batch_items.c.number).where(batch_items.c.example_id == examples.c.id).exists()


def drawn(
    tx: Tx, *, domain: str, cell: Cell, turn: int, wider: bool = True, drifting: bool = False
) -> list[Parent]:
    """Admitted examples to make new ones of: of the cell, `wider`: else of its topic.

    Those from batches come last, for what was made of what was made drifts; `drifting`: as all
    others. Each `turn` draws others of many.
    """
    kept = examples.c
    order = [func.hashint8extended(kept.id, turn)]
    rows = tx.execute(
        _admitted(domain, cell.topic)
        .where(true() if wider else kept.difficulty == cell.difficulty)
        .order_by(
            (kept.difficulty == cell.difficulty).desc(), *([] if drifting else [_DRIFTS]), *order
        )
        .limit(MOST_PARENTS)
    ).all()
    ours = [row for row in rows if row.difficulty == cell.difficulty]
    pool = ours if len(ours) >= FEWEST_PARENTS else rows
    first = [row for row in pool if not row.drifts]
    return _parents(first if len(first) >= FEWEST_PARENTS and not drifting else pool)


def among(tx: Tx, *, domain: str, cell: Cell, ids: Sequence[int]) -> list[Parent]:
    """Those of these examples that are admitted and of a cell, as they are `ids`."""
    kept = examples.c
    rows = tx.execute(
        _admitted(domain, cell.topic).where(kept.id.in_(ids), kept.difficulty == cell.difficulty)
    ).all()
    return _parents(sorted(rows, key=lambda row: ids.index(row.id)))


def _admitted(domain: str, topic: str) -> Select[Any]:
    kept = examples.c
    return (
        select(kept.id, kept.difficulty, _DRIFTS.label("drifts"), example_bodies.c.payload)
        .join_from(examples, example_bodies)
        .where(kept.domain == domain, kept.state == ADMITTED, kept.topic == topic)
    )


def _parents(rows: Sequence[Any]) -> list[Parent]:
    return [Parent(row.id, row.payload["inputs"], row.payload["outputs"]) for row in rows]
