"""Attributions: prompts to try under a budget of calls, their scores, and what they came to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Update, bindparam, delete, func, select, true, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from tdsys.core.attribution import Contribution, Probe, Row
from tdsys.core.program import ItemScore
from tdsys.errors import Conflict, NotFound
from tdsys.store.effect_schema import AttributionState, ProbeState, probe_scores, probes
from tdsys.store.effect_schema import attributions as attributions_table
from tdsys.store.effect_schema import contributions as contributions_table
from tdsys.store.engine import Tx
from tdsys.store.leases import is_due
from tdsys.store.schema import dataset_members
from tdsys.store.values import among

OPEN, DUE = AttributionState.OPEN.value, ProbeState.DUE.value
# An answer that cannot be read is asked for once more, in DSPy's second format.
CALLS_AT_MOST = 2
_DONE = (
    update(probes)
    .where(probes.c.number == bindparam("key"))
    .values(state=ProbeState.DONE.value, due_at=None, reserved=0, calls=bindparam("paid"))
)


class Attribution(BaseModel):
    """One measurement of what the examples of a pool contribute; `error` is the median one."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    domain: str
    version_id: int
    state: AttributionState
    context: str
    model: str
    simulated: bool
    seed: int
    pool: list[str]
    budget: int
    reserved: int
    spent: int
    scores: int
    error: float | None
    reason: str | None
    stale: bool
    actor: str
    created_at: datetime
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether prompts of it are still to be tried."""
        return self.state is AttributionState.OPEN


class Opening(NamedTuple):
    """An attribution that is to be."""

    domain: str
    version_id: int
    context: str
    model: str
    simulated: bool
    seed: int
    pool: Sequence[str]
    budget: int
    actor: str


class Claimed(NamedTuple):
    """A probe in somebody's hands; `deaths`: claims that no end and no outage explains."""

    attribution_id: UUID
    number: int
    attempts: int
    deaths: int
    probe: Probe


class Asked(NamedTuple):
    """What a probe came to, and the calls it took."""

    claimed: Claimed
    scores: Sequence[ItemScore]
    calls: int


class Counted(NamedTuple):
    """How far an attribution is: probes by state, and scores with and without a value."""

    due: int
    done: int
    left: int
    scored: int
    unscored: int


def open_(tx: Tx, *, opening: Opening, tries: Sequence[Probe], now: datetime) -> UUID | None:
    """An attribution whose probes are due at once; None where the domain has an open one."""
    values = {**opening._asdict(), "pool": list(opening.pool), "state": OPEN, "created_at": now}
    kept = attributions_table.c
    new: UUID | None = tx.scalar(
        insert(attributions_table)
        .values(values)
        .on_conflict_do_nothing(index_elements=[kept.domain], index_where=kept.state == OPEN)
        .returning(kept.id)
    )
    if new is None:
        return None
    rows = [
        {"attribution_id": new, "number": number, "demos": list(one.demos),
         "items": list(one.items), "state": DUE, "due_at": now}
        for number, one in enumerate(tries, start=1)
    ]  # fmt: skip
    if rows:
        tx.execute(insert(probes), rows)
    return new


def find(tx: Tx, *, id: UUID, hold: bool = False) -> Attribution:  # noqa: A002
    """The attribution of that id, also kept from everybody else; NotFound when there is none."""
    query = select(attributions_table).where(attributions_table.c.id == id)
    row = tx.execute(query.with_for_update() if hold else query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no attribution {id}", remedy="list them first")
    return Attribution.model_validate(row)


def listed(tx: Tx, *, domain: str, limit: int) -> list[Attribution]:
    """A domain's attributions, the newest first."""
    kept = attributions_table.c
    rows = tx.execute(
        select(attributions_table)
        .where(kept.domain == domain)
        .order_by(kept.created_at.desc(), kept.id)
        .limit(limit)
    ).mappings()
    return [Attribution.model_validate(row) for row in rows]


def newest(tx: Tx, *, domains: Collection[str] | None) -> list[Attribution]:
    """The newest of each domain, of these or of all."""
    kept = attributions_table.c
    rows = tx.execute(
        select(attributions_table)
        .ext(distinct_on(kept.domain))
        .where(true() if domains is None else kept.domain.in_(sorted(domains)))
        .order_by(kept.domain, kept.created_at.desc(), kept.id)
    ).mappings()
    return [Attribution.model_validate(row) for row in rows]


def going(tx: Tx) -> list[Attribution]:
    """All open ones, the oldest first."""
    kept = attributions_table.c
    rows = tx.execute(
        select(attributions_table).where(kept.state == OPEN).order_by(kept.created_at, kept.id)
    ).mappings()
    return [Attribution.model_validate(row) for row in rows]


def counted(tx: Tx, *, id: UUID) -> Counted:  # noqa: A002
    """How far it is."""
    rows = tx.execute(
        select(probes.c.state, func.count())
        .where(probes.c.attribution_id == id)
        .group_by(probes.c.state)
    )
    by: dict[str, int] = dict(iter(rows))
    scored, all_ = tx.execute(
        select(func.count(probe_scores.c.value), func.count()).where(
            probe_scores.c.attribution_id == id
        )
    ).one()
    due, done, left = (by.get(state.value, 0) for state in ProbeState)
    return Counted(due, done, left, scored, all_ - scored)


def claim(
    tx: Tx,
    *,
    id: UUID,  # noqa: A002
    limit: int,
    lease: timedelta,
    now: datetime,
) -> list[Claimed]:
    """Take due probes for `lease`, as many as the budget can bear; also those of dead workers.

    For each the most calls that it can take are set aside before any is made.
    """
    whole = find(tx, id=id, hold=True)
    if not whole.is_open:
        return []
    due = tx.execute(
        select(probes)
        .where(probes.c.attribution_id == id, probes.c.state == DUE,
               is_due(probes.c.due_at, now=now, lease=lease))
        # What calls are set aside for comes first: it needs no more of the budget.
        .order_by(probes.c.reserved == 0, probes.c.due_at, probes.c.number)
        .limit(limit)
        .with_for_update()
    ).mappings()  # fmt: skip
    free, taken = whole.budget - whole.spent - whole.reserved, []
    for row in due:
        cost = CALLS_AT_MOST * len(row["items"])
        if free + row["reserved"] < cost:
            break
        free += row["reserved"] - cost
        taken.append(row)
    if taken:
        kept = probes.c
        tx.execute(
            update(probes)
            .where(kept.attribution_id == id, kept.number.in_([row["number"] for row in taken]))
            .values(due_at=now + lease, attempts=kept.attempts + 1,
                    reserved=CALLS_AT_MOST * func.jsonb_array_length(kept["items"]))
        )  # fmt: skip
    _reserve(tx, id, whole.budget - whole.spent - free)
    return [_claimed(row) for row in taken]


def prolong(tx: Tx, *, claimed: Sequence[Claimed], until: datetime) -> bool:
    """Keep the lease of probes that are still ours; True when none is any more."""
    kept = tx.execute(_ours(claimed).values(due_at=until).returning(probes.c.number))
    return not kept.all()


def record(tx: Tx, *, asked: Sequence[Asked]) -> int:
    """Write what probes came to and settle their calls; how many were still ours."""
    if not asked:
        return 0
    id_ = asked[0].claimed.attribution_id
    whole, kept = find(tx, id=id_, hold=True), probes.c
    held: dict[tuple[int, int], int] = {
        (row[0], row[1]): row[2]
        for row in tx.execute(
            select(kept.number, kept.attempts, kept.reserved).where(
                kept.attribution_id == id_, kept.state == DUE,
                kept.number.in_([one.claimed.number for one in asked]),
            )
        )
    }  # fmt: skip
    # Somebody else may have some by now, and writes the same answers.
    ours = [one for one in asked if (one.claimed.number, one.claimed.attempts) in held]
    if not ours:
        return 0
    paid = [
        {"key": one.claimed.number,
         "paid": min(one.calls, held[one.claimed.number, one.claimed.attempts])}
        for one in ours
    ]  # fmt: skip
    tx.execute(_DONE.where(kept.attribution_id == id_), paid)
    tx.execute(insert(probe_scores), [_scored(one.claimed, s) for one in ours for s in one.scores])
    reserved = sum(held[one.claimed.number, one.claimed.attempts] for one in ours)
    tx.execute(
        update(attributions_table)
        .where(attributions_table.c.id == id_)
        .values(reserved=whole.reserved - reserved,
                spent=whole.spent + sum(one["paid"] for one in paid))
    )  # fmt: skip
    return len(ours)


def release(tx: Tx, *, claimed: Sequence[Claimed], due_at: datetime, reason: str) -> None:
    """Give probes back, to be claimed from `due_at` on: the model was away, which is no death."""
    if claimed:
        tx.execute(_ours(claimed).values(due_at=due_at, outages=probes.c.outages + 1))
        tx.execute(
            update(attributions_table)
            .where(attributions_table.c.id == claimed[0].attribution_id)
            .values(reason=reason)
        )


def is_over(tx: Tx, *, whole: Attribution) -> bool:
    """Whether nothing of it can be tried any more: all is done, or the budget bears no probe."""
    still = probes.c
    row = tx.execute(
        select(func.min(func.jsonb_array_length(still["items"])), func.max(still.reserved)).where(
            still.attribution_id == whole.id, still.state == DUE
        )
    ).one()
    if row[0] is None:
        return True
    free = whole.budget - whole.spent - whole.reserved
    return bool(row[1] == 0 and free < CALLS_AT_MOST * row[0])


def close(
    tx: Tx,
    *,
    id: UUID,  # noqa: A002
    state: AttributionState,
    found: Sequence[Contribution],
    scores: int,
    error: float | None,
    reason: str,
    now: datetime,
) -> None:
    """End an open attribution with its contributions; Conflict where it had ended."""
    whole = find(tx, id=id, hold=True)
    if not whole.is_open:
        raise Conflict(f"attribution {id} has ended")
    tx.execute(
        update(probes)
        .where(probes.c.attribution_id == id, probes.c.state == DUE)
        .values(state=ProbeState.LEFT.value, due_at=None, reserved=0)
    )
    tx.execute(
        update(attributions_table)
        .where(attributions_table.c.id == id)
        .values(state=state.value, reason=reason, scores=scores, error=error, finished_at=now,
                # What was under way may have been paid for.
                spent=whole.spent + whole.reserved, reserved=0)
    )  # fmt: skip
    tx.execute(delete(contributions_table).where(contributions_table.c.attribution_id == id))
    if found:
        rows = [{"attribution_id": id, **one.model_dump(mode="json")} for one in found]
        tx.execute(insert(contributions_table), rows)


def contributions(tx: Tx, *, id: UUID) -> list[Contribution]:  # noqa: A002
    """What it found, from the most helpful to the most harmful; those without a value last."""
    kept = contributions_table.c
    rows = tx.execute(
        select(contributions_table)
        .where(kept.attribution_id == id)
        .order_by(kept.value.desc().nulls_last(), kept.example)
    ).mappings()
    return [Contribution.model_validate(dict(row)) for row in rows]


def evidence(tx: Tx, *, domain: str, context: str) -> list[Row]:
    """All scores of a domain that were taken in this context, of whatever dataset version."""
    whole, score = attributions_table.c, probe_scores.c
    rows = tx.execute(
        select(probes.c.demos, score.item, score.value, whole.version_id,
               probes.c.attribution_id, probes.c.number)
        .join_from(attributions_table, probes, probes.c.attribution_id == whole.id)
        .join(
            probe_scores,
            (probe_scores.c.attribution_id == probes.c.attribution_id)
            & (probe_scores.c.number == probes.c.number),
        )
        .where(whole.domain == domain, whole.context == context,
               probe_scores.c.value.is_not(None))
        .order_by(whole.created_at, whole.id, probes.c.number, score.item)
    )  # fmt: skip
    return [
        Row(tuple(row[0]), row[1], row[2], f"version {row[3]}", f"{row[4]}/{row[5]}")
        for row in rows
    ]


def follow_version(tx: Tx, *, domain: str, version_id: int) -> None:
    """After a freeze: attributions of other versions are stale, those of this one are not."""
    tx.execute(
        update(attributions_table)
        .where(attributions_table.c.domain == domain)
        .values(stale=attributions_table.c.version_id != version_id)
    )


def outdate(tx: Tx, *, example_ids: Sequence[int]) -> None:
    """After examples left the admitted set: what was measured on versions with them is stale."""
    held = select(dataset_members.c.version_id).where(
        among(dataset_members.c.example_id, example_ids)
    )
    tx.execute(
        update(attributions_table)
        .where(attributions_table.c.version_id.in_(held))
        .values(stale=True)
    )


def _ours(claimed: Sequence[Claimed]) -> Update:
    return update(probes).where(
        tuple_(probes.c.attribution_id, probes.c.number, probes.c.attempts).in_(
            [(one.attribution_id, one.number, one.attempts) for one in claimed]
        ),
        probes.c.state == DUE,
    )


def _reserve(tx: Tx, id_: UUID, reserved: int) -> None:
    tx.execute(
        update(attributions_table).where(attributions_table.c.id == id_).values(reserved=reserved)
    )


def _claimed(values: Mapping[Any, Any]) -> Claimed:
    return Claimed(
        values["attribution_id"],
        values["number"],
        values["attempts"] + 1,
        values["attempts"] - values["outages"],
        Probe(tuple(values["demos"]), tuple(values["items"])),
    )


def _scored(claimed: Claimed, score: ItemScore) -> dict[str, Any]:
    return {
        "attribution_id": claimed.attribution_id,
        "number": claimed.number,
        "item": score.uid,
        "value": score.value,
        "error": None if score.value is not None else score.error or "no answer",
    }
