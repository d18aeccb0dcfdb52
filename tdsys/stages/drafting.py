"""What the next dataset version of a domain would be, and freezing it.

Reads first, then thinks, then writes: looking for near-duplicates must not hold a transaction open.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeAlias

from tdsys.core import dataset, versions
from tdsys.core.dataset import Admitted, Split
from tdsys.core.fitting import Misfit, fitted, misfits, renamed
from tdsys.core.policy import Policy, Shares, Signature
from tdsys.core.sketching import Forest, problem_of
from tdsys.core.versions import Before, Draft, Leaving, Pool, Tombstone
from tdsys.errors import Conflict, NotReady
from tdsys.stages import clustering, embedding
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, clusters, datasets, examples, policies
from tdsys.store.datasets import DatasetVersion, Step

# Somebody who takes examples out one by one should not leave a version for each.
PATIENCE = timedelta(minutes=10)


# Which two of some examples are near-duplicates by their embeddings; each is of a cluster.
Links: TypeAlias = Callable[[Mapping[int, int]], list[tuple[int, int]]]


class Known(NamedTuple):
    """What is read before a version is drafted; `latest` is the newest version, if any."""

    domain: str
    policy: Policy
    policy_version: int
    latest: DatasetVersion | None
    before: Before | None
    admitted: list[Admitted]
    placed: dict[str, Split]
    clusters: dict[int, int]
    links: Links


class Drafted(NamedTuple):
    """A version that is not frozen yet, and every field that keeps an example out of it."""

    draft: Draft
    misfits: list[Misfit]
    left_out: int


class Built(NamedTuple):
    """A version that somebody asked for; `is_same`: it is the newest one, for nothing changed."""

    version: DatasetVersion
    is_same: bool


def read(store: Store, *, domain: str) -> Known:
    """Everything about a domain that its next version depends on."""
    with store.begin() as tx:
        found = _read(tx, domain)
    return _clustered(store, found)


def next_version(known: Known, *, asked: str = "") -> Drafted:
    """The next version: a minor one if nothing speaks against it; `asked` is why a major is."""
    signature = signature_of(known)
    pool, found = _pool(known, signature)
    draft = versions.draft(pool, known.policy, signature, known.before, asked=asked)
    return Drafted(draft, found, len(pool.unfit))


def signature_of(known: Known) -> Signature:
    """The fields of the domain's program: the policy's, the last version's or the usual ones."""
    rules, last = known.policy.conversion, known.latest.signature if known.latest else None
    held = known.admitted
    if last is not None:
        held = [fitted(e, last, rules) for e in held]
    return dataset.signature_of(held, known.policy, last)


def shortcomings(drafted: Drafted, known: Known) -> list[str]:
    """Why the draft makes no version to optimize on yet; empty when it does."""
    members = drafted.draft.members
    missing = dataset.shortcomings(members, known.policy)
    if known.latest is None and not missing:
        missing = dataset.lacking(Counter(m.example.cell for m in members), known.policy)
    usable = len(known.admitted) - drafted.left_out
    if missing and len(members) < min(usable, known.policy.max_examples):
        missing.append(
            f"{usable - len(members)} stay out by cells.max, cluster_cap or synthetic_share, or "
            "because they are suspicious or like what another split holds"
        )
    if missing and drafted.misfits:
        first = drafted.misfits[0]
        told = f"example {first.example_id}: {first.reason}"
        missing.append(f"{drafted.left_out} do not fit, see `tdsys dataset check`; {told}")
    return missing


def freeze(tx: Tx, known: Known, draft: Draft, *, now: datetime) -> DatasetVersion:
    """Freeze a draft; Conflict where another version came between."""
    return datasets.freeze(
        tx,
        domain=known.domain,
        fingerprint=draft.fingerprint,
        signature=draft.signature,
        policy_version=known.policy_version,
        members=draft.members,
        now=now,
        step=Step(
            known.latest.id if known.latest else None,
            draft.major is not None,
            because(known, draft),
            _explained(tx, draft.removed),
        ),
    )


def build(store: Store, *, domain: str, major: str = "", clock: Clock) -> Built:
    """Freeze the next version now, without a run; `major` says why a major is wanted.

    NotReady where the examples make none yet.
    """
    known = read(store, domain=domain)
    drafted = next_version(known, asked=major)
    if missing := shortcomings(drafted, known):
        raise NotReady("; ".join(missing), remedy="see what lacks with `tdsys report coverage`")
    with store.begin() as tx:
        frozen = freeze(tx, known, drafted.draft, now=clock())
    return Built(frozen, frozen.id == (known.latest.id if known.latest else None))


def bury(store: Store, *, domain: str, clock: Clock) -> DatasetVersion | None:
    """Freeze the newest version without what left it; None if all are there or some just left.

    A minor version with tombstones, so nobody trains on or exports as current what is gone.
    """
    with store.begin() as tx:
        latest = datasets.latest(tx, domain=domain)
        left_at = datasets.last_leaving(tx, version_id=latest.id) if latest else None
        _, policy = policies.current(tx, domain=domain)
    quiet = timedelta(seconds=policy.settle_seconds)
    if latest is None or left_at is None or policy.optimization == "hold":
        return None
    if clock() - left_at < quiet and clock() - latest.frozen_at < PATIENCE:
        return None
    known = read(store, domain=domain)
    if known.before is None:
        return None
    pool, _ = _pool(known, known.before.signature)
    found = versions.without_removed(pool, known.policy, known.before)
    if not found.removed or not found.members:
        return None
    try:
        with store.begin() as tx:
            return freeze(tx, known, found, now=clock())
    except Conflict:  # another version came between; it knows what left as well
        return None


def _read(tx: Tx, domain: str) -> Known:
    version, policy = policies.current(tx, domain=domain)
    latest = datasets.latest(tx, domain=domain)
    return Known(
        domain,
        policy,
        version,
        latest,
        _before(tx, latest) if latest else None,
        examples.admitted(tx, domain=domain),
        datasets.ever_placed(tx, domain=domain),
        {},
        lambda _: [],
    )


def _before(tx: Tx, latest: DatasetVersion) -> Before:
    first = datasets.beginning(tx, of=latest)
    # What was forgotten is in them without its content: it goes, and the rest stays where it is.
    members, began = (
        datasets.members(tx, version_id=one.id, whole=False) for one in (latest, first)
    )
    followed = policies.document(tx, domain=latest.domain, version=first.policy_version)
    shares = Shares.model_validate(followed.get("shares", {}))
    frozen = [m for m in began if m.split is not Split.TRAIN]
    return Before(latest.signature, shares, members, frozen)


def _clustered(store: Store, known: Known) -> Known:
    """With the cluster of every admitted example; who came before there were any is placed now."""
    clustering.place(store, domain=known.domain, examples=known.admitted)
    with store.begin() as tx:
        found = clusters.clusters(tx, example_ids=[one.id for one in known.admitted])
    # An example that was purged meanwhile is in none.
    rules = known.policy.conversion
    admitted = [renamed(one, rules) for one in known.admitted if one.id in found]
    links = partial(embedding.links, store, domain=known.domain, rules=known.policy.embedder)
    return known._replace(admitted=admitted, clusters=found, links=links)


def _pool(known: Known, signature: Signature) -> tuple[Pool, list[Misfit]]:
    held = [fitted(e, signature, known.policy.conversion) for e in known.admitted]
    unfit = {e.id: found for e in held if (found := misfits(e, signature))}
    pool = Pool(
        usable=[e for e in held if e.id not in unfit],
        unfit=[e for e in held if e.id in unfit],
        clusters=known.clusters,
        grouped=lambda chosen: groups(chosen, known.clusters, known.links),
        placed=known.placed,
    )
    return pool, [one for found in unfit.values() for one in found]


def groups(
    chosen: Sequence[Admitted], clusters: Mapping[int, int], links: Links = lambda _: []
) -> list[int]:
    """What of each cluster hangs together by what was chosen of it, by words or by embeddings.

    Only members of one cluster are compared. Of thousands of examples a cluster may be a long
    chain, and its ends, without what is between them, are no near-duplicates; what is still
    long is kept together by wording alone.
    """
    from tdsys.core.matching import groups as connected  # noqa: PLC0415  # numpy

    held: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(chosen):
        held[clusters[one.id]].append(place)
    forest, several = Forest(), [places for places in held.values() if len(places) > 1]
    for places in several:
        told = [problem_of(chosen[place].outputs) for place in places]
        named = connected(told, chosen=len(chosen))
        for place, first in zip(places, named, strict=True):
            forest.join(place, places[first])
    at = {chosen[place].id: place for places in several for place in places}
    for left, right in links({id_: clusters[id_] for id_ in at}):
        forest.join(at[left], at[right])
    return [forest.root(place) for place in range(len(chosen))]


def because(known: Known, draft: Draft) -> str:
    """Why a version is made, for people: the reason of a major, or what a minor one brings."""
    if draft.major is not None:
        return draft.major
    before = {m.example.fingerprint for m in known.before.members} if known.before else set()
    came = Counter(m.split for m in draft.members if m.example.fingerprint not in before)
    told = [f"{n} came to {split}" for split, n in sorted(came.items())]
    if draft.removed:
        told.append(f"{len(draft.removed)} left")
    if draft.waiting:
        told.append(f"{draft.waiting} stay out: they are like what val or test asks")
    return ", ".join(told) or "the same examples"


def _explained(tx: Tx, removed: Sequence[Tombstone]) -> list[Tombstone]:
    """With what is known of where those that left are now."""
    left = [one.example_id for one in removed if one.reason is Leaving.LEFT]
    now = datasets.whereabouts(tx, example_ids=left)
    return [
        one._replace(detail=now.get(one.example_id, "deleted"))
        if one.reason is Leaving.LEFT
        else one
        for one in removed
    ]
