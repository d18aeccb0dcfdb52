"""Decide when a domain is ready, freeze its dataset version and queue a run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from tdsys.core import dataset
from tdsys.core.budget import plan as budget
from tdsys.core.dataset import Split
from tdsys.core.policy import Policy, runs_alike
from tdsys.core.program import Plan
from tdsys.errors import Conflict, NotReady
from tdsys.stages import drafting
from tdsys.stages.drafting import Drafted, Known
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, datasets, examples, policies, programs, runs
from tdsys.store.datasets import DatasetVersion
from tdsys.store.policies import Versioned
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run

# A steady stream must not put planning off for ever, nor a candidate whose judge is away.
PATIENCE = timedelta(minutes=10)
AGAIN_AFTER = timedelta(hours=1)
DAY = timedelta(days=1)


class Considered(NamedTuple):
    """What planning found for one domain: a queued run, or the reasons against one."""

    domain: str
    run_id: UUID | None
    because: tuple[str, ...]


class DomainStatus(NamedTuple):
    """Where one domain stands: its newest run, its program, and what it waits for."""

    domain: str
    run: Run | None
    program: StoredProgram | None
    because: tuple[str, ...]


def plan_due(store: Store, *, model: str, clock: Clock) -> list[Considered]:
    """Consider every domain; each ready one gets a frozen version and a queued run."""
    with store.begin() as tx:
        names = policies.domains(tx)
    for domain in names:
        drafting.bury(store, domain=domain, clock=clock)
    return [_considered(store, domain, model=model, clock=clock) for domain in names]


def status(store: Store, *, domain: str | None, clock: Clock) -> list[DomainStatus]:
    """Every domain (or one) with its newest run, its active program and what it waits for."""
    with store.begin() as tx:
        names = policies.domains(tx)
    return [_status(store, name, clock()) for name in names if domain in {None, name}]


def retry(store: Store, *, domain: str, model: str, clock: Clock) -> Considered:
    """Queue another run on the newest version; NotReady when there is none or one is open."""
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
        latest = datasets.latest(tx, domain=domain)
        if latest is None:
            raise NotReady(f"{domain} has no dataset version yet", remedy="see optimize status")
        if over := _over_budget(tx, domain, policy, _cost(latest.counts, policy), clock()):
            raise NotReady(over, remedy="wait, or raise max_daily_calls")
        run_id = _enqueue(tx, latest, (version, policy), model=model, now=clock())
    if run_id is None:
        raise NotReady(f"{domain} has an open run", remedy="wait for it or cancel it")
    return Considered(domain, run_id, (f"version {latest.name}, policy {version}",))


def cancel(store: Store, *, domain: str) -> bool:
    """Ask for the end of the domain's open run; False when there is none."""
    with store.begin() as tx:
        last = runs.last_for(tx, domain=domain)
        return last is not None and runs.request_cancel(tx, run_id=last.id)


def _considered(store: Store, domain: str, *, model: str, clock: Clock) -> Considered:
    try:
        return _consider(store, domain, model=model, clock=clock)
    except Conflict as meanwhile:
        return Considered(domain, None, (meanwhile.message,))


def _consider(store: Store, domain: str, *, model: str, clock: Clock) -> Considered:
    with store.begin() as tx:
        if reasons := _not_yet(tx, domain, clock()):
            return Considered(domain, None, tuple(reasons))
    known = drafting.read(store, domain=domain)
    drafted = drafting.next_version(known)
    if missing := _shortcomings(drafted, known):
        return Considered(domain, None, tuple(missing))
    with store.begin() as tx:
        cost = _cost(drafted.draft.sizes, known.policy)
        if over := _over_budget(tx, domain, known.policy, cost, clock()):
            return Considered(domain, None, (over,))
        frozen = drafting.freeze(tx, known, drafted.draft, now=clock())
        run_id = _enqueue(
            tx, frozen, (known.policy_version, known.policy), model=model, now=clock()
        )
    because = f"version {frozen.name} with {frozen.size} examples"
    return Considered(domain, run_id, (because if run_id else "a run is open",))


def _not_yet(tx: Tx, domain: str, now: datetime) -> list[str]:
    """Cheap reasons to wait, before any example is read."""
    version, policy = policies.current(tx, domain=domain)
    if policy.optimization == "hold":
        return ["the policy holds optimization"]
    last = runs.last_for(tx, domain=domain)
    if last and last.is_open:
        return [f"a run is {last.state}"]
    latest = datasets.latest(tx, domain=domain)
    if reasons := _unsettled(tx, domain, policy, latest, now):
        return reasons
    if latest is None or last is None or _may_go_on(tx, last, version, now):
        return []
    # Versions come between runs, without what left or by hand: growth is what no run has seen.
    learned = datasets.version(tx, id=last.version_id)
    new = examples.admissions(tx, domain=domain, since=learned.frozen_at)
    if dataset.has_grown(new, learned.size, policy):
        return []
    return [f"{new} new examples, {policy.growth:.0%} of {learned.size} start the next run"]


def _may_go_on(tx: Tx, last: Run, policy_version: int, now: datetime) -> bool:
    """Whether a run may start though nothing has grown: one failed, or the policy is another."""
    if _may_try_again(last, now):
        return True
    before, after = (
        policies.document(tx, domain=last.domain, version=version)
        for version in (last.policy_version, policy_version)
    )
    return not runs_alike(before, after)


def _unsettled(
    tx: Tx, domain: str, policy: Policy, latest: DatasetVersion | None, now: datetime
) -> list[str]:
    arrived = examples.arrivals(tx, domain=domain)
    if arrived is None:
        return ["no examples"]
    if waiting := examples.pending(tx, domain=domain, since=now - PATIENCE):
        return [f"{waiting} candidates are not decided yet"]
    waited = now - max(arrived.first, latest.created_at if latest else arrived.first)
    if waited < PATIENCE and now - arrived.last < timedelta(seconds=policy.settle_seconds):
        return [f"examples arrived less than {policy.settle_seconds} s ago"]
    return []


def _may_try_again(last: Run, now: datetime) -> bool:
    """Whether the last run failed, and long enough ago."""
    return (
        last.state == "failed"
        and last.finished_at is not None
        and now - last.finished_at > AGAIN_AFTER
    )


def _shortcomings(drafted: Drafted, known: Known) -> list[str]:
    """Why there is no new run, after all was read."""
    missing = drafting.shortcomings(drafted, known)
    if missing:
        return missing
    cost = _cost(drafted.draft.sizes, known.policy)
    if cost.calls_at_most > known.policy.max_calls:
        return [
            f"a run may take {cost.calls_at_most} calls, the policy allows {known.policy.max_calls}"
        ]
    return []


def _enqueue(
    tx: Tx, version: DatasetVersion, rules: Versioned, *, model: str, now: datetime
) -> UUID | None:
    policy_version, policy = rules
    return runs.enqueue(
        tx,
        domain=version.domain,
        version_id=version.id,
        policy_version=policy_version,
        seed=policy.seed,
        auto=policy.auto,
        model=model,
        plan=_cost(version.counts, policy),
        now=now,
    )


def _over_budget(tx: Tx, domain: str, policy: Policy, cost: Plan, now: datetime) -> str | None:
    """Why a run has to wait for tomorrow; the domain is held, so no other adds one meanwhile."""
    if policy.max_daily_calls is None:
        return None
    policies.hold(tx, domain=domain)
    planned = runs.planned_calls(tx, domain=domain, since=now - DAY)
    if planned + cost.calls_at_most <= policy.max_daily_calls:
        return None
    return (
        f"a run may take {cost.calls_at_most} calls and those of the last 24 hours {planned}, "
        f"max_daily_calls is {policy.max_daily_calls}"
    )


def _cost(sizes: dict[str, int], policy: Policy) -> Plan:
    return budget(n_train=sizes[Split.TRAIN], n_val=sizes[Split.VAL], auto=policy.auto)


def _status(store: Store, domain: str, now: datetime) -> DomainStatus:
    """Read first, then compute: clustering must not hold a transaction open."""
    with store.begin() as tx:
        run, program = runs.last_for(tx, domain=domain), programs.incumbent(tx, domain=domain)
        because = _not_yet(tx, domain, now)
    if not (because or run):
        known = drafting.read(store, domain=domain)
        because = _shortcomings(drafting.next_version(known), known)
    return DomainStatus(domain, run, program, tuple(because))
