"""Moves in bulk: examples are listed, exactly those are moved, and they may be moved back.

One rule: a part is one transaction that holds the operation's row. Whoever dies on the way leaves
the rest to whoever looks next, and two who look at once take turns; nothing is done twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import case, func, insert, literal, select, update

from tdsys.core.browsing import Filter
from tdsys.core.lifecycle import MOVES, Move, State, after, way
from tdsys.store import attributions, browsing, policies, programs, reviews
from tdsys.store.browse_schema import OperationState, Outcome, operation_items, operations
from tdsys.store.engine import Tx
from tdsys.store.schema import examples, transitions

WINDOW = 5000
BATCH = 500
OPEN = (OperationState.LISTING, OperationState.MOVING, OperationState.UNDOING)


class Operation(BaseModel):
    """One bulk action; `counts` by outcome, for what was left out with the state it is in."""

    model_config = ConfigDict(frozen=True)

    id: int
    actor: str
    move: Move
    reason: str
    filter: Filter
    domains: list[str] | None
    state: OperationState
    place: int
    until: int
    counts: dict[str, int]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    undone_by: str | None
    undone_at: datetime | None

    @property
    def to(self) -> State:
        """Where its examples go."""
        return next(end for (_, move), end in MOVES.items() if move is self.move)

    @property
    def is_open(self) -> bool:
        """Whether somebody has to go on with it."""
        return self.state in OPEN

    @property
    def progress(self) -> tuple[int, int]:
        """How much of what it is at is done, and of how much."""
        if self.state is OperationState.LISTING:
            return self.place, self.until
        if self.state in {OperationState.UNDOING, OperationState.UNDONE}:
            rest = self.count(Outcome.MOVED)
            done = self.count(Outcome.UNDONE, Outcome.KEPT)
        else:
            rest = self.count(Outcome.WAITING)
            done = self.count(Outcome.MOVED, Outcome.CHANGED, Outcome.GONE)
        return done, done + rest

    @property
    def mark(self) -> str:
        """How the history of an example names it."""
        return f"operation {self.id}"

    def count(self, *outcomes: Outcome) -> int:
        """How many examples came to one of these outcomes."""
        named = {one.value for one in outcomes}
        return sum(n for name, n in self.counts.items() if name.partition(" ")[0] in named)


class _Item(NamedTuple):
    """One listed example, as it was then."""

    example_id: int
    from_state: State
    from_reason: str | None
    moved_at: datetime | None


def open_(
    tx: Tx,
    *,
    asked: Filter,
    move: Move,
    reason: str,
    actor: str,
    domains: Collection[str] | None,
    now: datetime,
) -> int:
    """A bulk action whose examples are to be listed, its id."""
    newest = tx.scalar(select(func.max(examples.c.id))) or 0
    operation_id: int = tx.scalars(
        insert(operations)
        .values(
            actor=actor,
            move=move.value,
            reason=reason,
            filter=asked.model_dump(mode="json", exclude_none=True),
            domains=None if domains is None else sorted(domains),
            state=OperationState.LISTING.value,
            until=newest,
            counts={},
            created_at=now,
        )
        .returning(operations.c.id)
    ).one()
    return operation_id


def operation(tx: Tx, *, operation_id: int, hold: bool = False) -> Operation | None:
    """The operation of that id; held for this transaction, unless somebody else has it."""
    query = select(operations).where(operations.c.id == operation_id)
    row = tx.execute(query.with_for_update(skip_locked=True) if hold else query).mappings()
    found = row.one_or_none()
    return None if found is None else Operation.model_validate(found)


def newest(tx: Tx, *, limit: int) -> list[Operation]:
    """The newest operations."""
    rows = tx.execute(select(operations).order_by(operations.c.id.desc()).limit(limit)).mappings()
    return [Operation.model_validate(row) for row in rows]


def open_ids(tx: Tx) -> list[int]:
    """The operations somebody has to go on with."""
    states = operations.c.state.in_([one.value for one in OPEN])
    return list(tx.scalars(select(operations.c.id).where(states).order_by(operations.c.id)))


def turn(
    tx: Tx,
    *,
    operation_id: int,
    states: Collection[OperationState],
    to: OperationState,
    **more: Any,
) -> bool:
    """Let an operation go on in another state; False when it is in none of these."""
    turned = tx.scalar(
        update(operations)
        .where(
            operations.c.id == operation_id,
            operations.c.state.in_([one.value for one in states]),
        )
        .values(state=to.value, place=0, **more)
        .returning(operations.c.id)
    )
    return turned is not None


def list_next(tx: Tx, held: Operation) -> None:
    """List the next examples, with what the move would come to."""
    upper = min(held.place + WINDOW, held.until)
    seen = browsing.seen_domains(tx, asked=held.filter, domains=held.domains)
    kept, text = examples.c, held.filter.text
    searched = [] if text is None else [browsing.has_words(text, kept.id)]
    legal = [state.value for state, move in MOVES if move is held.move]
    unscored = kept.quality.is_(None) if held.to is State.ADMITTED else literal(value=False)
    would = case(
        (kept.state.not_in(legal), Outcome.ILLEGAL.value),
        (unscored, Outcome.UNSCORED.value),
        else_=Outcome.WAITING.value,
    )
    meant = select(literal(held.id), kept.id, kept.state, kept.reason, would).where(
        kept.id > held.place,
        kept.id <= upper,
        *browsing.matching(held.filter, domains=seen),
        *searched,
    )
    items = operation_items.c
    names = ["operation_id", "example_id", "from_state", "from_reason", "outcome"]
    added = (
        insert(operation_items).from_select(names, meant).returning(items.outcome, items.from_state)
    ).cte("added")
    by = (added.c.outcome, added.c.from_state)
    rows = tx.execute(select(*by, func.count()).group_by(*by))
    found = Counter({_key(Outcome(outcome), state): n for outcome, state, n in rows})
    done = upper >= held.until
    _note(tx, held, found, place=upper, to=OperationState.LISTED if done else None)


def _key(outcome: Outcome, state: str) -> str:
    return f"{outcome.value} {state}" if outcome is Outcome.ILLEGAL else outcome.value


def move_next(tx: Tx, held: Operation, *, now: datetime) -> int:
    """Move the next of the listed examples; how many were looked at."""
    items = _items(tx, held, Outcome.WAITING)
    found = _hold(tx, items)
    outcomes = {one.example_id: _fate(held, one, found.get(one.example_id)) for one in items}
    moved = [one for one in items if outcomes[one.example_id] is Outcome.MOVED]
    steps = [(one, (held.move,)) for one in moved]
    _write(tx, held, steps, found, actor=held.actor, reason=held.reason, now=now)
    _settle(tx, held, items, outcomes, Outcome.WAITING, OperationState.DONE, now)
    return len(items)


def _fate(held: Operation, one: _Item, row: Any) -> Outcome:
    if row is None:
        return Outcome.GONE
    if row.state != one.from_state:
        return Outcome.CHANGED
    unscored = held.to is State.ADMITTED and row.quality is None
    return Outcome.UNSCORED if unscored else Outcome.MOVED


def undo_next(tx: Tx, held: Operation, *, now: datetime) -> int:
    """Move back the next of those that nobody touched since; how many were looked at."""
    items = _items(tx, held, Outcome.MOVED)
    found = _hold(tx, items)
    outcomes = {}
    for one in items:
        row = found.get(one.example_id)
        untouched = row and row.state == held.to and row.moved_at == one.moved_at
        outcomes[one.example_id] = Outcome.UNDONE if untouched else Outcome.KEPT
    back = [one for one in items if outcomes[one.example_id] is Outcome.UNDONE]
    steps = [(one, way(held.to, one.from_state)) for one in back]
    _write(tx, held, steps, found, actor=held.undone_by or "", reason="undone", now=now)
    waited = [one.example_id for one in back if one.from_state is State.IN_REVIEW]
    reviews.resume_stays(tx, since=_entered(tx, held, waited))
    _settle(tx, held, items, outcomes, Outcome.MOVED, OperationState.UNDONE, now)
    return len(items)


def _entered(tx: Tx, held: Operation, ids: Sequence[int]) -> dict[int, datetime]:
    """When examples had come to where the operation found them."""
    last = func.max(transitions.c.at)
    rows = tx.execute(
        select(transitions.c.example_id, last)
        .where(transitions.c.example_id.in_(ids), transitions.c.detail != held.mark)
        .group_by(transitions.c.example_id)
    )
    return {row[0]: row[1] for row in rows}


def _items(tx: Tx, held: Operation, outcome: Outcome) -> list[_Item]:
    items = operation_items.c
    rows = tx.execute(
        select(items.example_id, items.from_state, items.from_reason, items.moved_at)
        .where(
            items.operation_id == held.id,
            items.example_id > held.place,
            items.outcome == outcome.value,
        )
        .order_by(items.example_id)
        .limit(BATCH)
    )
    return [_Item(row[0], State(row[1]), *row[2:]) for row in rows]


def _hold(tx: Tx, items: Sequence[_Item]) -> Mapping[int, Any]:
    kept = examples.c
    rows: Iterator[Any] = iter(
        tx.execute(
            select(kept.id, kept.state, kept.quality, kept.moved_at, kept.domain)
            .where(kept.id.in_([one.example_id for one in items]))
            .order_by(kept.id)
            .with_for_update()
        )
    )
    return {row.id: row for row in rows}


def _write(
    tx: Tx,
    held: Operation,
    steps: Sequence[tuple[_Item, tuple[Move, ...]]],
    found: Mapping[int, Any],
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Move examples that are held along their steps, each of them on record."""
    if not steps:
        return
    names = {found[one.example_id].domain for one, _ in steps}
    versions = {name: v for name, (v, _) in policies.currents(tx, names=names).items()}
    rows, ends, left = [], dict[State, list[_Item]](), []
    for one, moves in steps:
        row = found[one.example_id]
        state = State(row.state)
        left += [one.example_id] if state is State.ADMITTED else []
        for move in moves:
            to = after(state, move)
            rows.append(
                {"example_id": one.example_id, "from_state": state.value, "to_state": to.value,
                 "move": move.value, "reason": reason, "detail": held.mark, "actor": actor,
                 "policy_version": versions[row.domain], "at": now}
            )  # fmt: skip
            state = to
        ends.setdefault(state, []).append(one)
    for state, items in ends.items():
        _place(tx, held, state, items, reason=reason, now=now)
    tx.execute(insert(transitions), rows)
    programs.outdate(tx, example_ids=left)
    attributions.outdate(tx, example_ids=left)


def _place(
    tx: Tx, held: Operation, state: State, items: Sequence[_Item], *, reason: str, now: datetime
) -> None:
    due = {"due_at": now, "attempts": 0} if state is State.CANDIDATE else {"due_at": None}
    why: Any = reason
    if held.state is OperationState.UNDOING:
        why = operation_items.c.from_reason
    query = update(examples).where(
        examples.c.id.in_([one.example_id for one in items]),
        operation_items.c.operation_id == held.id,
        operation_items.c.example_id == examples.c.id,
    )
    tx.execute(query.values(state=state.value, reason=why, moved_at=now, **due))


def _settle(
    tx: Tx,
    held: Operation,
    items: Sequence[_Item],
    outcomes: Mapping[int, Outcome],
    before: Outcome,
    end: OperationState,
    now: datetime,
) -> None:
    """Write down what became of a part; one that is not full was the last."""
    kept = operation_items.c
    for outcome in set(outcomes.values()):
        ids = [one for one, found in outcomes.items() if found is outcome]
        moved_at = {"moved_at": now} if outcome is Outcome.MOVED else {}
        tx.execute(
            update(operation_items)
            .where(kept.operation_id == held.id, kept.example_id.in_(ids))
            .values(outcome=outcome.value, **moved_at)
        )
    changed = Counter(outcome.value for outcome in outcomes.values())
    changed[before.value] -= len(items)
    place = items[-1].example_id if items else held.place
    _note(tx, held, changed, place=place, to=end if len(items) < BATCH else None, now=now)


def _note(
    tx: Tx,
    held: Operation,
    changed: Counter[str],
    *,
    place: int,
    to: OperationState | None,
    now: datetime | None = None,
) -> None:
    added = Counter(held.counts)
    added.update(changed)
    values: dict[str, Any] = {
        "place": place if to is None else 0,
        "counts": {name: n for name, n in added.items() if n},
    }
    if to is not None:
        values["state"] = to.value
    if to is OperationState.DONE:
        values["finished_at"] = now
    tx.execute(update(operations).where(operations.c.id == held.id).values(values))


def sample(tx: Tx, *, operation_id: int, outcome: Outcome, limit: int) -> list[browsing.Row]:
    """The first of an operation's examples that came to this outcome."""
    items = operation_items.c
    ids = tx.scalars(
        select(items.example_id)
        .where(items.operation_id == operation_id, items.outcome == outcome.value)
        .order_by(items.example_id)
        .limit(limit)
    )
    return browsing.rows(tx, ids=list(ids))
