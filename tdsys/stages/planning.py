"""Decide when a domain is ready, freeze its dataset version and queue a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from tdsys.core import budget, dataset
from tdsys.core.dataset import Admitted, Member, Split
from tdsys.core.policy import Policy, Signature, runs_alike
from tdsys.core.program import Plan
from tdsys.core.sketching import clusters as connected
from tdsys.errors import NotReady
from tdsys.stages import clustering
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, clusters, datasets, examples, policies, programs, runs
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


class Draft(NamedTuple):
    """A dataset version that is not frozen yet; `left_out` says why examples do not fit."""

    signature: Signature
    members: list[Member]
    fingerprint: str
    left_out: list[str]


class DomainStatus(NamedTuple):
    """Where one domain stands: its newest run, its program, and what it waits for."""

    domain: str
    run: Run | None
    program: StoredProgram | None
    because: tuple[str, ...]


class _Known(NamedTuple):
    """What planning reads before it thinks."""

    policy: Policy
    policy_version: int
    latest: DatasetVersion | None
    placed: list[Member]
    admitted: list[Admitted]
    clusters: dict[int, int]


def plan_due(store: Store, *, model: str, clock: Clock) -> list[Considered]:
    """Consider every domain; each ready one gets a frozen version and a queued run."""
    with store.begin() as tx:
        names = policies.domains(tx)
    return [_consider(store, domain, model=model, clock=clock) for domain in names]


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
    return Considered(domain, run_id, (f"version {latest.number}, policy {version}",))


def cancel(store: Store, *, domain: str) -> bool:
    """Ask for the end of the domain's open run; False when there is none."""
    with store.begin() as tx:
        last = runs.last_for(tx, domain=domain)
        return last is not None and runs.request_cancel(tx, run_id=last.id)


def draft(
    admitted: Sequence[Admitted],
    policy: Policy,
    clusters: Mapping[int, int],
    *,
    last: Signature | None = None,
    placed: Sequence[Member] = (),
) -> Draft:
    """Select and divide the admitted examples that fit the signature, near-duplicates together."""
    signature = dataset.signature_of(admitted, policy, last)
    misfits = {e.id: found for e in admitted if (found := dataset.unusable(e, signature))}
    usable = [e for e in admitted if e.id not in misfits]
    chosen = dataset.select(usable, policy, clusters=clusters)
    groups = _groups(chosen, clusters)
    splits = {m.example.fingerprint: m.split for m in placed}
    members = dataset.divide(chosen, groups, shares=policy.shares, placed=splits)
    reasons = [f"{found[0].message} — {found[0].remedy}" for found in misfits.values()]
    return Draft(signature, members, dataset.fingerprint(members, signature), reasons)


def _groups(chosen: Sequence[Admitted], clusters: Mapping[int, int]) -> list[int]:
    """What of each cluster hangs together by what was chosen of it.

    Only members of one cluster are compared. Of thousands of examples a cluster may be a long
    chain, and its ends, without what is between them, are no near-duplicates.
    """
    held: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(chosen):
        held[clusters[one.id]].append(place)
    groups = list(range(len(chosen)))
    for places in held.values():
        named = connected([clustering.problem_of(chosen[place].outputs) for place in places])
        for place, first in zip(places, named, strict=True):
            groups[place] = places[first]
    return groups


def _consider(store: Store, domain: str, *, model: str, clock: Clock) -> Considered:
    with store.begin() as tx:
        if reasons := _not_yet(tx, domain, clock()):
            return Considered(domain, None, tuple(reasons))
        known = _read(tx, domain)
    known = _clustered(store, domain, known)
    drafted = draft(
        known.admitted,
        known.policy,
        known.clusters,
        last=known.latest.signature if known.latest else None,
        placed=known.placed,
    )
    if missing := _shortcomings(drafted, known):
        return Considered(domain, None, tuple(missing))
    with store.begin() as tx:
        cost = _cost(_sizes(drafted.members), known.policy)
        if over := _over_budget(tx, domain, known.policy, cost, clock()):
            return Considered(domain, None, (over,))
        frozen = datasets.freeze(
            tx,
            domain=domain,
            fingerprint=drafted.fingerprint,
            signature=drafted.signature,
            policy_version=known.policy_version,
            members=drafted.members,
            now=clock(),
        )
        run_id = _enqueue(
            tx, frozen, (known.policy_version, known.policy), model=model, now=clock()
        )
    because = f"version {frozen.number} with {len(drafted.members)} examples"
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
    if latest is None or _may_go_on(tx, latest, last, version, now):
        return []
    new = examples.admissions(tx, domain=domain, since=latest.created_at)
    if dataset.has_grown(new, latest.size, policy):
        return []
    return [f"{new} new examples, {policy.growth:.0%} of {latest.size} start the next run"]


def _may_go_on(
    tx: Tx, latest: DatasetVersion, last: Run | None, policy_version: int, now: datetime
) -> bool:
    """Whether a run may start though nothing has grown: one failed, or the policy is another."""
    if _may_try_again(last, latest, now):
        return True
    before, after = (
        policies.document(tx, domain=latest.domain, version=version)
        for version in (_followed(latest, last), policy_version)
    )
    return not runs_alike(before, after)


def _followed(latest: DatasetVersion, last: Run | None) -> int:
    """The policy that the newest version, or a later run on it, followed."""
    on_it = last is not None and last.version_id == latest.id
    return max(latest.policy_version, last.policy_version if last and on_it else 0)


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


def _may_try_again(last: Run | None, latest: DatasetVersion, now: datetime) -> bool:
    """Whether the newest version's run failed, and long enough ago."""
    return (
        last is not None
        and last.version_id == latest.id
        and last.state == "failed"
        and last.finished_at is not None
        and now - last.finished_at > AGAIN_AFTER
    )


def _read(tx: Tx, domain: str) -> _Known:
    version, policy = policies.current(tx, domain=domain)
    latest = datasets.latest(tx, domain=domain)
    placed = datasets.members(tx, version_id=latest.id) if latest else []
    admitted = examples.admitted(tx, domain=domain)
    return _Known(policy, version, latest, placed, admitted, {})


def _clustered(store: Store, domain: str, known: _Known) -> _Known:
    """With the cluster of every admitted example; who came before there were any is placed now."""
    clustering.place(store, domain=domain, examples=known.admitted)
    with store.begin() as tx:
        found = clusters.clusters(tx, example_ids=[one.id for one in known.admitted])
    # An example that was purged meanwhile is in none.
    admitted = [one for one in known.admitted if one.id in found]
    return known._replace(admitted=admitted, clusters=found)


def _shortcomings(drafted: Draft, known: _Known) -> list[str]:
    """Why there is no new version, after all was read."""
    missing = dataset.shortcomings(drafted.members, known.policy)
    if known.latest is None and not missing:
        missing = dataset.lacking(Counter(m.example.cell for m in drafted.members), known.policy)
    usable = len(known.admitted) - len(drafted.left_out)
    if missing and len(drafted.members) < min(usable, known.policy.max_examples):
        capped = usable - len(drafted.members)
        missing.append(
            f"{capped} stay out by cells.max, cluster_cap or synthetic_share, or because they are "
            "suspicious and like something in train"
        )
    if missing and drafted.left_out:
        missing.append(f"{len(drafted.left_out)} do not fit, the first: {drafted.left_out[0]}")
    if missing:
        return missing
    cost = _cost(_sizes(drafted.members), known.policy)
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


def _sizes(members: Sequence[Member]) -> dict[str, int]:
    return {split.value: sum(m.split is split for m in members) for split in Split}


def _cost(sizes: dict[str, int], policy: Policy) -> Plan:
    return budget.planned(policy, sizes[Split.TRAIN], sizes[Split.VAL])


def _status(store: Store, domain: str, now: datetime) -> DomainStatus:
    """Read first, then compute: clustering must not hold a transaction open."""
    with store.begin() as tx:
        run, program = runs.last_for(tx, domain=domain), programs.incumbent(tx, domain=domain)
        because = _not_yet(tx, domain, now)
        known = None if because or run else _read(tx, domain)
    if known:
        known = _clustered(store, domain, known)
        because = _shortcomings(draft(known.admitted, known.policy, known.clusters), known)
    return DomainStatus(domain, run, program, tuple(because))
