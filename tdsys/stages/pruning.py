"""Retire what a policy's lifecycle says: too old, or more than may be kept.

A batch is one transaction that holds the domain, so two who prune never break a floor together.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

from tdsys.core import pruning
from tdsys.core.policy import Policy
from tdsys.core.pruning import OVER_CAP, TOO_OLD, Held
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, policies, retirements, runs
from tdsys.store.retirements import Why

ACTOR = "lifecycle"
BATCH = 500
BATCHES_PER_BELL = 20


class Pruned(NamedTuple):
    """What one domain lost, or would lose, by reason; `waits_for` says why nothing yet."""

    domain: str
    policy_version: int
    reasons: dict[str, int]
    waits_for: str | None
    more: bool


def prune_due(store: Store, *, clock: Clock) -> list[Pruned]:
    """Prune every domain whose policy says so, some batches of each."""
    with store.begin() as tx:
        names = [name for name, (_, policy) in policies.currents(tx).items() if _prunes(policy)]
    return [
        prune(store, domain=name, actor=ACTOR, clock=clock, batches=BATCHES_PER_BELL)
        for name in names
    ]


def prune(
    store: Store, *, domain: str, actor: str, clock: Clock, batches: int | None = None
) -> Pruned:
    """Prune one domain in batches, until nothing is left to do; InvalidInput for an unknown one."""
    reasons: Counter[str] = Counter()
    done = 0
    while True:
        with store.begin() as tx:
            policies.hold(tx, domain=domain)
            version, policy = policies.current(tx, domain=domain)
            waits_for = _waits_for(tx, domain, policy)
            chosen = {} if waits_for else _chosen(tx, domain, policy, clock(), BATCH)
            retired = retirements.retire(
                tx, reasons=chosen, actor=actor, policy_version=version, now=clock()
            )
        reasons.update(chosen[one].reason for one in retired)
        done += 1
        if not chosen or done == batches:
            return Pruned(domain, version, dict(reasons), waits_for, bool(chosen))


def foreseen(store: Store, *, domain: str, clock: Clock) -> Pruned:
    """What pruning would come to now; nothing changes."""
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
        chosen = _chosen(tx, domain, policy, clock(), None)
        waits_for = _waits_for(tx, domain, policy)
    reasons = Counter(why.reason for why in chosen.values())
    return Pruned(domain, version, dict(reasons), waits_for, more=bool(chosen))


def _prunes(policy: Policy) -> bool:
    rules = policy.lifecycle
    return not (rules.retire_after_days is None and rules.max_admitted is None)


def _waits_for(tx: Tx, domain: str, policy: Policy) -> str | None:
    last = runs.last_for(tx, domain=domain) if _prunes(policy) else None
    if last and last.is_open:
        return "a run is open; what it learns from stays until it has ended"
    return None


def _chosen(
    tx: Tx, domain: str, policy: Policy, now: datetime, limit: int | None
) -> dict[int, Why]:
    """Who goes, at most `limit`: first what is too old, then what is too much."""
    if not _prunes(policy):
        return {}
    rules, counts = policy.lifecycle, retirements.admitted(tx, domain=domain)
    days, cap, reasons = rules.retire_after_days, rules.max_admitted, dict[int, Why]()
    before = None if days is None else now - timedelta(days=days)
    if before:
        but = pruning.spared(counts, policy)
        held = retirements.oldest(tx, domain=domain, before=before, but=but, limit=limit)
        old = pruning.choose(held, counts, policy)
        counts.subtract(one.cell for one in old)
        reasons |= {one.id: _old(one, days) for one in old}
    total = counts.total()
    rest = None if limit is None else limit - len(reasons)
    if cap is not None and total > cap and rest != 0:
        but = pruning.spared(counts, policy)
        # What is older was looked at above: it goes, or its cell keeps it.
        held = retirements.worst(tx, domain=domain, since=before, but=but, limit=rest)
        chosen = pruning.choose(held, counts, policy, most=total - cap)
        reasons |= {one.id: _surplus(one, total, cap) for one in chosen}
    return reasons


def _old(one: Held, days: int | None) -> Why:
    return Why(TOO_OLD, f"stored {one.created_at:%Y-%m-%d}, lifecycle.retire_after_days is {days}")


def _surplus(one: Held, total: int, cap: int) -> Why:
    return Why(
        OVER_CAP,
        f"quality {one.quality:.2f}, of the lowest among {total} admitted, "
        f"lifecycle.max_admitted is {cap}",
    )
