"""The work on a batch: who has which portion, what its attempts came to, what they may cost.

One rule: the batch's row is locked before a portion's, always, so two workers never wait for each
other; and only whoever made the newest claim writes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    cast,
    func,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.batch import MOST_OUTAGES, CellState, Fallback, Parent
from tdsys.core.example import Cell
from tdsys.core.rubric import Check
from tdsys.core.spending import Spend
from tdsys.errors import Conflict
from tdsys.store.batch_schema import IS_UNDER_WAY, batch_cells, batch_items, batches
from tdsys.store.batches import Batch
from tdsys.store.engine import Tx
from tdsys.store.leases import is_due
from tdsys.store.review_schema import example_revisions
from tdsys.store.schema import ADMITTED, CANDIDATE, example_bodies, examples

MOST_PARENTS = 40
FEWEST_PARENTS = 5
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
    on.
    """
    cell = batch_cells.c
    undecided = (
        _undecided().where(batch_items.c.cell_id == cell.id, ~_IS_UNHEARD).correlate(batch_cells)
    ).exists()
    due = (
        select(cell.id)
        .where(
            IS_UNDER_WAY,
            is_due(cell.due_at, now=now, lease=lease),
            or_(cell.state == CellState.DUE.value, ~undecided),
        )
        .order_by(cell.due_at, cell.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = tx.execute(
        update(batch_cells)
        .where(cell.id == due.c.id)
        .values(state=CellState.DUE.value, attempts=cell.attempts + 1, due_at=now + lease)
        .returning(batch_cells)
    ).mappings()
    return [Claimed.model_validate(row) for row in rows]


# Asked about so often, over minutes, and never answered.
_IS_UNHEARD = examples.c.attempts >= MOST_OUTAGES


def _undecided() -> Select[Any]:
    return (
        select(batch_items.c.number)
        .join(examples, examples.c.id == batch_items.c.example_id)
        .where(examples.c.state == CANDIDATE)
    )


def is_unheard(tx: Tx, *, cell_id: int) -> bool:
    """Whether the judge gives no answer on what a portion has made and is not decided."""
    mine = _undecided().where(batch_items.c.cell_id == cell_id)
    heard, unheard = (tx.scalar(mine.where(one).limit(1)) for one in (~_IS_UNHEARD, _IS_UNHEARD))
    return heard is None and unheard is not None


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
    """Keep a claimed portion and its batch for this transaction, as they are now.

    Conflict when the claim is not the newest any more: whoever was slow must not write.
    """
    batch = (
        tx.execute(select(batches).where(batches.c.id == claimed.batch_id).with_for_update())
        .mappings()
        .one()
    )
    row = (
        tx.execute(select(batch_cells).where(_ours(claimed)).with_for_update())
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict(f"portion {claimed.id} of a batch is in other hands or has ended")
    return Batch.model_validate(batch), Claimed.model_validate(row)


def prolong(tx: Tx, *, claimed: Claimed, until: datetime) -> bool:
    """Keep the lease of a portion that is still ours; True when it is not."""
    kept = tx.scalar(
        update(batch_cells).where(_ours(claimed)).values(due_at=until).returning(batch_cells.c.id)
    )
    return kept is None


def _ours(claimed: Claimed) -> ColumnElement[bool]:
    cell = batch_cells.c
    return (
        (cell.id == claimed.id)
        & (cell.attempts == claimed.attempts)
        & (cell.state == CellState.DUE.value)
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
    kept = batches.c
    tokens, micros = spend.tokens, spend.micros or 0
    granted = tx.scalar(
        update(batches)
        .where(
            kept.id == claimed.batch_id,
            kept.spent + kept.reserved + spend.calls <= kept.max_calls,
            or_(
                kept.max_tokens.is_(None),
                kept.tokens + kept.reserved_tokens + tokens <= kept.max_tokens,
            ),
            or_(kept.max_cost.is_(None), kept.cost + kept.reserved_cost + micros <= kept.max_cost),
        )
        .values(
            reserved=kept.reserved + spend.calls,
            reserved_tokens=kept.reserved_tokens + tokens,
            reserved_cost=kept.reserved_cost + micros,
        )
        .returning(kept.id)
    )
    if granted is None:
        return False
    tx.execute(
        update(batch_cells)
        .where(batch_cells.c.id == claimed.id)
        .values(reserved=spend.calls, reserved_tokens=tokens, reserved_cost=micros)
    )
    return True


def settle(tx: Tx, *, claimed: Claimed, spent: Spend) -> None:
    """Give back what a held portion has reserved, and book what was spent, however much it is."""
    kept, unknown = batches.c, cast(null(), BigInteger)
    if not claimed.reserved and spent == Spend():
        return
    tx.execute(
        update(batches)
        .where(kept.id == claimed.batch_id)
        .values(
            reserved=kept.reserved - claimed.reserved,
            reserved_tokens=kept.reserved_tokens - claimed.reserved_tokens,
            reserved_cost=kept.reserved_cost - claimed.reserved_cost,
            spent=kept.spent + spent.calls,
            tokens=kept.tokens + spent.tokens,
            cost=kept.cost + (unknown if spent.micros is None else spent.micros),
        )
    )
    tx.execute(
        update(batch_cells)
        .where(batch_cells.c.id == claimed.id)
        .values(reserved=0, reserved_tokens=0, reserved_cost=0)
    )


def last_number(tx: Tx, *, cell_id: int) -> int:
    """The number of a portion's newest attempt, 0 before the first."""
    return (
        tx.scalar(select(func.max(batch_items.c.number)).where(batch_items.c.cell_id == cell_id))
        or 0
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
    found: dict[UUID, int] = {
        row.capture_id: row.id
        for row in tx.execute(
            select(examples.c.capture_id, examples.c.id).where(examples.c.capture_id.in_(ids))
        )
    }
    rows = [_row(claimed, one, found, now) for one in items]
    tx.execute(insert(batch_items), rows)
    tx.execute(
        update(batch_cells)
        .where(batch_cells.c.id == claimed.id)
        .values(tries=batch_cells.c.tries + len(rows), outages=0, reason=None)
    )
    return len(found)


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
    cell = batch_cells.c
    found = tx.scalar(
        select(cell.id)
        .where(cell.state == CellState.DUE.value, is_due(cell.due_at, now=now, lease=lease))
        .limit(1)
    )
    return found is not None


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


_DRIFTS = select(batch_items.c.number).where(batch_items.c.example_id == examples.c.id).exists()


def parents(
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
