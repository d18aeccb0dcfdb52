"""Read what a ruling is made from: one domain as `tdsys.core.trigger` sees it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from tdsys.core import trigger
from tdsys.core.policy import Policy, runs_alike
from tdsys.core.trigger import Arrived, Known, LastRun, Spent
from tdsys.stages import drifting
from tdsys.store import Tx, datasets, examples, policies, programs, runs, triggers
from tdsys.store.datasets import DatasetVersion
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run

DAY = timedelta(days=1)


class Facts(NamedTuple):
    """What is known, and the rows it was read from; `learned_from` is the last run's version."""

    known: Known
    policy_version: int
    last: Run | None
    learned_from: DatasetVersion | None

    @property
    def policy(self) -> Policy:
        """The rules in force."""
        return self.known.policy


def facts(tx: Tx, *, domain: str, model: str | None, now: datetime) -> Facts:
    """All that is known of a domain before its examples are read."""
    version, policy = policies.current(tx, domain=domain)
    last = runs.last_for(tx, domain=domain)
    learned_from = datasets.version(tx, id=last.version_id) if last else None
    known = Known(
        now=now,
        policy=policy,
        arrived=_arrived(tx, domain),
        undecided=examples.pending(tx, domain=domain, since=now - trigger.PATIENCE),
        model=model,
        judge=triggers.judge(tx, domain=domain),
        spent=spent(tx, domain=domain, now=now),
    )
    if last and learned_from:
        known = known._replace(
            last=_last(tx, last, learned_from),
            new=examples.admissions(tx, domain=domain, since=learned_from.created_at),
            rules_changed=_is_other(tx, domain, last.policy_version, version),
            lost_demos=_lost_demos(tx, programs.incumbent(tx, domain=domain), last),
            drifts_since=triggers.firing_since(tx, key=drifting.key(domain)),
        )
    return Facts(known, version, last, learned_from)


def spent(tx: Tx, *, domain: str, now: datetime, dollars_per_call: float | None = None) -> Spent:
    """What runs of the last 24 hours may take."""
    return Spent(runs.planned_calls(tx, domain=domain, since=now - DAY), dollars_per_call)


def _arrived(tx: Tx, domain: str) -> Arrived | None:
    found = examples.arrivals(tx, domain=domain)
    return None if found is None else Arrived(found.first, found.last)


def _last(tx: Tx, run: Run, version: DatasetVersion) -> LastRun:
    cause = triggers.cause(tx, run_id=run.id)
    return LastRun(
        state=run.state.value,
        model=run.model,
        judge=cause.judge if cause else None,
        size=version.size,
        began_at=version.created_at,
        queued_at=run.created_at,
        finished_at=run.finished_at,
    )


def _is_other(tx: Tx, domain: str, then: int, now: int) -> bool:
    """Whether a run would come out otherwise by the policy in force."""
    before, after = (
        policies.document(tx, domain=domain, version=version) for version in (then, now)
    )
    return not runs_alike(before, after)


def _lost_demos(tx: Tx, program: StoredProgram | None, last: Run) -> int:
    """How many demos of the active program were lost since the last run began with its data."""
    if program is None:
        return 0
    # Of a forgotten one nothing is left to look up. A run that was queued later has answered it.
    forgotten = sum(one.demos for one in program.lost if one.at > last.created_at)
    fingerprints = program.learned_from
    return forgotten + triggers.lost(tx, fingerprints=fingerprints, version_id=last.version_id)
