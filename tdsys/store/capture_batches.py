"""The batches in which captures arrived; reads only."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, true

from tdsys.store.engine import Tx
from tdsys.store.examples.census import Refused
from tdsys.store.schema import capture_batches, capture_refusals


class Arrived(NamedTuple):
    """One batch: how many records it held, and what became of them."""

    batch_id: str
    received: int
    new: int
    duplicate: int
    conflicting: int
    refused: int
    resent: int
    at: datetime


def batches(tx: Tx, *, limit: int, before: datetime | None = None) -> list[Arrived]:
    """The newest batches that arrived before then."""
    kept = capture_batches.c
    rows = tx.execute(
        select(*(kept[name] for name in Arrived._fields))
        .where(true() if before is None else kept.at < before)
        .order_by(kept.at.desc(), kept.batch_id)
        .limit(limit)
    )
    return [Arrived(*row) for row in rows]


def batch(tx: Tx, *, batch_id: str) -> Arrived | None:
    """The batch of that id."""
    kept = capture_batches.c
    columns = [kept[name] for name in Arrived._fields]
    row = tx.execute(select(*columns).where(kept.batch_id == batch_id)).one_or_none()
    return None if row is None else Arrived(*row)


def refusals(tx: Tx, *, batch_id: str, limit: int) -> list[Refused]:
    """The first records of a batch that were not stored, and why."""
    kept = capture_refusals.c
    rows = tx.execute(
        select(*(kept[name] for name in Refused._fields))
        .where(kept.batch_id == batch_id)
        .order_by(kept.position)
        .limit(limit)
    )
    return [Refused(*row) for row in rows]
