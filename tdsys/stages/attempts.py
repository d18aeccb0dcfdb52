"""What a block of attempts came to, as it is stored: examples, rows of the batch, what it cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from tdsys.core.arrival import Arrival, from_capture
from tdsys.core.batch import Draft, Maker, Order, Refused
from tdsys.core.example import Capture, Document, Malformed
from tdsys.core.spending import Spend, total
from tdsys.stages.novelty import refusal
from tdsys.store.batches import Batch
from tdsys.store.making import Item


class Block(NamedTuple):
    """Attempts that are to be made now; their calls are set aside."""

    batch: Batch
    maker: Maker
    orders: list[Order]
    most_tokens: int | None
    calls_each: int


class Storable(NamedTuple):
    """A draft that can be stored."""

    draft: Draft
    arrival: Arrival
    capture_id: UUID


Checked = Storable | Refused


def checked(block: Block, order: Order, outcome: Draft | Refused, now: datetime) -> Checked:
    """A draft on its way into the store, with where it comes from; or why it cannot be."""
    if isinstance(outcome, Refused):
        return outcome
    name = f"{block.batch.id}/{order.serial}".encode()
    capture_id = UUID(bytes=blake2b(name, digest_size=16).digest())
    provenance: Document = {
        "batch": str(block.batch.id),
        "attempt": order.serial,
        **outcome.made_by,
        "parents": list(outcome.parents),
    }
    labels: Document = {"topic": order.cell.topic, "difficulty": order.cell.difficulty}
    metadata: Document = {"provenance": provenance}
    if outcome.simulated:
        metadata["simulated"] = True
    try:
        capture = Capture(
            capture_id=capture_id,
            domain=block.batch.domain,
            inputs={**outcome.inputs, **labels},
            outputs=outcome.outputs,
            metadata=metadata,
            captured_at=now,
        )
        return Storable(outcome, from_capture(capture), capture_id)
    except Malformed as bad:
        return refusal(outcome, "malformed", str(bad))


def at_worst(block: Block) -> dict[str, Any]:
    """What an attempt may have taken that nobody can tell about any more."""
    calls = block.calls_each
    tokens = calls * (block.most_tokens or 0)
    is_known = not calls or (block.most_tokens and block.batch.price is not None)
    cost = tokens * (block.batch.price or 0.0) if is_known else None
    return {"calls": calls, "tokens": tokens, "micros": cost}


def spent_on(attempts: Sequence[Draft | Refused]) -> Spend:
    """What a block came to."""
    cost = total(one.micros for one in attempts)
    return Spend(
        calls=sum(one.calls for one in attempts),
        tokens=sum(one.tokens for one in attempts),
        micros=None if cost is None else math.ceil(cost),
    )


def item(block: Block, order: Order, one: Checked, seconds: float) -> Item:
    """An attempt as its batch keeps it; `seconds` it took."""
    example, refused = (one, None) if isinstance(one, Storable) else (None, one)
    told = example.draft if example else one
    assert isinstance(told, Draft | Refused)  # noqa: S101  # one of the two was given
    return Item(
        number=order.number,
        capture_id=example.capture_id if example else None,
        reason=refused.reason if refused else None,
        detail=refused.detail if refused else None,
        content=refused.content if refused else None,
        evidence=[check.model_dump(mode="json") for check in told.checks],
        made_by=example.draft.made_by if example else {"version": block.maker.version},
        calls=told.calls,
        tokens=told.tokens,
        seconds=seconds,
        simulated=bool(example and example.draft.simulated),
    )
