"""Which admitted examples become a dataset version, and how it is divided without leaks."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.example import Cell, Document, Source, canonical
from tdsys.core.mixing import Counted, Room, counted
from tdsys.core.policy import FieldType, Policy, Shares, Signature
from tdsys.core.program import Item

COMMON_FIELD = 0.95
SMALLEST_SPLIT = 5


class Split(StrEnum):
    """The three parts of a dataset version; test is never seen by the optimizer."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Admitted(BaseModel):
    """An admitted example, as a candidate for a dataset version."""

    model_config = ConfigDict(frozen=True)

    id: int
    fingerprint: str
    topic: str
    difficulty: str
    source: Source
    simulated: bool
    quality: float
    # Something about its text called for a person, who approved it: it is no demo all the same.
    suspicious: bool = False
    # Its fields are no more as they were stored: the policy's conversion made them the program's.
    converted: bool = False
    inputs: Document
    outputs: Document

    @property
    def cell(self) -> Cell:
        """The cell it belongs to."""
        return Cell(self.topic, self.difficulty)


class Member(BaseModel):
    """One example in one split of a version, with the content frozen beside it."""

    model_config = ConfigDict(frozen=True)

    example: Admitted
    split: Split
    cluster: int


def signature_of(
    examples: Sequence[Admitted], policy: Policy, last: Signature | None = None
) -> Signature:
    """The policy's signature, or the fields that nearly all of these examples hold.

    The last version's stays as long as enough examples fit it: a program's fields must not
    change because one field fell below a threshold.
    """
    if policy.signature is not None:
        return policy.signature
    if last and sum(fits(e, last) for e in examples) >= policy.min_examples:
        return last
    outputs = _common([e.outputs for e in examples])
    inputs = {n: t for n, t in _common([e.inputs for e in examples]).items() if n not in outputs}
    return Signature(inputs=inputs or Signature().inputs, outputs=outputs or Signature().outputs)


def fits(example: Admitted, signature: Signature) -> bool:
    """Whether it holds every field of the signature as the signature wants it."""
    sides = ((signature.inputs, example.inputs), (signature.outputs, example.outputs))
    return all(
        kind_of(held.get(name)) == kind for fields, held in sides for name, kind in fields.items()
    )


def item(example: Admitted, signature: Signature) -> Item:
    """The example as the program sees it: fields of the signature and nothing else."""
    return Item(
        uid=example.fingerprint,
        inputs={name: example.inputs[name] for name in signature.inputs},
        outputs={name: example.outputs[name] for name in signature.outputs},
    )


def select(
    examples: Iterable[Admitted],
    policy: Policy,
    *,
    clusters: Mapping[int, int] | None = None,
    held: Sequence[Admitted] = (),
) -> list[Admitted]:
    """What a version may hold, within the policy's caps, beside what is `held` already.

    Near-duplicates are thinned first. Then each cell's minimum, then as even over the cells as they
    allow; of a cell the best. No version that the shares of synthetic examples allow is larger.
    `clusters` names the near-duplicates by example id; only a policy with a `cluster_cap` asks.
    """
    pool = _thinned(examples, policy, clusters or {}, held)
    chosen = _Selection(policy, pool, held).chosen()
    return sorted(chosen, key=lambda e: e.fingerprint)


def _thinned(
    examples: Iterable[Admitted],
    policy: Policy,
    clusters: Mapping[int, int],
    held: Sequence[Admitted],
) -> list[Admitted]:
    """Of near-duplicates the best so many; real ones first where synthetic ones are limited."""
    pool = list(examples)
    if policy.cluster_cap is None:
        return pool
    limited = policy.synthetic_share < 1 or policy.cells.limit_synthetic
    pool.sort(key=lambda e: (limited and e.source is Source.SYNTHETIC, -e.quality, e.fingerprint))
    taken = Counter(clusters[e.id] for e in held if e.id in clusters)
    kept = []
    for example in pool:
        cluster = clusters.get(example.id)
        if cluster is None or taken[cluster] < policy.cluster_cap:
            kept.append(example)
        if cluster is not None:
            taken[cluster] += 1
    return kept


def divide(
    examples: Sequence[Admitted],
    clusters: Sequence[int],
    *,
    shares: Shares,
    placed: Mapping[str, Split] | None = None,
) -> list[Member]:
    """Give every example a split: whole clusters together, each cell near its shares.

    What the last version has `placed` (by fingerprint) stays, so that no program meets in its
    test what another was made of. Of new clusters the big ones go first; each goes where its
    cells, then the whole, are furthest below target. Nothing suspicious goes to train, where demos
    come from; what is like something that is there already is left out.
    """
    groups: dict[int, list[Admitted]] = defaultdict(list)
    for example, cluster in zip(examples, clusters, strict=True):
        groups[cluster].append(example)
    division = _Division(_targets(examples, shares))
    fresh = []
    for held in sorted(groups.values(), key=lambda g: (-len(g), _order(g))):
        before = {placed[e.fingerprint] for e in held if placed and e.fingerprint in placed}
        if before:
            # A new example may join two old clusters: train is where it can do no harm.
            split = min(before, key=list(Split).index)
            division.put([e for e in held if split in _allowed(e)], split)
        else:
            fresh.append(held)
    for held in fresh:
        division.put(held, division.roomiest(held))
    return division.members()


def fingerprint(members: Sequence[Member], signature: Signature) -> str:
    """The name of a version: SHA-256 over its content, its division and its ordered fields."""
    content = sorted(_named(m) for m in members)
    fields = [signature.instructions, *map(list, signature.inputs.items()), "->",
              *map(list, signature.outputs.items())]  # fmt: skip
    return hashlib.sha256(canonical([content, fields])).hexdigest()


def _named(member: Member) -> list[str]:
    """A member's part in the name; content that was converted is no more what its hash says."""
    example = member.example
    name = [example.fingerprint, member.split.value]
    if example.converted:
        name.append(hashlib.sha256(canonical([example.inputs, example.outputs])).hexdigest())
    return name


def shortcomings(members: Sequence[Member], policy: Policy) -> list[str]:
    """Why these members do not make a version yet; empty when they do."""
    sizes = Counter(m.split for m in members)
    missing = policy.min_examples - len(members)
    if missing > 0:
        return [f"{len(members)} usable examples, {missing} more needed"]
    return [
        f"only {sizes[s]} examples can go to {s} without near-duplicates across splits, "
        f"at least {policy.trigger.min_per_split} needed"
        for s in Split
        if sizes[s] < policy.trigger.min_per_split
    ]


def lacking(held: Mapping[Cell, int], policy: Policy) -> list[str]:
    """Which wanted cells have fewer than their minimum, and how many; empty when none."""
    return [
        f"{cell.topic}, {cell.difficulty}: {held.get(cell, 0)} of at least {least}"
        for cell in policy.wanted_cells()
        if held.get(cell, 0) < (least := policy.cells.least(cell))
    ]


def _common(documents: Sequence[Mapping[str, JsonValue]]) -> dict[str, FieldType]:
    kinds = Counter(
        (name, kind)
        for d in documents
        for name, value in d.items()
        if (kind := kind_of(value)) is not None
    )
    orders = Counter(tuple(d) for d in documents)
    usual = list(dict.fromkeys(n for keys, _ in orders.most_common() for n in keys))
    common = [(n, k) for (n, k), count in kinds.items() if count >= COMMON_FIELD * len(documents)]
    return dict(sorted(common, key=lambda pair: usual.index(pair[0])))


def holds(document: JsonValue, name: str, kind: FieldType) -> bool:
    """Whether the inputs or outputs of an example have such a field."""
    return isinstance(document, dict) and kind_of(document.get(name)) == kind


def kind_of(value: JsonValue) -> FieldType | None:
    """Which type of field a value can fill; None: neither, or it is empty."""
    if isinstance(value, str) and value.strip():
        return "text"
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return "list"
    return None


def _targets(
    examples: Sequence[Admitted], shares: Shares
) -> dict[tuple[Cell | None, Split], float]:
    share = {Split.TRAIN: shares.train, Split.VAL: shares.val, Split.TEST: shares.test}
    sizes: Counter[Cell | None] = Counter(e.cell for e in examples)
    sizes[None] = len(examples)
    return {(cell, split): size * share[split] for cell, size in sizes.items() for split in Split}


def _allowed(example: Admitted) -> frozenset[Split]:
    """The splits it may be in."""
    return frozenset(Split) - ({Split.TRAIN} if example.suspicious else set())


def _order(held: Sequence[Admitted]) -> str:
    return min(e.fingerprint for e in held)


class _Selection:
    """Takes one example after the other, from the cell that is furthest behind."""

    def __init__(self, policy: Policy, pool: Sequence[Admitted], held: Sequence[Admitted]) -> None:
        self._policy = policy
        self._room = Room(policy, _counted(pool), held=_counted(held))
        self._places = policy.max_examples - len(held)
        self._taken = Counter(e.cell for e in held)
        self._cells: dict[Cell, list[Admitted]] = defaultdict(list)
        for example in sorted(pool, key=lambda e: (-e.quality, e.fingerprint), reverse=True):
            self._cells[example.cell].append(example)

    def chosen(self) -> list[Admitted]:
        turns = [self._turn(held) for cell, held in self._cells.items() if not self._is_full(cell)]
        heapq.heapify(turns)
        chosen: list[Admitted] = []
        while turns and len(chosen) < self._places:
            *_, held = heapq.heappop(turns)
            example = held.pop()
            if self._room.takes(example.cell, is_made=example.source is Source.SYNTHETIC):
                chosen.append(example)
                self._taken[example.cell] += 1
            if held and not self._is_full(example.cell):
                heapq.heappush(turns, self._turn(held))
        return chosen

    def _is_full(self, cell: Cell) -> bool:
        most = self._policy.cells.most(cell)
        return most is not None and self._taken[cell] >= most

    def _turn(self, held: list[Admitted]) -> tuple[bool, int, float, str, list[Admitted]]:
        """When a cell's best is next: taking the smallest is max-min water-filling."""
        best = held[-1]
        taken = self._taken[best.cell]
        full = taken >= self._policy.cells.least(best.cell)
        return full, taken, -best.quality, best.fingerprint, held


def _counted(examples: Sequence[Admitted]) -> dict[Cell, Counted]:
    return counted((e.cell, e.source) for e in examples)


class _Division:
    """Members placed so far, against the targets of every cell and of the whole."""

    def __init__(self, targets: Mapping[tuple[Cell | None, Split], float]) -> None:
        self._targets = targets
        self._placed: Counter[tuple[Cell | None, Split]] = Counter()
        self._members: list[Member] = []
        self._clusters = 0

    def put(self, held: Sequence[Admitted], split: Split) -> None:
        for example in held:
            self._placed[example.cell, split] += 1
            self._placed[None, split] += 1
            self._members.append(Member(example=example, split=split, cluster=self._clusters))
        self._clusters += 1

    def roomiest(self, held: Sequence[Admitted]) -> Split:
        allowed = [split for split in Split if all(split in _allowed(e) for e in held)]
        return max(allowed, key=lambda split: self._room(held, split))

    def members(self) -> list[Member]:
        splits = list(Split)
        return sorted(self._members, key=lambda m: (splits.index(m.split), m.example.fingerprint))

    def _room(self, held: Sequence[Admitted], split: Split) -> tuple[float, float]:
        whole, taken = self._targets[None, split], self._placed[None, split]
        fits = taken == 0 or taken + len(held) <= whole + 1
        in_cells = sum(
            (self._targets[e.cell, split] - self._placed[e.cell, split])
            / max(self._targets[e.cell, split], 1)
            for e in held
        )
        return (in_cells / len(held) if fits else -1e9, (whole - taken) / max(whole, 1))
