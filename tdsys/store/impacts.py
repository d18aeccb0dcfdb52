"""Measurements of what a recommendation changed: pairs of runs, each claimed like any task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, field_validator
from sqlalchemy import ColumnElement, Update, select, true, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.impact import Finding
from tdsys.core.program import ItemScore
from tdsys.errors import Conflict
from tdsys.store.effect_schema import ARE_OPEN, Arm, AttributionState, ProbeState, impact_runs
from tdsys.store.effect_schema import impacts as impacts_table
from tdsys.store.effect_schema import recommendations as recommendations_table
from tdsys.store.engine import Tx
from tdsys.store.leases import is_due

OPEN, DUE = AttributionState.OPEN.value, ProbeState.DUE.value
SCORES = TypeAdapter(list[ItemScore])


class Measurement(BaseModel):
    """One measurement of a recommendation's impact."""

    model_config = ConfigDict(frozen=True)

    id: int
    recommendation_id: int
    state: AttributionState
    model: str
    planned_calls: int
    outcome: dict[str, JsonValue] | None
    reason: str | None
    created_at: datetime
    finished_at: datetime | None

    @field_validator("outcome", mode="before")
    @classmethod
    def _renamed(cls, value: object) -> object:
        """Outcomes that were written under a name that only Python needs read like all others."""
        if isinstance(value, dict) and "with_" in value:
            return {"with" if name == "with_" else name: one for name, one in value.items()}
        return value

    @property
    def is_worse(self) -> bool:
        """Whether following it was measured to do harm."""
        return self.outcome is not None and self.outcome.get("finding") == Finding.WORSE

    @property
    def told(self) -> str:
        """What came of it and when, in one sentence."""
        if self.finished_at is None:
            return "being measured"
        simulated = self.outcome is not None and self.outcome.get("simulated") is True
        mark = "simulated, " if simulated else ""
        return f"{self.reason or self.state} ({mark}{self.finished_at:%Y-%m-%d %H:%M} UTC)"


class Known(NamedTuple):
    """What was measured of a recommendation on one model: the newest, and the newest verdict.

    An open one is the newest whatever model it is on, for nobody else can measure meanwhile.
    """

    newest: Measurement
    verdict: Measurement | None

    @property
    def shown(self) -> Measurement:
        """What there is to tell: a verdict, or else why there is none yet."""
        return self.verdict or self.newest

    @property
    def is_open(self) -> bool:
        """Whether it is being measured."""
        return self.newest.state is AttributionState.OPEN


class Run(BaseModel):
    """One of its runs; `scores` are those of the test split, once it is done."""

    model_config = ConfigDict(frozen=True)

    impact_id: int
    seed: int
    arm: Arm
    state: ProbeState
    attempts: int
    outages: int
    calls: int
    scores: list[ItemScore] | None


class Claimed(NamedTuple):
    """A run in somebody's hands, the recommendation it is about and the model it is for."""

    run: Run
    recommendation_id: int
    model: str


def open_(
    tx: Tx,
    *,
    recommendation_id: int,
    seeds: Sequence[int],
    model: str,
    planned_calls: int,
    now: datetime,
) -> int | None:
    """A measurement whose runs are due at once; None where one is open."""
    kept = impacts_table.c
    new: int | None = tx.scalar(
        insert(impacts_table)
        .values(recommendation_id=recommendation_id, state=OPEN, model=model,
                planned_calls=planned_calls, created_at=now)
        .on_conflict_do_nothing(index_elements=[kept.recommendation_id], index_where=ARE_OPEN)
        .returning(kept.id)
    )  # fmt: skip
    if new is not None:
        rows = [
            {"impact_id": new, "seed": seed, "arm": arm.value, "state": DUE, "due_at": now}
            for seed in seeds
            for arm in Arm
        ]
        tx.execute(insert(impact_runs), rows)
    return new


def claim(tx: Tx, *, lease: timedelta, now: datetime, only: int | None = None) -> Claimed | None:
    """Take the run that is due longest, of `only` this recommendation; also a dead worker's."""
    kept = impact_runs.c
    ours = true() if only is None else impacts_table.c.recommendation_id == only
    row = tx.execute(
        select(kept.impact_id, kept.seed, kept.arm, impacts_table.c.recommendation_id,
               impacts_table.c.model)
        .join(impacts_table, impacts_table.c.id == kept.impact_id)
        .where(kept.state == DUE, impacts_table.c.state == OPEN, ours,
               is_due(kept.due_at, now=now, lease=lease))
        .order_by(kept.due_at, kept.impact_id, kept.seed, kept.arm)
        .limit(1)
        .with_for_update(of=impact_runs, skip_locked=True)
    ).one_or_none()  # fmt: skip
    if row is None:
        return None
    taken = (
        tx.execute(
            _one(row.impact_id, row.seed, row.arm)
            .values(attempts=kept.attempts + 1, due_at=now + lease)
            .returning(impact_runs)
        )
        .mappings()
        .one()
    )
    return Claimed(_run(dict(taken)), row.recommendation_id, row.model)


def complete(tx: Tx) -> list[Measurement]:
    """The open ones without a run that is due: all that is left to do is to compare."""
    due = (
        select(impact_runs.c.seed)
        .where(impact_runs.c.impact_id == impacts_table.c.id, impact_runs.c.state == DUE)
        .exists()
    )
    rows = tx.execute(
        select(impacts_table)
        .where(impacts_table.c.state == OPEN, ~due)
        .order_by(impacts_table.c.id)
    ).mappings()
    return [Measurement.model_validate(dict(row)) for row in rows]


def is_lost(tx: Tx, *, run: Run) -> bool:
    """Whether a run is in other hands by now, or its measurement is over."""
    kept = impact_runs.c
    ours = select(kept.seed).where(
        kept.impact_id == run.impact_id, kept.seed == run.seed, kept.arm == run.arm.value,
        kept.attempts == run.attempts, kept.state == DUE,
    )  # fmt: skip
    return tx.scalar(ours) is None


def extend(tx: Tx, *, run: Run, until: datetime) -> bool:
    """Keep the lease; True when the run is not ours any more."""
    return tx.scalar(_ours(run).values(due_at=until).returning(impact_runs.c.seed)) is None


def record(tx: Tx, *, run: Run, scores: Sequence[ItemScore], calls: int) -> bool:
    """Write what a run came to; False where it was not ours any more."""
    told = SCORES.dump_python(list(scores), mode="json")
    done = _ours(run).values(state=ProbeState.DONE.value, due_at=None, scores=told, calls=calls)
    return tx.scalar(done.returning(impact_runs.c.seed)) is not None


def release(tx: Tx, *, run: Run, due_at: datetime) -> None:
    """Give a run back: the model was away."""
    tx.execute(_ours(run).values(due_at=due_at, outages=impact_runs.c.outages + 1))


def runs(tx: Tx, *, impact_id: int) -> list[Run]:
    """All runs of a measurement by seed."""
    kept = impact_runs.c
    rows = tx.execute(
        select(impact_runs).where(kept.impact_id == impact_id).order_by(kept.seed, kept.arm)
    ).mappings()
    return [_run(dict(row)) for row in rows]


def close(
    tx: Tx,
    *,
    impact_id: int,
    state: AttributionState,
    outcome: dict[str, JsonValue] | None,
    reason: str,
    now: datetime,
) -> None:
    """End an open measurement; Conflict where it had ended."""
    kept = impacts_table.c
    ended = tx.scalar(
        update(impacts_table)
        .where(kept.id == impact_id, kept.state == OPEN)
        .values(state=state.value, outcome=outcome, reason=reason, finished_at=now)
        .returning(kept.id)
    )
    if ended is None:
        raise Conflict(f"measurement {impact_id} has ended")
    tx.execute(
        update(impact_runs)
        .where(impact_runs.c.impact_id == impact_id, impact_runs.c.state == DUE)
        .values(state=ProbeState.LEFT.value, due_at=None)
    )


def of(tx: Tx, *, recommendation_id: int, model: str | None) -> Known | None:
    """What was measured of a recommendation, or of the same one made before on the same data.

    None: only whether it is being measured, on whatever model.
    """
    which = recommendations_table.c.id == recommendation_id
    return _known(tx, which, model).get(recommendation_id)


def of_domain(tx: Tx, *, domain: str, model: str) -> dict[int, Known]:
    """The same of all that were measured, by recommendation."""
    return _known(tx, recommendations_table.c.domain == domain, model)


def _known(tx: Tx, which: ColumnElement[bool], model: str | None) -> dict[int, Known]:
    asked, same = recommendations_table, recommendations_table.alias("same")
    rows = tx.execute(
        select(asked.c.id.label("asked"), impacts_table)
        .join_from(
            asked, same,
            (same.c.domain == asked.c.domain) & (same.c.key == asked.c.key)
            & (same.c.version_id == asked.c.version_id),
        )
        .join(impacts_table, impacts_table.c.recommendation_id == same.c.id)
        .where(which, (impacts_table.c.model == model) | (impacts_table.c.state == OPEN))
        .order_by(impacts_table.c.id)
    ).mappings()  # fmt: skip
    found: dict[int, Known] = {}
    for row in rows:
        one, id_ = Measurement.model_validate(dict(row)), row["asked"]
        verdict = found[id_].verdict if id_ in found else None
        is_one = one.state is AttributionState.FINISHED
        found[id_] = Known(one, one if is_one else verdict)
    return found


def _one(impact_id: int, seed: int, arm: str) -> Update:
    kept = impact_runs.c
    return update(impact_runs).where(
        kept.impact_id == impact_id, kept.seed == seed, kept.arm == arm
    )


def _ours(run: Run) -> Update:
    kept = impact_runs.c
    return _one(run.impact_id, run.seed, run.arm.value).where(
        kept.attempts == run.attempts, kept.state == DUE
    )


def _run(row: dict[str, object]) -> Run:
    return Run.model_validate(row)
