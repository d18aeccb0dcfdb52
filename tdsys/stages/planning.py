"""Decide when a domain is ready, freeze its dataset version and queue a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean
from typing import NamedTuple
from uuid import UUID

from tdsys.core import budget
from tdsys.core.budget import tokens_per_call
from tdsys.core.dataset import Split
from tdsys.core.policy import Policy
from tdsys.core.program import Plan
from tdsys.core.trigger import Drafted, Ruling, decide
from tdsys.core.versions import Draft
from tdsys.errors import Conflict, NotReady
from tdsys.stages import drafting, triggering
from tdsys.stages.drafting import Known
from tdsys.stages.leases import Clock
from tdsys.stages.triggering import Facts
from tdsys.store import Store, Tx, datasets, policies, programs, runs, triggers
from tdsys.store.datasets import DatasetVersion
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run


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


class _On(NamedTuple):
    """What a run would be on: a model, and US dollars for a million of its tokens."""

    model: str
    price: float | None


class _Weighed(NamedTuple):
    """A domain with the version a run would learn from, and what is to be said of that."""

    facts: Facts
    known: Known
    draft: Draft
    ruling: Ruling


def plan_due(
    store: Store, *, model: str, clock: Clock, price: float | None = None
) -> list[Considered]:
    """Consider every domain; each ready one gets a frozen version and a queued run.

    `price` is in US dollars for a million tokens of `model`, None where it is not known.
    """
    with store.begin() as tx:
        names = policies.domains(tx)
    for domain in names:
        drafting.bury(store, domain=domain, clock=clock)
    return [_consider(store, domain, _On(model, price), clock) for domain in names]


def weigh(
    store: Store, *, domain: str, model: str, clock: Clock, price: float | None = None
) -> Ruling:
    """Whether the domain would be optimized now, with every reason and what it would take."""
    with store.begin() as tx:
        found = triggering.facts(tx, domain=domain, model=model, now=clock())
    return _weigh(store, domain, found, price).ruling


def status(store: Store, *, domain: str | None, clock: Clock) -> list[DomainStatus]:
    """Every domain (or one) with its newest run, its active program and what it waits for."""
    with store.begin() as tx:
        names = policies.domains(tx)
        if domain is not None:
            policies.current(tx, domain=domain)
    return [_status(store, name, clock()) for name in names if domain in {None, name}]


def retry(
    store: Store, *, domain: str, model: str, clock: Clock, actor: str = "a person"
) -> Considered:
    """Queue another run on the newest version; NotReady when there is none or one is open."""
    with store.begin() as tx:
        policies.hold(tx, domain=domain)
        found = triggering.facts(tx, domain=domain, model=model, now=clock())
        latest = datasets.latest(tx, domain=domain)
        if latest is None:
            raise NotReady(
                f"{domain} has no dataset version yet", remedy="see `tdsys optimize status`"
            )
        if found.last and found.last.is_open:
            raise NotReady(f"{domain} has an open run", remedy="wait for it or cancel it")
        calls, most = _cost(latest.counts, found.policy).calls_at_most, found.policy.max_daily_calls
        if most is not None and calls + found.known.spent.calls > most:
            raise NotReady(
                f"a run may take {calls} calls and those of the last 24 hours "
                f"{found.known.spent.calls}, max_daily_calls is {most}",
                remedy="wait, or raise max_daily_calls",
            )
        because = (f"{actor} asked for it",)
        run_id = _enqueue(tx, latest, found, because, model=model)
    said = f"version {latest.name}, policy {found.policy_version}"
    return Considered(domain, run_id, (said,))


def cancel(store: Store, *, domain: str) -> bool:
    """Ask for the end of the domain's open run; False when there is none."""
    with store.begin() as tx:
        policies.current(tx, domain=domain)
        last = runs.last_for(tx, domain=domain)
        return last is not None and runs.request_cancel(tx, run_id=last.id)


def _consider(store: Store, domain: str, on: _On, clock: Clock) -> Considered:
    with store.begin() as tx:
        found = triggering.facts(tx, domain=domain, model=on.model, now=clock())
    cheap = decide(found.known)
    if not cheap.would_run:
        return Considered(domain, None, cheap.con)
    weighed = _weigh(store, domain, found, on.price)
    if not weighed.ruling.would_run:
        return Considered(domain, None, weighed.ruling.con)
    try:
        with store.begin() as tx:
            return _queue(tx, domain, weighed, on, clock())
    except Conflict as late:
        return Considered(domain, None, (late.message,))


def _queue(tx: Tx, domain: str, weighed: _Weighed, on: _On, now: datetime) -> Considered:
    """Freeze the version and queue a run on it, or neither."""
    found = weighed.facts
    # Held, so that no other run is added to what the day's may take.
    policies.hold(tx, domain=domain)
    if policies.current(tx, domain=domain)[0] != found.policy_version:
        raise Conflict("another policy was put in force meanwhile", remedy="it is looked at anew")
    per_call = found.known.spent.dollars_per_call
    spent = triggering.spent(tx, domain=domain, now=now, dollars_per_call=per_call)
    ruling = decide(found.known._replace(spent=spent))
    if not ruling.would_run:
        return Considered(domain, None, ruling.con)
    frozen = drafting.freeze(tx, weighed.known, weighed.draft, now=now)
    run_id = _enqueue(tx, frozen, found, ruling.pro, model=on.model)
    said = f"version {frozen.name} with {frozen.size} examples"
    return Considered(domain, run_id, (said, *ruling.pro))


def _weigh(store: Store, domain: str, found: Facts, price: float | None) -> _Weighed:
    """Read the examples and draft the version, which needs no transaction."""
    known = drafting.read(store, domain=domain)
    drafted = drafting.next_version(known)
    draft = drafted.draft
    former = found.learned_from.fingerprint if found.learned_from else None
    facts = found.known._replace(
        drafted=Drafted(
            lacks=tuple(drafting.shortcomings(drafted, known)),
            is_the_last=draft.fingerprint == former,
            size=len(draft.members),
            calls=_cost(draft.sizes, found.policy).calls_at_most,
        ),
        spent=found.known.spent._replace(dollars_per_call=_dollars_per_call(draft, price)),
    )
    return _Weighed(found._replace(known=facts), known, draft, decide(facts))


def _dollars_per_call(drafted: Draft, price: float | None) -> float | None:
    if price is None or not drafted.members:
        return None
    contents = (m.example.inputs | m.example.outputs for m in drafted.members)
    characters = fmean(sum(map(len, map(str, content.values()))) for content in contents)
    return tokens_per_call(characters) * price / 1e6


def _enqueue(
    tx: Tx, version: DatasetVersion, found: Facts, because: Sequence[str], *, model: str
) -> UUID:
    """Queue a run; Conflict when somebody who saw the same facts was first."""
    policy = found.policy
    run_id = runs.enqueue(
        tx,
        domain=version.domain,
        version_id=version.id,
        policy_version=found.policy_version,
        seed=policy.seed,
        auto=policy.auto,
        model=model,
        plan=_cost(version.counts, policy),
        now=found.known.now,
    )
    if run_id is None:
        raise Conflict("a run is open", remedy="see `tdsys optimize status`")
    triggers.explain(
        tx,
        run_id=run_id,
        domain=version.domain,
        follows=found.last.id if found.last else None,
        because=because,
        judge=found.known.judge,
    )
    return run_id


def _cost(sizes: dict[str, int], policy: Policy) -> Plan:
    return budget.planned(policy, sizes[Split.TRAIN], sizes[Split.VAL])


def _status(store: Store, domain: str, now: datetime) -> DomainStatus:
    """Read first, then compute: clustering must not hold a transaction open."""
    with store.begin() as tx:
        run, program = runs.last_for(tx, domain=domain), programs.incumbent(tx, domain=domain)
        found = triggering.facts(tx, domain=domain, model=None, now=now)
    because = decide(found.known).con
    if not (because or run):
        because = _weigh(store, domain, found, None).ruling.con
    return DomainStatus(domain, run, program, because)
