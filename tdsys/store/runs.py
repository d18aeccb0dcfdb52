"""Optimization runs: queued, claimed, followed, ended; at most one open per domain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import Select, func, or_, select, text, true, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.program import Auto, ItemScore, Plan, Trial
from tdsys.errors import Conflict
from tdsys.store.engine import Tx
from tdsys.store.leases import is_due
from tdsys.store.schema import IS_OPEN, RunState, trial_items
from tdsys.store.schema import runs as runs_table
from tdsys.store.schema import trials as trials_table
from tdsys.store.values import LONGEST, dump, storable


class Run(BaseModel):
    """One optimization; `attempts` counts its claims, `outages` those a model's absence ended."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    domain: str
    version_id: int
    state: RunState
    policy_version: int
    seed: int
    auto: Auto
    model: str
    plan: Plan
    due_at: datetime | None
    attempts: int
    outages: int
    cancel_requested: bool
    progress: dict[str, JsonValue]
    outcome: dict[str, JsonValue] | None
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (RunState.DUE, RunState.RUNNING)


# One statement and one round trip: each trial of each run is told this way, while it goes on.
# Surplus items go and the others are overwritten, for one statement cannot do both to a row.
_TOLD = """
    WITH told AS (
        UPDATE runs SET progress = CAST(:progress AS jsonb)
        WHERE id = :run_id AND attempts = :attempts AND {is_open} AND NOT cancel_requested
        RETURNING id
    ){more}
    SELECT id FROM told
"""
_TRIAL = """, kept AS (
        INSERT INTO trials (run_id, number, kind, score, instruction, seconds, calls, demos)
        SELECT id, :number, :kind, :score, :instruction, :seconds, :calls, CAST(:demos AS jsonb)
        FROM told
        ON CONFLICT (run_id, number) DO UPDATE SET
            kind = excluded.kind, score = excluded.score, instruction = excluded.instruction,
            seconds = excluded.seconds, calls = excluded.calls, demos = excluded.demos
    ), surplus AS (
        DELETE FROM trial_items
        WHERE run_id = (SELECT id FROM told) AND number = :number AND position >= :count
    ), items AS (
        INSERT INTO trial_items (run_id, number, position, uid, value, error)
        SELECT id, :number, place - 1, item ->> 0, CAST(item ->> 1 AS double precision), item ->> 2
        FROM told, jsonb_array_elements(CAST(:items AS jsonb)) WITH ORDINALITY AS given(item, place)
        ON CONFLICT (run_id, number, position) DO UPDATE SET
            uid = excluded.uid, value = excluded.value, error = excluded.error
    )"""
_PROGRESS_TOLD = text(_TOLD.format(is_open=IS_OPEN.text, more=""))
_TRIAL_TOLD = text(_TOLD.format(is_open=IS_OPEN.text, more=_TRIAL))


def enqueue(  # noqa: PLR0913  # a row
    tx: Tx,
    *,
    domain: str,
    version_id: int,
    policy_version: int,
    seed: int,
    auto: Auto,
    model: str,
    plan: Plan,
    now: datetime,
) -> UUID | None:
    """Queue a run, its id; None when the domain has an open one."""
    run_id: UUID | None = tx.scalar(
        insert(runs_table)
        .values(
            domain=domain,
            version_id=version_id,
            state=RunState.DUE.value,
            policy_version=policy_version,
            seed=seed,
            auto=auto,
            model=model,
            plan=plan.model_dump(mode="json"),
            due_at=now,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[runs_table.c.domain], index_where=IS_OPEN)
        .returning(runs_table.c.id)
    )
    return run_id


def planned_calls(tx: Tx, *, domain: str, since: datetime) -> int:
    """What the domain's runs queued after `since` may take together; without those never begun."""
    kept = runs_table.c
    plans = tx.scalars(
        select(kept.plan).where(
            kept.domain == domain,
            kept.created_at > since,
            or_(kept.started_at.is_not(None), IS_OPEN),
        )
    )
    return sum(Plan.model_validate(plan).calls_at_most for plan in plans)


def claim(tx: Tx, *, lease: timedelta, now: datetime) -> Run | None:
    """Take the run that is due longest, for `lease`; also one whose worker died."""
    due = (
        select(runs_table.c.id)
        .where(IS_OPEN, is_due(runs_table.c.due_at, now=now, lease=lease))
        .order_by(runs_table.c.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    row = (
        tx.execute(
            update(runs_table)
            .where(runs_table.c.id == due)
            .values(
                state=RunState.RUNNING.value,
                attempts=runs_table.c.attempts + 1,
                due_at=now + lease,
                started_at=func.coalesce(runs_table.c.started_at, now),
            )
            .returning(runs_table)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Run.model_validate(row)


def hold(tx: Tx, *, run: Run) -> bool:
    """Keep a claimed run for this transaction; True when a person asked for its end.

    Conflict when the claim is not the newest any more: whoever was slow must not write.
    """
    kept = runs_table.c
    asked: bool | None = tx.scalar(
        select(kept.cancel_requested)
        .where(kept.id == run.id, kept.attempts == run.attempts, IS_OPEN)
        .with_for_update()
    )
    if asked is None:
        raise Conflict(f"run {run.id} is in other hands or has ended")
    return asked


def extend(tx: Tx, *, run_id: UUID, until: datetime) -> bool:
    """Keep the lease; True when the work should stop: cancelled, or it ended elsewhere."""
    asked = tx.scalar(
        update(runs_table)
        .where(runs_table.c.id == run_id, IS_OPEN)
        .values(due_at=until)
        .returning(runs_table.c.cancel_requested)
    )
    return True if asked is None else asked


def tell(
    tx: Tx, *, run: Run, document: Mapping[str, JsonValue], trial: Trial | None = None
) -> bool:
    """Write where a claimed run is, and a trial of it; a replayed run writes its trials anew.

    False, and nothing written, when the run is in other hands, has ended or is to end.
    """
    given: dict[str, object] = {
        "run_id": run.id,
        "attempts": run.attempts,
        "progress": dump(document),
    }
    if trial is None:
        return tx.scalar(_PROGRESS_TOLD, given) is not None
    given |= {
        name: getattr(trial, name) for name in ("number", "kind", "score", "seconds", "calls")
    }
    given |= {
        "instruction": storable(trial.instruction[:LONGEST]),
        "demos": dump([demo.model_dump() for demo in trial.demos]),
        "items": dump([(i.uid, i.value, i.error and i.error[:LONGEST]) for i in trial.items]),
        "count": len(trial.items),
    }
    return tx.scalar(_TRIAL_TOLD, given) is not None


def replan(tx: Tx, *, run_id: UUID, plan: Plan) -> None:
    """Set what an open run will take, once its program was seen."""
    tx.execute(
        update(runs_table)
        .where(runs_table.c.id == run_id, IS_OPEN)
        .values(plan=plan.model_dump(mode="json"))
    )


def finish(
    tx: Tx,
    *,
    run_id: UUID,
    state: str,
    reason: str,
    outcome: Mapping[str, JsonValue] | None,
    now: datetime,
) -> bool:
    """End an open run as finished, failed or cancelled; False when it had ended before."""
    ended = tx.scalar(
        update(runs_table)
        .where(runs_table.c.id == run_id, IS_OPEN)
        .values(
            state=RunState(state).value,
            reason=reason,
            due_at=None,
            finished_at=now,
            outcome=None if outcome is None else dict(outcome),
        )
        .returning(runs_table.c.id)
    )
    return ended is not None


def release(tx: Tx, *, run_id: UUID, due_at: datetime, reason: str) -> None:
    """Give an open run back, to be claimed from `due_at` on."""
    tx.execute(
        update(runs_table)
        .where(runs_table.c.id == run_id, IS_OPEN)
        .values(
            state=RunState.DUE.value,
            due_at=due_at,
            reason=reason,
            outages=runs_table.c.outages + 1,
        )
    )


def request_cancel(tx: Tx, *, run_id: UUID) -> bool:
    """Ask for an open run to stop; False when it had ended. Whoever holds it hears `extend`."""
    asked = tx.scalar(
        update(runs_table)
        .where(runs_table.c.id == run_id, IS_OPEN)
        .values(cancel_requested=True)
        .returning(runs_table.c.id)
    )
    return asked is not None


def cancel_on(tx: Tx, *, version_ids: Collection[int]) -> int:
    """Ask all open runs on these versions to stop; how many."""
    return tx.execute(
        update(runs_table)
        .where(runs_table.c.version_id.in_(version_ids), IS_OPEN)
        .values(cancel_requested=True)
    ).rowcount


def runs(tx: Tx, *, domain: str | None, limit: int) -> list[Run]:
    """The newest runs, of one domain or of all."""
    return [Run.model_validate(row) for row in tx.execute(_newest(domain, limit)).mappings()]


def within(
    tx: Tx, *, domains: Collection[str] | None, limit: int, before: datetime | None = None
) -> list[Run]:
    """The newest runs of these domains (None: of all) that were queued before then."""
    kept = runs_table.c
    query = (
        _newest(None, limit)
        .where(true() if domains is None else kept.domain.in_(sorted(domains)))
        .where(true() if before is None else kept.created_at < before)
    )
    return [Run.model_validate(row) for row in tx.execute(query).mappings()]


def run(tx: Tx, *, run_id: UUID) -> Run | None:
    """The run of that id."""
    row = tx.execute(select(runs_table).where(runs_table.c.id == run_id)).mappings().one_or_none()
    return None if row is None else Run.model_validate(row)


def last_for(tx: Tx, *, domain: str) -> Run | None:
    """The domain's newest run."""
    row = tx.execute(_newest(domain, 1)).mappings().one_or_none()
    return None if row is None else Run.model_validate(row)


def trials(tx: Tx, *, run_id: UUID, after: int = 0) -> list[Trial]:
    """A run's trials by number, those `after` that one, each with its items in order."""
    items: dict[int, list[ItemScore]] = defaultdict(list)
    for row in tx.execute(
        select(trial_items)
        .where(trial_items.c.run_id == run_id, trial_items.c.number > after)
        .order_by(trial_items.c.number, trial_items.c.position)
    ).mappings():
        items[row["number"]].append(ItemScore.model_validate(row))
    rows = tx.execute(
        select(trials_table)
        .where(trials_table.c.run_id == run_id, trials_table.c.number > after)
        .order_by(trials_table.c.number)
    ).mappings()
    return [Trial.model_validate({**row, "items": items[row["number"]]}) for row in rows]


def _newest(domain: str | None, limit: int) -> Select[Any]:
    query = select(runs_table).order_by(runs_table.c.created_at.desc(), runs_table.c.id)
    return (query if domain is None else query.where(runs_table.c.domain == domain)).limit(limit)
