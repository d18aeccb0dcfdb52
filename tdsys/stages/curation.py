"""A person's decisions: what waits for one, and what is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tdsys.core.lifecycle import Move, State
from tdsys.store import Store, examples, pins, policies
from tdsys.store.examples import Listed


def listed(store: Store, *, state: State, domain: str | None, limit: int) -> list[Listed]:
    """The examples in one state, longest there first."""
    with store.begin() as tx:
        return examples.listed(tx, state=state.value, domain=domain, limit=limit)


def move(
    store: Store, *, example_id: int, move: Move, reason: str, actor: str, now: datetime
) -> State:
    """Move one example, with the reason on record; Conflict when its state forbids it."""
    with store.begin() as tx:
        version = policies.version_of(tx, example_id=example_id)
        return examples.move(
            tx,
            example_id=example_id,
            move=move,
            reason=reason,
            detail="",
            actor=actor,
            policy_version=version,
            now=now,
        )


def pin(
    store: Store, *, example_ids: Sequence[int], reason: str, actor: str, now: datetime
) -> set[int]:
    """Have pruning take these last; the ids of those there are."""
    with store.begin() as tx:
        return pins.put(tx, example_ids=example_ids, actor=actor, reason=reason, now=now)


def unpin(store: Store, *, example_ids: Sequence[int]) -> set[int]:
    """Have pruning treat these as all others; the ids of those that were pinned."""
    with store.begin() as tx:
        return pins.take(tx, example_ids=example_ids)
