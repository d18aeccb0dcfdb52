"""Batches as a whole: what is wanted, what it may cost, how it ends, what it has yielded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import bindparam, case, func, literal, select, text, true, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from tdsys.core import resolving
from tdsys.core.batch import (
    MOST_OUTAGES,
    BatchState,
    CellState,
    Fallback,
    Kind,
    Tally,
    standing,
)
from tdsys.core.example import Cell, Document
from tdsys.core.filling import Experience
from tdsys.core.lifecycle import State
from tdsys.core.spending import Left
from tdsys.errors import Conflict, NotFound
from tdsys.store import prefixes
from tdsys.store.batch_schema import IS_UNDER_WAY, batch_cells, batch_items
from tdsys.store.batch_schema import batches as batches_table
from tdsys.store.engine import Tx
from tdsys.store.schema import CANDIDATE, examples

OPEN = BatchState.OPEN.value
ADMITTED = State.ADMITTED.value


class Batch(BaseModel):
    """One request for examples; `plan` is what was expected when it was begun.

    Costs are millionths of a dollar, None where a price is not known; `price` is that of a token.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    domain: str
    kind: Kind
    state: BatchState
    wanted: int
    plan: dict[str, JsonValue]
    policy_version: int
    model: str
    max_calls: int
    reserved: int
    spent: int
    tokens: int
    max_tokens: int | None
    reserved_tokens: int
    cost: int | None
    max_cost: int | None
    reserved_cost: int
    price: float | None
    max_seconds: int | None
    ends_at: datetime | None
    actor: str
    created_at: datetime
    finished_at: datetime | None

    @property
    def left(self) -> Left:
        """What may still be spent."""
        tokens, micros = self.max_tokens, self.max_cost
        return Left(
            calls=self.max_calls - self.spent - self.reserved,
            tokens=None if tokens is None else tokens - self.tokens - self.reserved_tokens,
            micros=None if micros is None else micros - (self.cost or 0) - self.reserved_cost,
            price=None if self.cost is None else self.price,
        )


class Portion(NamedTuple):
    """A part of a batch that is handed to one worker at a time."""

    topic: str
    difficulty: str
    ladder: tuple[str, ...]
    wanted: int


# Where a plan keeps what the batch might spend at first.
LIMITS = "limits"


class Budget(NamedTuple):
    """What a batch may spend; None: no limit. `cost` in millionths of a dollar."""

    calls: int | None = None
    tokens: int | None = None
    cost: int | None = None
    seconds: int | None = None


class Opening(NamedTuple):
    """A batch that is to be; `plan` is what is expected of it, `price` a token's at the most."""

    domain: str
    kind: Kind
    portions: Sequence[Portion]
    plan: Document
    model: str
    max_calls: int
    actor: str
    max_tokens: int | None = None
    max_cost: int | None = None
    price: float | None = None
    max_seconds: int | None = None


class Kept(NamedTuple):
    """A portion as it is stored."""

    id: int
    topic: str
    difficulty: str
    strategy: str
    wanted: int
    state: str
    reason: str | None
    fallbacks: list[Fallback]


def open_(
    tx: Tx, *, opening: Opening, policy_version: int, now: datetime, key: UUID | None = None
) -> UUID:
    """A batch whose portions are due at once, planned under this version of its policy.

    With a `key` it gets that id; the batch that has it already, and nothing new, when there is one.
    """
    values = opening._asdict()
    portions: Sequence[Portion] = values.pop("portions")
    wanted = sum(one.wanted for one in portions)
    first = Budget(opening.max_calls, opening.max_tokens, opening.max_cost, opening.max_seconds)
    values["plan"] = {**opening.plan, LIMITS: first._asdict()}
    values |= {"policy_version": policy_version, "state": OPEN, "wanted": wanted}
    values["ends_at"] = _after(opening.max_seconds, now)
    named = {"id": key} if key else {}
    batch_id: UUID | None = tx.scalar(
        insert(batches_table)
        .values(**values, **named, created_at=now)
        .on_conflict_do_nothing(index_elements=[batches_table.c.id])
        .returning(batches_table.c.id)
    )
    if batch_id is None:
        assert key is not None  # noqa: S101  # an id of the database's own is nobody's
        return key
    rows = [
        {
            "batch_id": batch_id,
            "position": position,
            "topic": one.topic,
            "difficulty": one.difficulty,
            "ladder": list(one.ladder),
            "wanted": one.wanted,
            "fallbacks": [],
            "state": CellState.DUE.value,
            "due_at": now,
        }
        for position, one in enumerate(portions)
    ]
    tx.execute(insert(batch_cells), rows)
    return batch_id


def find(tx: Tx, *, batch_id: UUID, hold: bool = False) -> Batch:
    """The batch of that id, also kept from everybody else; NotFound when there is none."""
    query = select(batches_table).where(batches_table.c.id == batch_id)
    row = tx.execute(query.with_for_update() if hold else query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no batch {batch_id}", remedy="see `tdsys batch list`")
    return Batch.model_validate(row)


def meant(tx: Tx, *, prefix: str) -> UUID:
    """The batch whose id begins so; InvalidInput when there is none, or more than one."""
    return prefixes.meant(
        tx, batches_table.c.id, prefix=prefix, kind="batch", where="tdsys batch list"
    )


def listed(tx: Tx, *, domain: str | None, limit: int) -> list[Batch]:
    """Batches, the newest first."""
    kept = batches_table.c
    rows = tx.execute(
        select(batches_table)
        .where(true() if domain is None else kept.domain == domain)
        .order_by(kept.created_at.desc(), kept.id)
        .limit(limit)
    ).mappings()
    return [Batch.model_validate(row) for row in rows]


def within(
    tx: Tx, *, domains: Collection[str] | None, limit: int, before: datetime | None = None
) -> list[Batch]:
    """Batches of these domains (None: of all) that were asked for before then, the newest first."""
    kept = batches_table.c
    rows = tx.execute(
        select(batches_table)
        .where(
            true() if domains is None else kept.domain.in_(domains),
            true() if before is None else kept.created_at < before,
        )
        .order_by(kept.created_at.desc(), kept.id)
        .limit(limit)
    ).mappings()
    return [Batch.model_validate(row) for row in rows]


def made_since(tx: Tx, *, batch_id: UUID, since: datetime) -> tuple[int, datetime | None]:
    """How many examples a batch's attempts made since then, and when the first of those was."""
    item = batch_items.c
    row = tx.execute(
        select(func.count(), func.min(item.at))
        .join_from(batch_items, batch_cells, batch_cells.c.id == item.cell_id)
        .where(batch_cells.c.batch_id == batch_id, item.at >= since, item.example_id.is_not(None))
    ).one()
    return row[0], row[1]


def portions(tx: Tx, *, batch_id: UUID) -> list[Kept]:
    """A batch's portions in their order."""
    kept = batch_cells.c
    rows = tx.execute(
        select(batch_cells).where(kept.batch_id == batch_id).order_by(kept.position)
    ).mappings()
    return [
        Kept(
            id=row["id"],
            topic=row["topic"],
            difficulty=row["difficulty"],
            strategy=row["ladder"][0],
            wanted=row["wanted"],
            state=row["state"],
            reason=row["reason"],
            fallbacks=[Fallback.model_validate(one) for one in row["fallbacks"]],
        )
        for row in rows
    ]


def tallies(tx: Tx, *, batch_id: UUID, cell_id: int | None = None) -> list[Tally]:
    """What the attempts of a batch, or of one portion, have come to."""
    if cell_id is None:
        return [Tally(*row) for row in tx.execute(_TALLIES, {"batch_id": batch_id})]
    return [Tally(*row) for row in tx.execute(_PORTION, {"cell_id": cell_id})]


_BY = (
    batch_items.c.cell_id,
    batch_items.c.strategy,
    examples.c.state,
    func.coalesce(batch_items.c.reason, examples.c.reason),
)
_COUNTED = select(*_BY, func.count()).select_from(
    batch_items.outerjoin(examples, examples.c.id == batch_items.c.example_id)
)
_PORTION = (
    _COUNTED.where(batch_items.c.cell_id == bindparam("cell_id")).group_by(*_BY).order_by(*_BY)
)
_TALLIES = (
    _COUNTED.join(batch_cells, batch_cells.c.id == batch_items.c.cell_id)
    .where(batch_cells.c.batch_id == bindparam("batch_id"))
    .group_by(*_BY)
    .order_by(*_BY)
)


def first_details(tx: Tx, *, batch_id: UUID) -> dict[str, str]:
    """For each reason why attempts of a batch came to nothing, what the first of them was told."""
    item = batch_items.c
    rows = tx.execute(
        select(item.reason, item.detail)
        .join_from(batch_items, batch_cells, batch_cells.c.id == item.cell_id)
        .where(batch_cells.c.batch_id == batch_id, item.reason.is_not(None), item.detail != "")
        .ext(distinct_on(item.reason))
        .order_by(item.reason, item.cell_id, item.number)
    )
    return {one.reason: one.detail for one in rows}


def made(tx: Tx, *, batch_id: UUID) -> set[int]:
    """The examples that a batch has made."""
    query = (
        select(batch_items.c.example_id)
        .join(batch_cells, batch_cells.c.id == batch_items.c.cell_id)
        .where(batch_cells.c.batch_id == batch_id, batch_items.c.example_id.is_not(None))
    )
    return {one for one in tx.scalars(query) if one is not None}


def solved_again(tx: Tx, *, batch_id: UUID) -> dict[str, int]:
    """Of the examples a batch has made, what solving them again came to, and how often."""
    rows = tx.execute(_SOLVED_AGAIN, {"batch_id": batch_id, "name": resolving.NAME})
    return {one.outcome: one.n for one in rows}


_SOLVED_AGAIN = text(
    """
    SELECT told ->> 'outcome' AS outcome, count(*) AS n
    FROM batch_items AS item JOIN batch_cells AS cell ON cell.id = item.cell_id
    CROSS JOIN LATERAL json_array_elements(item.evidence) AS told
    WHERE cell.batch_id = :batch_id AND item.example_id IS NOT NULL AND told ->> 'name' = :name
    GROUP BY 1 ORDER BY 1
    """
)


def experience(tx: Tx, *, domain: str | None) -> list[Experience]:
    """What every strategy has yielded in every cell, of one domain or of all."""
    item, cell = batch_items.c, batch_cells.c
    by = (item.strategy, cell.topic, cell.difficulty)
    rows = tx.execute(
        select(
            *by,
            func.count(),
            func.count().filter(examples.c.state == ADMITTED),
            func.sum(item.calls),
            func.sum(item.tokens),
            func.sum(item.seconds),
        )
        .join_from(batch_items, batch_cells, cell.id == item.cell_id)
        .join(batches_table, batches_table.c.id == cell.batch_id)
        .outerjoin(examples, examples.c.id == item.example_id)
        .where(true() if domain is None else batches_table.c.domain == domain)
        .group_by(*by)
        .order_by(*by)
    )
    return [Experience(row[0], Cell(row[1], row[2]), *row[3:]) for row in rows]


def close_if_over(tx: Tx, *, batch_id: UUID, now: datetime) -> BatchState | None:
    """End a batch none of whose portions is open."""
    # Of two that end their last portions at once the second sees what the first has done.
    find(tx, batch_id=batch_id, hold=True)
    if tx.scalar(_ANY_OPEN, {"batch_id": batch_id}):
        return None
    kept = batches_table.c
    enough = literal(standing(tallies(tx, batch_id=batch_id)).admitted) >= kept.wanted
    state: str | None = tx.scalar(
        update(batches_table)
        .where(kept.id == batch_id, kept.state == OPEN)
        .values(state=case((enough, "finished"), else_="partial"), finished_at=now)
        .returning(kept.state)
    )
    return None if state is None else BatchState(state)


_ANY_OPEN = (
    select(batch_cells.c.id)
    .where(batch_cells.c.batch_id == bindparam("batch_id"), IS_UNDER_WAY)
    .limit(1)
)


def cancel(tx: Tx, *, batch_id: UUID, now: datetime) -> bool:
    """End an open batch and what is open of it; what was made stays. False: it was not open."""
    kept, cell = batches_table.c, batch_cells.c
    under_way = cell.batch_id == batch_id, IS_UNDER_WAY
    # Portions before their batch, as workers do.
    tx.execute(select(cell.id).where(*under_way).order_by(cell.id).with_for_update())
    ended = tx.scalar(
        update(batches_table)
        .where(kept.id == batch_id, kept.state == OPEN)
        .values(
            state=BatchState.CANCELLED.value,
            finished_at=now,
            # What is under way may have been paid for.
            spent=kept.spent + kept.reserved,
            tokens=kept.tokens + kept.reserved_tokens,
            cost=kept.cost + kept.reserved_cost,
            reserved=0,
            reserved_tokens=0,
            reserved_cost=0,
        )
        .returning(kept.id)
    )
    if ended is None:
        return False
    tx.execute(
        update(batch_cells)
        .where(*under_way)
        .values(
            state=CellState.CANCELLED.value,
            due_at=None,
            # Whoever still works on it must not take it for theirs once it is resumed.
            attempts=cell.attempts + 1,
            reserved=0,
            reserved_tokens=0,
            reserved_cost=0,
            reason="cancelled",
        )
    )
    return True


def resume(tx: Tx, *, batch_id: UUID, more: Budget, now: datetime) -> int:
    """Open an ended batch once more where it fell short; how many portions are due again.

    What `more` leaves open is as much as at first; what had no limit gets one from now on.
    """
    batch, cell = find(tx, batch_id=batch_id, hold=True), batch_cells.c
    if batch.state == OPEN:
        raise Conflict(f"batch {batch_id} is open", remedy="`tdsys batch watch` follows it")
    again = tx.scalars(
        update(batch_cells)
        .where(
            cell.batch_id == batch_id,
            cell.state.in_([CellState.SHORT.value, CellState.CANCELLED.value]),
        )
        .values(state=CellState.DUE.value, due_at=now, rung=0, tries=0, outages=0, reason=None)
        .returning(cell.id)
    ).all()
    if again:
        _have_judged(tx, again, now)
        tx.execute(
            update(batches_table)
            .where(batches_table.c.id == batch_id)
            .values(state=OPEN, finished_at=None, **_with_more(batch, more, now))
        )
    return len(again)


def _have_judged(tx: Tx, cell_ids: Sequence[int], now: datetime) -> None:
    """What no judge gave an answer on is asked about again at once, as if for the first time."""
    made = select(batch_items.c.example_id).where(batch_items.c.cell_id.in_(cell_ids))
    tx.execute(
        update(examples)
        .where(
            examples.c.id.in_(made),
            examples.c.state == CANDIDATE,
            examples.c.attempts >= MOST_OUTAGES,
        )
        .values(attempts=0, due_at=now)
    )


def _with_more(batch: Batch, more: Budget, now: datetime) -> dict[str, int | datetime | None]:
    """Every limit counts from what is spent; where none is named it is as much as at first."""
    first = Budget(**batch.plan.get(LIMITS, {}))  # type: ignore[arg-type]  # written by `open_`
    calls = more.calls or first.calls or batch.max_calls
    tokens = more.tokens or first.tokens or batch.max_tokens
    cost = more.cost or first.cost or batch.max_cost
    seconds = more.seconds or batch.max_seconds
    return {
        "max_calls": batch.spent + calls,
        "max_tokens": None if tokens is None else batch.tokens + tokens,
        "max_cost": None if cost is None else (batch.cost or 0) + cost,
        "max_seconds": seconds,
        "ends_at": _after(seconds, now),
    }


def _after(seconds: int | None, now: datetime) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)
