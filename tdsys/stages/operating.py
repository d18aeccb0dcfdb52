"""Move many examples at once: list them, show what it would come to, do it, and take it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime

from tdsys.core.browsing import Filter
from tdsys.core.lifecycle import BY_PEOPLE, Move
from tdsys.errors import Conflict, InvalidInput, NotFound
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, operations
from tdsys.store.browse_schema import OperationState, Outcome
from tdsys.store.browsing import Row
from tdsys.store.operations import Operation

SAMPLE = 10
Told = Callable[[Operation], None]


def _silent(_: Operation) -> None:
    """Nobody listens."""


def begin(
    store: Store,
    *,
    asked: Filter,
    move: Move,
    reason: str,
    actor: str,
    domains: Collection[str] | None,
    now: datetime,
) -> int:
    """A bulk action to be listed, its id; `domains` are those its author may move in."""
    if move not in BY_PEOPLE:
        raise InvalidInput(f"{move} is the pipeline's move", remedy=f"one of {_listed()}")
    if not reason.strip():
        raise InvalidInput("a bulk action needs a reason", remedy="say why, it is kept")
    with store.begin() as tx:
        return operations.open_(
            tx, asked=asked, move=move, reason=reason, actor=actor, domains=domains, now=now
        )


def operation(store: Store, *, operation_id: int) -> Operation:
    """One bulk action; NotFound when there is none of that number."""
    with store.begin() as tx:
        found = operations.operation(tx, operation_id=operation_id)
    if found is None:
        raise NotFound(f"there is no operation {operation_id}", remedy="list them first")
    return found


def sample(store: Store, *, operation_id: int, outcome: Outcome = Outcome.WAITING) -> list[Row]:
    """The first of its examples."""
    with store.begin() as tx:
        return operations.sample(tx, operation_id=operation_id, outcome=outcome, limit=SAMPLE)


def newest(store: Store, *, limit: int) -> list[Operation]:
    """The newest bulk actions."""
    with store.begin() as tx:
        return operations.newest(tx, limit=limit)


def confirm(store: Store, *, operation_id: int, now: datetime) -> None:
    """Have the listed examples moved; Conflict unless they are listed and wait for this word."""
    _turn(store, operation_id, (OperationState.LISTED,), OperationState.MOVING, started_at=now)


def discard(store: Store, *, operation_id: int) -> None:
    """Forget a bulk action that was not begun; Conflict when it was."""
    states = (OperationState.LISTING, OperationState.LISTED)
    _turn(store, operation_id, states, OperationState.DISCARDED)


def undo(store: Store, *, operation_id: int, actor: str, now: datetime) -> None:
    """Have moved back what nobody touched since; Conflict unless it was done."""
    more = {"undone_by": actor, "undone_at": now}
    _turn(store, operation_id, (OperationState.DONE,), OperationState.UNDOING, **more)


def _turn(
    store: Store,
    operation_id: int,
    states: Collection[OperationState],
    to: OperationState,
    **more: object,
) -> None:
    with store.begin() as tx:
        turned = operations.turn(tx, operation_id=operation_id, states=states, to=to, **more)
    if not turned:
        found = operation(store, operation_id=operation_id)
        raise Conflict(
            f"operation {operation_id} is {found.state}", remedy="look at it again; it went on"
        )


def go_on(
    store: Store,
    *,
    operation_id: int,
    clock: Clock,
    seconds: float = float("inf"),
    tell: Told = _silent,
) -> Operation:
    """Go on with an operation until it waits for a person, or for so long; as it is then.

    Somebody else may be at it: then it is only looked at.
    """
    until = time.monotonic() + seconds
    while (found := operation(store, operation_id=operation_id)).is_open:
        with store.begin() as tx:
            held = operations.operation(tx, operation_id=operation_id, hold=True)
            if held is None:
                return found
            _part(tx, held, clock())
        tell(operation(store, operation_id=operation_id))
        if time.monotonic() >= until:
            break
    return operation(store, operation_id=operation_id)


def _part(tx: Tx, held: Operation, now: datetime) -> None:
    if held.state is OperationState.LISTING:
        operations.list_next(tx, held)
    elif held.state is OperationState.MOVING:
        operations.move_next(tx, held, now=now)
    elif held.state is OperationState.UNDOING:
        operations.undo_next(tx, held, now=now)


def work(store: Store, *, clock: Clock) -> list[Operation]:
    """Go on with all that are open; as they are then."""
    with store.begin() as tx:
        ids = operations.open_ids(tx)
    return [go_on(store, operation_id=one, clock=clock) for one in ids]


def _listed() -> str:
    return ", ".join(BY_PEOPLE)
