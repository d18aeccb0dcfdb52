"""Delete examples: what has not been used for long, and what must be forgotten wherever it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from tdsys.core import tombs
from tdsys.core.lifecycle import State
from tdsys.core.policy import Policy
from tdsys.core.tombs import Eviction, Mark
from tdsys.errors import Conflict, InvalidInput
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, burials, policies, runs, traces
from tdsys.store.burials import Unused
from tdsys.store.traces import Learned, Taught

ACTOR = "lifecycle"
BATCH = 500
# What one go deletes of a domain; the next goes on.
MOST = 100_000
Told = Callable[[int, int], None]


class Purged(NamedTuple):
    """How many of one domain are deleted, by the state they were in, and what they held."""

    domain: str
    policy_version: int
    states: dict[str, int]
    size: int
    more: bool


class Forgotten(NamedTuple):
    """What is gone, what had learned from it, and the ids that name nothing."""

    examples: tuple[int, ...]
    contents: int
    records: dict[str, int]
    versions: list[Learned]
    programs: list[Taught]
    unknown: tuple[str, ...]


class Quarantine(Protocol):
    """Messages that were put aside elsewhere."""

    def __call__(self, texts: Collection[str]) -> int:
        """Drop those that quote one of these; how many."""
        ...


def _silent(_done: int, _all: int) -> None:
    """Nobody listens."""


def purge_due(store: Store, *, clock: Clock) -> list[Purged]:
    """Delete in every domain whose policy says so."""
    with store.begin() as tx:
        known = policies.currents(tx)
    names = [name for name, (_, policy) in known.items() if policy.lifecycle.purge_after_days]
    return [purge(store, domain=name, actor=ACTOR, clock=clock) for name in names]


def purge(store: Store, *, domain: str, actor: str, clock: Clock, tell: Told = _silent) -> Purged:
    """Delete what a policy says nothing uses any more, batch by batch."""
    version, found = _unused(store, domain, clock())
    gone: list[Unused] = []
    for start in range(0, len(found), BATCH):
        part = found[start : start + BATCH]
        with store.begin() as tx:
            burials.purge(
                tx,
                ids=[one.id for one in part],
                actor=actor,
                reason=f"policy version {version}: lifecycle.purge_after_days",
                now=clock(),
            )
        gone += part
        tell(len(gone), len(found))
    return _purged(domain, version, gone)


def foreseen(store: Store, *, domain: str, clock: Clock) -> Purged:
    """What purging would delete now; nothing changes."""
    return _purged(domain, *_unused(store, domain, clock()))


def _unused(store: Store, domain: str, now: datetime) -> tuple[int, list[Unused]]:
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
        before = {state: now - timedelta(days=days) for state, days in _days(policy)}
        return version, burials.unused(tx, domain=domain, before=before, limit=MOST)


def _days(policy: Policy) -> Iterator[tuple[State, int]]:
    rules = policy.lifecycle.purge_after_days
    for state in burials.UNUSED if rules else ():
        if days := getattr(rules, state.value):
            yield state, days


def _purged(domain: str, version: int, gone: Sequence[Unused]) -> Purged:
    states = Counter(one.state for one in gone)
    size = sum(one.size for one in gone)
    return Purged(domain, version, dict(states), size, len(gone) == MOST)


def forget(
    store: Store,
    *,
    ids: Collection[int] = (),
    captures: Collection[UUID] = (),
    actor: str,
    reason: str,
    now: datetime,
    dry_run: bool = False,
    quarantine: Quarantine | None = None,
) -> Forgotten:
    """Delete examples everywhere, and let their content in never again.

    InvalidInput when nothing is named that was ever here; Conflict while an import is being read
    that holds it. `dry_run`: all of it is done and taken back.
    """
    with store.begin() as tx:
        point = tx.begin_nested()
        done, texts = _forget(tx, ids, captures, actor, reason, now)
        point.rollback() if dry_run else point.commit()
        if quarantine and not dry_run:  # before the commit: afterwards nobody knows the texts
            done.records["quarantine"] = quarantine(texts)
    return done


def _forget(
    tx: Tx,
    ids: Collection[int],
    captures: Collection[UUID],
    actor: str,
    reason: str,
    now: datetime,
) -> tuple[Forgotten, set[str]]:
    named = traces.contents(tx, ids=ids, captures=captures)
    unknown = tuple(str(one) for one in (*ids, *captures) if str(one) not in named)
    contents = {one for those in named.values() for one in those}
    if not contents:
        raise InvalidInput(
            f"nothing here was ever {', '.join(unknown[:5])}",
            remedy="name examples by their id, or captures by theirs",
        )
    contents = burials.together(tx, contents=contents)
    told = traces.payloads(tx, contents=contents)
    texts = {text for one in told for text in tombs.telling(one)}
    if open_ := traces.being_read(tx, texts=texts):
        raise Conflict(
            f"import {open_[0]} is being read, and its file holds it",
            remedy="wait until it has ended, then forget again",
        )
    versions = traces.versions(tx, contents=contents)
    runs.cancel_on(tx, version_ids=[one.version_id for one in versions])
    programs, trials = traces.erase_demos(tx, contents=contents, told=told, texts=texts, now=now)
    records = {**traces.erase_records(tx, texts=texts), "trials": trials}
    learned = {one.domain for one in versions}
    gone = burials.forget(
        tx, contents=contents, learned=learned, actor=actor, reason=reason, now=now
    )
    return Forgotten(tuple(gone), len(contents), records, versions, programs, unknown), texts


def evictions(store: Store, *, done: Sequence[Mark]) -> list[Eviction]:
    """What is to be evicted from a machine's cached answers that is done with these already."""
    with store.begin() as tx:
        return burials.evictions(tx, done=done)
