"""Retire what a policy's lifecycle says: too old, too much alike, or more than may be kept.

A plan is made once and carried out in short transactions. Each holds the domain and looks again
at what is left, so neither two who prune nor a person who retires meanwhile breaks a floor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from tdsys.core import pruning
from tdsys.core.example import Cell, Source
from tdsys.core.policy import Policy
from tdsys.core.pruning import MEGABYTE, Amount, Held, Leaving, Limit, Room
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, datasets, policies, prunings, retirements

ACTOR = "lifecycle"
BATCH = 1000
# What one plan may hold in memory; the next goes on.
MOST = 100_000
Told = Callable[[int, int], None]


class Cut(NamedTuple):
    """How many of one cell go for one reason, and what the first of them is told."""

    topic: str
    difficulty: str
    admitted: int
    reason: str
    n: int
    size: int
    because: str


class Plan(NamedTuple):
    """Who leaves one domain, in order; `stays` says why more is kept than may be.

    `losses` are members of the dataset version in force that leave, by split.
    """

    domain: str
    policy_version: int
    policy: Policy
    limits: tuple[Limit, ...]
    admitted: Counter[Cell]
    leaving: list[Leaving]
    stays: tuple[str, ...]
    more: bool
    losses: dict[str, int]

    @property
    def cuts(self) -> list[Cut]:
        """The plan by cell and reason."""
        return cuts(self.leaving, self.admitted)


class Pruned(NamedTuple):
    """What one domain lost, by cell and reason."""

    domain: str
    policy_version: int
    cuts: list[Cut]
    stays: tuple[str, ...]
    more: bool


def _silent(_done: int, _all: int) -> None:
    """Nobody listens."""


def cuts(leaving: Sequence[Leaving], admitted: Counter[Cell]) -> list[Cut]:
    """Leaving examples by cell and reason, in that order."""
    groups: dict[tuple[Cell, str], list[Leaving]] = {}
    for one in leaving:
        groups.setdefault((one.cell, one.reason), []).append(one)
    return [
        Cut(*cell, admitted[cell], reason, len(those), sum(one.size for one in those),
            those[0].detail)
        for (cell, reason), those in sorted(groups.items(), key=lambda pair: pair[0])
    ]  # fmt: skip


def reasons(cuts: Sequence[Cut]) -> dict[str, int]:
    """How many go, by reason."""
    found: Counter[str] = Counter()
    for cut in cuts:
        found[cut.reason] += cut.n
    return dict(found)


def prune_due(store: Store, *, clock: Clock, total: Sequence[Limit] = ()) -> list[Pruned]:
    """Prune every domain whose policy, or the limit on all together, says so."""
    return [
        prune(store, domain=name, actor=ACTOR, clock=clock, total=total)
        for name in _domains(store, total)
    ]


def prune(
    store: Store,
    *,
    domain: str,
    actor: str,
    clock: Clock,
    total: Sequence[Limit] = (),
    tell: Told = _silent,
) -> Pruned:
    """Prune one domain as far as one plan goes; InvalidInput for an unknown one.

    `tell` hears how many are done, and of how many. Whoever begins later goes on instead.
    """
    with store.begin() as tx:
        policies.current(tx, domain=domain)
        token = prunings.begin(tx, domain=domain, actor=actor, now=clock())
    plan = foreseen(store, domain=domain, clock=clock, total=total)
    most = min((one.number for one in plan.limits if one.number is not None), default=None)
    gone: list[Leaving] = []
    for start in range(0, len(plan.leaving), BATCH):
        with store.begin() as tx:
            policies.hold(tx, domain=domain)
            if not prunings.is_ours(tx, domain=domain, token=token):
                break
            if policies.current(tx, domain=domain)[0] != plan.policy_version:
                break  # the plan was another policy's
            room = Room(retirements.admitted(tx, domain=domain), plan.policy)
            block = plan.leaving[start : start + BATCH]
            live = retirements.learned_from(tx, domain=domain, ids=[one.id for one in block])
            block = [one for one in block if one.id not in live]
            gone += retirements.retire(
                tx,
                leaving=pruning.still(block, room, most),
                actor=actor,
                policy_version=plan.policy_version,
                now=clock(),
            )
        tell(min(start + BATCH, len(plan.leaving)), len(plan.leaving))
    return Pruned(domain, plan.policy_version, cuts(gone, plan.admitted), plan.stays, plan.more)


def foreseen(store: Store, *, domain: str, clock: Clock, total: Sequence[Limit] = ()) -> Plan:
    """Who would leave now; nothing changes. InvalidInput for an unknown domain."""
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
        limits = (*_own(policy), *(_share(tx, domain, one) for one in total))
        admitted = retirements.admitted(tx, domain=domain)
        room = Room(admitted, policy)
        leaving = list(islice(_leaving(tx, domain, policy, limits, room, clock()), MOST))
        more = len(leaving) == MOST
        stays = () if more else _stays(tx, domain, limits, leaving, admitted)
        losses = _losses(tx, domain, leaving)
    return Plan(domain, version, policy, limits, admitted, leaving, stays, more, losses)


def _losses(tx: Tx, domain: str, leaving: Sequence[Leaving]) -> dict[str, int]:
    version = datasets.latest(tx, domain=domain) if leaving else None
    if version is None:
        return {}
    gone = {one.id for one in leaving}
    held = datasets.placed(tx, version_id=version.id).values()
    return dict(Counter(one.split for one in held if one.example_id in gone))


def _domains(store: Store, total: Sequence[Limit]) -> list[str]:
    with store.begin() as tx:
        known = policies.currents(tx)
    return [name for name, (_, policy) in known.items() if total or policy.lifecycle.retires]


def _own(policy: Policy) -> Iterator[Limit]:
    rules = policy.lifecycle
    if rules.max_admitted is not None:
        yield Limit("lifecycle.max_admitted", number=rules.max_admitted)
    if rules.max_megabytes is not None:
        size = round(rules.max_megabytes * MEGABYTE)
        yield Limit("lifecycle.max_megabytes", size=size)


def _share(tx: Tx, domain: str, limit: Limit) -> Limit:
    """What a limit on all domains leaves to one of them."""
    known = {name: policy for name, (_, policy) in policies.currents(tx).items()}
    held = retirements.amounts(tx, domains=known)
    return pruning.shares(held, known, limit)[domain]


def _leaving(
    tx: Tx, domain: str, policy: Policy, limits: Sequence[Limit], room: Room, now: datetime
) -> Iterator[Leaving]:
    """First what is too old, then what is too much alike, then what is too much."""
    gone: dict[int, int] = {}

    def noted(leaving: Iterator[Leaving]) -> Iterator[Leaving]:
        for one in leaving:
            gone[one.id] = one.size
            yield one

    yield from noted(_old(tx, domain, policy, room, now))
    if most := policy.lifecycle.max_alike:
        crowded = retirements.alike(tx, domain=domain, most=most, limit=MOST)
        without = ([one for one in held if one.id not in gone] for held in crowded)
        yield from noted(pruning.thinned(without, most, room))
    for limit in limits:
        held = _held(tx, domain, limit, room.total, gone)
        if limit.broken_by(held):
            about = min(held.number - (limit.number or 0), MOST)
            cells = retirements.by_cell(
                tx, domain=domain, cells=list(room.left), gone=gone, about=about
            )
            yield from noted(pruning.levelled(cells, room, held, limit))


def _held(tx: Tx, domain: str, limit: Limit, left: int, gone: dict[int, int]) -> Amount:
    """What is left; bytes are added up only where they are limited."""
    if limit.size is None:
        return Amount(left, 0)
    amounts = retirements.amounts(tx, domains=[domain])[domain].values()
    return Amount(left, sum(one.size for one in amounts) - sum(gone.values()))


def _old(tx: Tx, domain: str, policy: Policy, room: Room, now: datetime) -> Iterator[Leaving]:
    rules = policy.lifecycle
    days = {source: n for source in Source if (n := rules.days_of(source))}
    if not days:
        return
    before = {source: now - timedelta(days=n) for source, n in days.items()}
    held = retirements.outdated(tx, domain=domain, before=before, but=room.spared, limit=MOST)

    def because(one: Held) -> str:
        own = one.source in (rules.retire_sources or {})
        rule = f"retire_sources.{one.source}" if own else "retire_after_days"
        return f"stored {one.created_at:%Y-%m-%d}, lifecycle.{rule} is {days[one.source]}"

    yield from pruning.outdated(held, room, because)


def _stays(
    tx: Tx,
    domain: str,
    limits: Sequence[Limit],
    leaving: Sequence[Leaving],
    admitted: Counter[Cell],
) -> tuple[str, ...]:
    """Which limits are broken all the same."""
    gone = {one.id: one.size for one in leaving}
    left = admitted.total() - len(gone)
    return tuple(
        f"{limit}; {left} stay: minima, what the active program or a run learns from"
        for limit in limits
        if limit.broken_by(_held(tx, domain, limit, left, gone))
    )
