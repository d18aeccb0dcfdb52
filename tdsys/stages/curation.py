"""A person's decisions: what waits for one, and what is done with it."""

from __future__ import annotations

from datetime import datetime

from tdsys.core.lifecycle import Move, State
from tdsys.store import Store, examples, policies
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
