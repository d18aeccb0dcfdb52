"""How one dataset version follows another: val and test stay and train grows, or a major begins.

One rule: within a major version every val and test example is one that its first version had in
the same split, so that scores of programs compiled months apart are scores on the same questions.
What leaves is named in the version that no longer holds it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from tdsys.core import dataset
from tdsys.core.dataset import Admitted, Member, Split
from tdsys.core.mixing import counted, exceeded
from tdsys.core.policy import Policy, Shares, Signature

# Of val or test since the major began: what is left is another, smaller set of questions.
LOST_SHARE = 0.2
# Of its share of the whole: below it val or test says too little beside what train could teach.
OUTGROWN = 0.5
# Of a full set: as many others must be there before it is worth giving its questions up.
RENEWED = 0.05
_STRONGEST = (Split.TEST, Split.VAL, Split.TRAIN)
Grouping = Callable[[Sequence[Admitted]], Sequence[int]]


class Leaving(StrEnum):
    """Why a version no longer holds what the one before it held."""

    LEFT = "left"
    EDITED = "edited"
    UNFIT = "unfit"
    SUSPICIOUS = "suspicious"
    NEAR_DUPLICATE = "near_duplicate"


class Tombstone(NamedTuple):
    """One example that a version had to give up; it says which and why, and holds no content."""

    example_id: int
    fingerprint: str
    split: Split
    reason: Leaving
    detail: str


class Before(NamedTuple):
    """The newest version: its members, and the val and test members its major began with."""

    signature: Signature
    shares: Shares
    members: Sequence[Member]
    frozen: Sequence[Member]


class Draft(NamedTuple):
    """What a version would hold; `major` says why a major begins, None when it is a minor one.

    `waiting` could be taught if nothing were like them in val or test.
    """

    signature: Signature
    members: list[Member]
    removed: list[Tombstone]
    major: str | None = None
    waiting: int = 0

    @property
    def fingerprint(self) -> str:
        """The name of the version it would be."""
        return dataset.fingerprint(self.members, self.signature)

    @property
    def sizes(self) -> dict[str, int]:
        """Members per split."""
        return {split.value: sum(m.split is split for m in self.members) for split in Split}


class Pool(NamedTuple):
    """What a version may be made of: admitted examples that fit, and those that do not.

    `clusters` names stored near-duplicates by example id; `grouped` finds which of some examples
    hang together; `placed` is the split that each content ever had, train before all others.
    """

    usable: Sequence[Admitted]
    unfit: Sequence[Admitted]
    clusters: Mapping[int, int]
    grouped: Grouping
    placed: Mapping[str, Split]


def draft(
    pool: Pool, policy: Policy, signature: Signature, before: Before | None, *, asked: str = ""
) -> Draft:
    """The next version: a minor one on `before`, or a major with the reason for it."""
    if before is None:
        return _major(pool, policy, signature, before, "the first version")
    minor = _Following(pool, policy, before)
    why = asked or next(_reasons(minor, pool, policy, signature), None)
    if why:
        return _major(pool, policy, signature, before, why)
    members = minor.with_more()
    if why := _outgrown(members, policy) or minor.is_full():
        return _major(pool, policy, signature, before, why)
    return Draft(signature, members, minor.removed, waiting=minor.waiting)


def without_removed(pool: Pool, policy: Policy, before: Before) -> Draft:
    """The newest version without what left since, and nothing else changed."""
    minor = _Following(pool, policy, before)
    return Draft(before.signature, minor.settled(), minor.removed)


def _major(
    pool: Pool, policy: Policy, signature: Signature, before: Before | None, why: str
) -> Draft:
    """Select and divide anew; what was ever in a split goes into no other but train."""
    chosen = dataset.select(pool.usable, policy, clusters=pool.clusters)
    members = dataset.divide(chosen, pool.grouped(chosen), shares=policy.shares, placed=pool.placed)
    removed = _removed(pool, before.members if before else ())
    return Draft(signature, members, removed, why)


def _reasons(minor: _Following, pool: Pool, policy: Policy, signature: Signature) -> Iterator[str]:
    """Why a minor version cannot follow, whatever would be added to it."""
    before = minor.before
    if (now := _fields(signature)) != (last := _fields(before.signature)):
        yield f"the program's fields changed from {last} to {now}"
    if before.shares != policy.shares:
        yield f"shares changed from {_told(before.shares)} to {_told(policy.shares)}"
    if rewritten := minor.rewritten(signature):
        yield f"{rewritten} val or test examples would read otherwise by the policy's conversion"
    sizes = Counter(split for _, split in minor.staying)
    for split, began in sorted(Counter(m.split for m in before.frozen).items()):
        if (lost := began - sizes[split]) > LOST_SHARE * began or (
            lost > 0 and sizes[split] < policy.trigger.min_per_split
        ):
            yield f"{split} lost {lost} of the {began} examples it began with"
    yield from _broken_caps([e for e, _ in minor.staying], policy, pool.clusters)


def _broken_caps(
    held: Sequence[Admitted], policy: Policy, clusters: Mapping[int, int]
) -> Iterator[str]:
    """Which of the policy's caps the members break by themselves; they were lowered since."""
    if len(held) > policy.max_examples:
        yield f"the version holds {len(held)} examples, max_examples is {policy.max_examples}"
    for cell, count in sorted(Counter(e.cell for e in held).items()):
        most = policy.cells.most(cell)
        if most is not None and count > most:
            yield f"{cell.topic}, {cell.difficulty} has {count} examples, cells.max is {most}"
    yield from exceeded(policy, counted((e.cell, e.source) for e in held))
    alike = Counter(clusters[e.id] for e in held if e.id in clusters)
    if policy.cluster_cap is not None and max(alike.values(), default=0) > policy.cluster_cap:
        most = max(alike.values())
        yield f"{most} near-duplicates of each other, cluster_cap is {policy.cluster_cap}"


def _outgrown(members: Sequence[Member], policy: Policy) -> str | None:
    sizes = Counter(m.split for m in members)
    for split, share in ((Split.VAL, policy.shares.val), (Split.TEST, policy.shares.test)):
        if sizes[split] < OUTGROWN * share * len(members):
            is_now = sizes[split] / len(members)
            return (
                f"train has outgrown {split}: it is {is_now:.0%} of the whole, {share:.0%} wanted"
            )
    return None


def _removed(
    pool: Pool, members: Sequence[Member], *, alike: frozenset[str] = frozenset()
) -> list[Tombstone]:
    """Those members that cannot be in a version any more, each with what is known of why."""
    usable = {e.fingerprint: e for e in pool.usable}
    unfit = {e.fingerprint for e in pool.unfit}
    ids = {e.id for e in (*pool.usable, *pool.unfit)}
    found = []
    for member in members:
        name = member.example.fingerprint
        if name in alike:
            why, detail = Leaving.NEAR_DUPLICATE, "like what another split holds"
        elif name in unfit:
            why, detail = Leaving.UNFIT, "does not fit the program's fields any more"
        elif name not in usable and member.example.id in ids:
            why, detail = Leaving.EDITED, "admitted with other content now"
        elif name not in usable:
            why, detail = Leaving.LEFT, "not admitted any more"
        elif usable[name].suspicious and member.split is Split.TRAIN:
            why, detail = Leaving.SUSPICIOUS, "a check found it suspicious: it may teach nothing"
        else:
            continue
        found.append(Tombstone(member.example.id, name, member.split, why, detail))
    return found


def _fields(signature: Signature) -> str:
    sides = (signature.inputs, signature.outputs)
    return " -> ".join(", ".join(f"{n}: {kind}" for n, kind in side.items()) for side in sides)


def _told(shares: Shares) -> str:
    return ", ".join(f"{share:.0%} {split}" for split, share in shares.model_dump().items())


class _Following:
    """The members of the newest version that may stay, and what can be added to them."""

    def __init__(self, pool: Pool, policy: Policy, before: Before) -> None:
        self.before = before
        self._pool, self._policy = pool, policy
        self._splits = {m.example.fingerprint: m.split for m in (*before.members, *before.frozen)}
        gone = {one.fingerprint for one in _removed(pool, before.members)}
        held = {m.example.fingerprint for m in before.members} - gone
        self.staying = [
            (e, self._splits[e.fingerprint]) for e in pool.usable if e.fingerprint in held
        ]
        alike = self._divided()
        self.staying = [(e, s) for e, s in self.staying if e.fingerprint not in alike]
        self.removed = _removed(pool, before.members, alike=alike)
        self._fresh = self._not_held()
        self.waiting = 0

    def settled(self) -> list[Member]:
        """What stays, and nothing else."""
        return self._members(self.staying)

    def with_more(self) -> list[Member]:
        """What stays, what came back to its split, and what can be added to train."""
        returned = self._returned()
        while True:
            base = [*self.staying, *returned]
            chosen = dataset.select(
                self._fresh,
                self._policy,
                clusters=self._pool.clusters,
                held=[e for e, _ in base],
            )
            placed = [*base, *((e, Split.TRAIN) for e in chosen)]
            mixed = self._mixed(placed)
            if not mixed:
                return self._members(placed)
            self.waiting += len(mixed)
            self._fresh = [e for e in self._fresh if e.fingerprint not in mixed]
            returned = [(e, s) for e, s in returned if e.fingerprint not in mixed]

    def is_full(self) -> str | None:
        """Why nothing can be added though a set made anew would hold others."""
        most = self._policy.max_examples
        if len(self.staying) < most:
            return None
        anew = dataset.select(self._pool.usable, self._policy, clusters=self._pool.clusters)
        held = {e.fingerprint for e, _ in self.staying}
        others = sum(e.fingerprint not in held for e in anew)
        if others < RENEWED * most:
            return None
        return f"the set is full, and {others} of {most} examples would be others if made anew"

    def rewritten(self, signature: Signature) -> int:
        """How many questions would not be what they were when the major began."""
        were = {m.example.fingerprint: m.example for m in self.before.frozen}
        return sum(
            dataset.item(e, signature) != dataset.item(were[e.fingerprint], signature)
            for e, _ in self.staying
            if e.fingerprint in were and dataset.fits(were[e.fingerprint], signature)
        )

    def _not_held(self) -> list[Admitted]:
        """Candidates for train: what no split of this major holds, and may teach."""
        return [
            e for e in self._pool.usable if e.fingerprint not in self._splits and not e.suspicious
        ]

    def _returned(self) -> list[tuple[Admitted, Split]]:
        """Val and test examples of this major that had left and are admitted again."""
        here = {e.fingerprint for e, _ in self.staying}
        asked = {m.example.fingerprint for m in self.before.frozen} - here
        asked -= {one.fingerprint for one in self.removed}
        return [
            (e, self._splits[e.fingerprint]) for e in self._pool.usable if e.fingerprint in asked
        ]

    def _mixed(self, placed: Sequence[tuple[Admitted, Split]]) -> set[str]:
        """What is new and hangs together with another split's members."""
        old = {e.fingerprint for e, _ in self.staying}
        return {
            e.fingerprint
            for group in self._groups(placed)
            if len({split for _, split in group}) > 1
            for e, _ in group
            if e.fingerprint not in old
        }

    def _divided(self) -> frozenset[str]:
        """Members of which it is known only now that they are like what another split holds."""
        found = set()
        for group in self._groups(self.staying):
            held = {split for _, split in group}
            strongest = next(split for split in _STRONGEST if split in held)
            found |= {e.fingerprint for e, split in group if split is not strongest}
        return frozenset(found)

    def _groups(
        self, placed: Sequence[tuple[Admitted, Split]]
    ) -> list[list[tuple[Admitted, Split]]]:
        groups: dict[int, list[tuple[Admitted, Split]]] = defaultdict(list)
        named = self._pool.grouped([e for e, _ in placed])
        for one, name in zip(placed, named, strict=True):
            groups[name].append(one)
        return list(groups.values())

    def _members(self, placed: Sequence[tuple[Admitted, Split]]) -> list[Member]:
        """In the order of versions: what was there first keeps its place, additions follow."""
        order = {m.example.fingerprint: n for n, m in enumerate(self.before.members)}
        splits, last = list(Split), len(order)
        named = self._pool.grouped([e for e, _ in placed])
        numbers: dict[int, int] = {}
        made = [
            Member(example=e, split=split, cluster=numbers.setdefault(group, len(numbers)))
            for (e, split), group in zip(placed, named, strict=True)
        ]
        return sorted(
            made,
            key=lambda m: (
                splits.index(m.split),
                order.get(m.example.fingerprint, last),
                m.example.fingerprint,
            ),
        )
