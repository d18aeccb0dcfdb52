"""Examples that somebody wants kept, whatever their age and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, literal, select
from sqlalchemy.dialects.postgresql import insert

from tdsys.store.engine import Tx
from tdsys.store.lifecycle_schema import pins
from tdsys.store.schema import examples


class Pin(NamedTuple):
    """Who said so, why and when."""

    actor: str
    reason: str
    at: datetime


def put(tx: Tx, *, example_ids: Sequence[int], actor: str, reason: str, now: datetime) -> set[int]:
    """Pin examples; the ids of those there are. One that is pinned keeps its first pin."""
    found = set(tx.scalars(select(examples.c.id).where(examples.c.id.in_(example_ids))))
    said = select(examples.c.id, literal(actor), literal(reason), literal(now))
    tx.execute(
        insert(pins)
        .from_select([c.name for c in pins.c], said.where(examples.c.id.in_(found)))
        .on_conflict_do_nothing()
    )
    return found


def take(tx: Tx, *, example_ids: Sequence[int]) -> set[int]:
    """Unpin examples; the ids of those that were pinned."""
    gone = delete(pins).where(pins.c.example_id.in_(example_ids)).returning(pins.c.example_id)
    return set(tx.scalars(gone))


def pin(tx: Tx, *, example_id: int) -> Pin | None:
    """Its pin, if it has one."""
    row = tx.execute(
        select(pins.c.actor, pins.c.reason, pins.c.at).where(pins.c.example_id == example_id)
    ).one_or_none()
    return None if row is None else Pin(*row)
