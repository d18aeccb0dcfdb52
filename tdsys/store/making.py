"""The work on a batch: who has which portion, what its attempts came to, what they may cost.

One rule: a portion's row is locked before its batch's, always, so two workers never wait for each
other, and the batch's, which all of them need, for as short as can be; and only whoever made the
newest claim writes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningUpdate

from tdsys.core.batch import (
    MOST_OUTAGES,
    SPARE_TRIES,
    TRIES_PER_EXAMPLE,
    CellState,
    Fallback,
)
from tdsys.core.example import Cell
from tdsys.core.rubric import Check
from tdsys.core.spending import Spend
from tdsys.errors import Conflict
from tdsys.store.batch_schema import IS_UNDER_WAY, batch_cells, batch_items, batches
from tdsys.store.batches import Batch
from tdsys.store.engine import Tx
from tdsys.store.leases import is_due_then, moment
from tdsys.store.review_schema import example_revisions
from tdsys.store.schema import CANDIDATE, examples
from tdsys.store.values import any_of, records, recordset

DUPLICATE = "duplicate"


class Claimed(BaseModel):
    """A portion in one worker's hands."""

    model_config = ConfigDict(frozen=True)

    id: int
    batch_id: UUID
    position: int
    topic: str
    difficulty: str
    ladder: tuple[str, ...]
    rung: int
    wanted: int
    tries: int
    state: CellState
    attempts: int
    outages: int
    fallbacks: tuple[Fallback, ...]
    reserved: int
    reserved_tokens: int
    reserved_cost: int

    @property
    def cell(self) -> Cell:
        """The cell it is a portion of."""
        return Cell(self.topic, self.difficulty)

    @property
    def strategy(self) -> str:
        """The strategy whose turn it is."""
        return self.ladder[self.rung]


class Item(NamedTuple):
    """One attempt; `capture_id` names its example where it made one."""

    number: int
    capture_id: UUID | None
    reason: str | None
    detail: str | None
    content: JsonValue
    evidence: JsonValue
    made_by: JsonValue
    calls: int
    tokens: int
    seconds: float
    simulated: bool


class MadeAs(NamedTuple):
    """The attempt of a batch that an example is."""

    batch_id: UUID
    number: int
    strategy: str
    evidence: list[Check]
    calls: int
    tokens: int


def claim(tx: Tx, *, limit: int, lease: timedelta, now: datetime) -> list[Claimed]:
    """Take the portions that are due longest.

    Those that wait for decisions come once all are there, but for those no judge gives an answer
    on, or when they are woken.
    """
    asked = {**moment(now, lease=lease), "limit": limit, "until": now + lease}
    return [Claimed.model_validate(row) for row in tx.execute(_CLAIMED, asked).mappings()]


# Asked about so often, over minutes, and never answered.
_IS_UNHEARD = examples.c.attempts >= MOST_OUTAGES


def _undecided() -> Select[Any]:
    return (
        select(batch_items.c.number)
        .join(examples, examples.c.id == batch_items.c.example_id)
        .where(examples.c.state == CANDIDATE)
    )


def _claimed() -> ReturningUpdate[Any]:
    cell = batch_cells.c
    waits = _undecided().where(batch_items.c.cell_id == cell.id, ~_IS_UNHEARD)
    is_ready = or_(cell.state == CellState.DUE.value, ~waits.correlate(batch_cells).exists())
    due = (
        select(cell.id)
        .where(IS_UNDER_WAY, is_due_then(cell.due_at), is_ready)
        .order_by(cell.due_at, cell.id)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(batch_cells)
        .where(cell.id == due.c.id)
        .values(state=CellState.DUE.value, attempts=cell.attempts + 1, due_at=bindparam("until"))
        .returning(batch_cells)
    )


_CLAIMED = _claimed()


def wake(tx: Tx, *, example_ids: Sequence[int], since: datetime) -> bool:
    """Have portions go on that have lost one of these and may make another; whether one does.

    They are due since then, but not before their batch was. One that somebody holds right now is
    left: it goes on by itself, or when all of it is decided.
    """
    most = {"tries": TRIES_PER_EXAMPLE, "spare": SPARE_TRIES}
    return bool(tx.execute(_WOKEN, {"ids": list(example_ids), "since": since, **most}).rowcount)


_WOKEN = text(
    """
    WITH waits AS (
        SELECT cell.id, batch.created_at
        FROM batch_cells AS cell JOIN batches AS batch ON batch.id = cell.batch_id
        WHERE cell.state = 'judging' AND cell.tries < cell.wanted * :tries + :spare
            AND cell.id IN (SELECT cell_id FROM batch_items WHERE example_id = ANY(:ids))
        FOR UPDATE OF cell SKIP LOCKED
    )
    UPDATE batch_cells AS cell SET state = 'due', due_at = greatest(waits.created_at, :since)
    FROM waits WHERE cell.id = waits.id
    """
)


def is_unheard(tx: Tx, *, cell_id: int) -> bool:
    """Whether the judge gives no answer on what a portion has made and is not decided."""
    return bool(tx.scalar(_ALL_UNHEARD, {"cell_id": cell_id}))


# NULL where nothing is undecided.
_ALL_UNHEARD = (
    _undecided()
    .with_only_columns(func.bool_and(_IS_UNHEARD))
    .where(batch_items.c.cell_id == bindparam("cell_id"))
)


def times_asked(tx: Tx, *, batch_id: UUID) -> int:
    """How often the judge was asked about what a batch has made and is not decided, at most."""
    mine = (
        select(func.max(examples.c.attempts))
        .select_from(batch_items)
        .join(examples, examples.c.id == batch_items.c.example_id)
        .join(batch_cells, batch_cells.c.id == batch_items.c.cell_id)
        .where(batch_cells.c.batch_id == batch_id, examples.c.state == CANDIDATE)
    )
    return tx.scalar(mine) or 0


def hold(tx: Tx, *, claimed: Claimed) -> tuple[Batch, Claimed]:
    """Keep a claimed portion for this transaction; it and its batch, as they are now.

    The batch is not kept: others may spend of it. Conflict when the claim is not the newest any
    more: whoever was slow must not write.
    """
    row = tx.execute(_CELL, _own(claimed)).mappings().one_or_none()
    if row is None:
        raise Conflict(f"portion {claimed.id} of a batch is in other hands or has ended")
    batch = tx.execute(_BATCH, {"batch_id": claimed.batch_id}).mappings().one()
    return Batch.model_validate(batch), Claimed.model_validate(row)


def prolong(tx: Tx, *, claimed: Claimed, until: datetime) -> bool:
    """Keep the lease of a portion that is still ours; True when it is not."""
    return tx.scalar(_PROLONGED, {**_own(claimed), "until": until}) is None


def _own(claimed: Claimed) -> dict[str, int]:
    return {"own_id": claimed.id, "own_attempts": claimed.attempts}


# Built once: a portion is held again and again, and building costs half of what asking does.
_IS_OURS = (
    (batch_cells.c.id == bindparam("own_id"))
    & (batch_cells.c.attempts == bindparam("own_attempts"))
    & (batch_cells.c.state == CellState.DUE.value)
)
_BATCH = select(batches).where(batches.c.id == bindparam("batch_id"))
_CELL = select(batch_cells).where(_IS_OURS).with_for_update()
_PROLONGED = (
    update(batch_cells)
    .where(_IS_OURS)
    .values(due_at=bindparam("until"))
    .returning(batch_cells.c.id)
)


def forfeit(tx: Tx, *, claimed: Claimed) -> Spend:
    """Count as spent what a dead worker had set aside: nobody knows better."""
    _, now = hold(tx, claimed=claimed)
    lost = Spend(now.reserved, now.reserved_tokens, now.reserved_cost)
    if lost.calls:
        settle(tx, claimed=now, spent=lost)
    return lost


def reserve(tx: Tx, *, claimed: Claimed, spend: Spend) -> bool:
    """Set so much aside for a held portion that has nothing; False: the budget has not so much."""
    aside = {"calls": spend.calls, "tokens_": spend.tokens, "micros": spend.micros or 0}
    named = {"in_batch": claimed.batch_id, "cell_id": claimed.id}
    return tx.scalar(_SET_ASIDE, {**named, **aside}) is not None


def settle(tx: Tx, *, claimed: Claimed, spent: Spend, tried: int = 0) -> tuple[Batch, Claimed]:
    """Give back what a held portion has reserved, and book what was spent, however much it is.

    `tried`: so many attempts of it are kept. The batch and the portion as they are then.
    """
    booked = {
        "calls": claimed.reserved,
        "tokens_": claimed.reserved_tokens,
        "micros": claimed.reserved_cost,
        "spent_calls": spent.calls,
        "spent_tokens": spent.tokens,
        "spent_micros": spent.micros,
    }
    batch = tx.execute(_BOOKED, {"in_batch": claimed.batch_id, **booked}).mappings().one()
    cell = tx.execute(_SETTLED, {"cell_id": claimed.id, "tried": tried}).mappings().one()
    return Batch.model_validate(batch), Claimed.model_validate(cell)


_KEPT = batches.c
# Named apart from the columns, as SQLAlchemy takes a column's own name for a value of its own.
_CALLS, _TOKENS, _MICROS = (
    bindparam(name, type_=BigInteger) for name in ("calls", "tokens_", "micros")
)
_GRANTED = (
    update(batches)
    .where(
        _KEPT.id == bindparam("in_batch"),
        _KEPT.spent + _KEPT.reserved + _CALLS <= _KEPT.max_calls,
        or_(
            _KEPT.max_tokens.is_(None),
            _KEPT.tokens + _KEPT.reserved_tokens + _TOKENS <= _KEPT.max_tokens,
        ),
        or_(
            _KEPT.max_cost.is_(None),
            _KEPT.cost + _KEPT.reserved_cost + _MICROS <= _KEPT.max_cost,
        ),
    )
    .values(
        reserved=_KEPT.reserved + _CALLS,
        reserved_tokens=_KEPT.reserved_tokens + _TOKENS,
        reserved_cost=_KEPT.reserved_cost + _MICROS,
    )
    .returning(_KEPT.id)
    .cte("granted")
)
_SET_ASIDE = (
    update(batch_cells)
    .where(batch_cells.c.id == bindparam("cell_id"), batch_cells.c.batch_id == _GRANTED.c.id)
    .values(reserved=_CALLS, reserved_tokens=_TOKENS, reserved_cost=_MICROS)
    .returning(batch_cells.c.id)
)
_HAS_TRIED = bindparam("tried", type_=Integer) > 0
_SETTLED = (
    update(batch_cells)
    .where(batch_cells.c.id == bindparam("cell_id"))
    .values(
        reserved=0,
        reserved_tokens=0,
        reserved_cost=0,
        tries=batch_cells.c.tries + bindparam("tried", type_=Integer),
        outages=case((_HAS_TRIED, 0), else_=batch_cells.c.outages),
        reason=case((_HAS_TRIED, null()), else_=batch_cells.c.reason),
    )
    .returning(batch_cells)
)
# A cost that nobody knows, NULL, makes the sum NULL.
_BOOKED = (
    update(batches)
    .where(_KEPT.id == bindparam("in_batch"))
    .values(
        reserved=_KEPT.reserved - _CALLS,
        reserved_tokens=_KEPT.reserved_tokens - _TOKENS,
        reserved_cost=_KEPT.reserved_cost - _MICROS,
        spent=_KEPT.spent + bindparam("spent_calls", type_=BigInteger),
        tokens=_KEPT.tokens + bindparam("spent_tokens", type_=BigInteger),
        cost=_KEPT.cost + bindparam("spent_micros", type_=BigInteger),
    )
    .returning(batches)
)


def last_number(tx: Tx, *, cell_id: int) -> int:
    """The number of a portion's newest attempt, 0 before the first."""
    return tx.scalar(_LAST_NUMBER, {"cell_id": cell_id}) or 0


_LAST_NUMBER = select(func.max(batch_items.c.number)).where(
    batch_items.c.cell_id == bindparam("cell_id")
)


def copies(tx: Tx, *, claimed: Claimed) -> int:
    """How many attempts of a held portion's present strategy said what was there before."""
    item = batch_items.c
    last = (
        select(item.reason)
        .where(item.cell_id == claimed.id)
        .order_by(item.number.desc())
        .limit(claimed.tries)
        .subquery()
    )
    return tx.scalar(select(func.count()).select_from(last).where(last.c.reason == DUPLICATE)) or 0


def record(tx: Tx, *, claimed: Claimed, items: Sequence[Item], now: datetime) -> int:
    """Keep attempts of a held portion; how many made an example.

    An example is looked up by its capture: where there is none, the same content was there.
    """
    ids = [one.capture_id for one in items if one.capture_id]
    found: dict[UUID, int] = dict(map(tuple, tx.execute(_BY_CAPTURE, {"ids": ids})))
    rows = [_row(claimed, one, found, now) for one in items]
    tx.execute(_RECORDED, {"rows": records(rows)})
    return len(found)


_BY_CAPTURE = select(examples.c.capture_id, examples.c.id).where(
    any_of(examples.c.capture_id, "ids")
)
_COLUMNS = (*(name for name in Item._fields if name != "capture_id"),
            "cell_id", "strategy", "example_id", "at")  # fmt: skip
_RECORDED = insert(batch_items).from_select(_COLUMNS, select(recordset(batch_items, *_COLUMNS)))


def _row(claimed: Claimed, one: Item, found: dict[UUID, int], now: datetime) -> dict[str, Any]:
    row = one._asdict()
    capture_id = row.pop("capture_id")
    if capture_id and capture_id not in found:
        row |= {"reason": DUPLICATE, "detail": "the same content was there before"}
    return {
        **row,
        "cell_id": claimed.id,
        "strategy": claimed.strategy,
        "example_id": found.get(capture_id),
        "at": now,
    }


def put_off(
    tx: Tx,
    *,
    claimed: Claimed,
    state: CellState,
    due_at: datetime,
    outages: int,
    reason: str | None = None,
) -> None:
    """Let go of a held portion for now; `reason` is what it waits for, if for nobody's answer."""
    tx.execute(
        update(batch_cells)
        .where(batch_cells.c.id == claimed.id)
        .values(state=state.value, due_at=due_at, outages=outages, reason=reason)
    )


def fall_back(tx: Tx, *, claimed: Claimed, rung: int, fallback: Fallback) -> None:
    """Give another of a held portion's strategies its turn."""
    told = [one.model_dump() for one in (*claimed.fallbacks, fallback)]
    tx.execute(
        update(batch_cells)
        .where(batch_cells.c.id == claimed.id)
        .values(rung=rung, tries=0, outages=0, fallbacks=told, reason=None)
    )


def end(tx: Tx, *, claimed: Claimed, reason: str | None, last: Fallback | None = None) -> None:
    """A held portion is done, or with a reason has fallen short."""
    state = CellState.SHORT if reason else CellState.DONE
    told = [one.model_dump() for one in (*claimed.fallbacks, *([last] if last else []))]
    tx.execute(
        update(batch_cells)
        .where(batch_cells.c.id == claimed.id)
        .values(state=state.value, due_at=None, reason=reason, fallbacks=told)
    )


def is_more_due(tx: Tx, *, lease: timedelta, now: datetime) -> bool:
    """Whether a portion waits for a worker."""
    return tx.scalar(_DUE, moment(now, lease=lease)) is not None


_DUE = (
    select(batch_cells.c.id)
    .where(batch_cells.c.state == CellState.DUE.value, is_due_then(batch_cells.c.due_at))
    .limit(1)
)


def made_as(tx: Tx, *, example_id: int) -> MadeAs | None:
    """The attempt that an example is; None for one that no batch made."""
    item = batch_items.c
    row = tx.execute(
        select(item.number, item.strategy, item.evidence, item.calls, item.tokens)
        .add_columns(batch_cells.c.batch_id)
        .join_from(batch_items, batch_cells, batch_cells.c.id == item.cell_id)
        .where(item.example_id == example_id)
    ).first()
    if row is None:
        return None
    evidence = [Check.model_validate(one) for one in row.evidence]
    return MadeAs(row.batch_id, row.number, row.strategy, evidence, row.calls, row.tokens)


def proofs(tx: Tx, *, example_ids: Collection[int]) -> dict[int, tuple[Check, ...]]:
    """What was found out about these examples while they were made; not of edited ones."""
    item = batch_items.c
    edited = (
        select(example_revisions.c.number)
        .where(example_revisions.c.example_id == item.example_id)
        .exists()
    )
    rows = tx.execute(
        select(item.example_id, item.evidence).where(item.example_id.in_(example_ids), ~edited)
    )
    return {row[0]: tuple(Check.model_validate(one) for one in row[1]) for row in rows}
