"""Recommendations: what would make a domain's training data better, why, and by how much."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from statistics import fmean

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.attribution import Contribution, Effect
from tdsys.core.dataset import Split
from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tdsys.core.suspecting import Fault, Known, ProgramScore, Suspect

# The contributions of a prompt's demos are summed up for a prompt of so many.
DEMOS = 8
# A pool that is pruned below this leaves an optimizer nothing to choose from.
FEWEST_LEFT = 8
WEAK_CELL = 0.15
FEWEST_ITEMS = 3
COLLECTED = 10
FEWEST_BELOW = 3


class Kind(StrEnum):
    """What a recommendation asks for."""

    RETIRE = "retire"
    COLLECT = "collect"
    REJUDGE = "rejudge"
    FIX_LABEL = "fix_label"
    CHANGE_THRESHOLD = "change_threshold"


class AdviceState(StrEnum):
    """Where a recommendation stands; superseded: the evidence says another thing by now."""

    OPEN = "open"
    APPLIED = "applied"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"


class Predicted(BaseModel):
    """By how much a prompt would score better, with its 95 % interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    meaning: str


class Advice(BaseModel):
    """One recommendation; `key` names what it is about, so that it is made once."""

    model_config = ConfigDict(frozen=True)

    key: str
    kind: Kind
    title: str
    reason: str
    examples: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    change: dict[str, JsonValue] = {}
    evidence: tuple[str, ...] = ()
    predicted: Predicted | None = None


# The sum of contributions by weight, as `Estimate.contrast` gives it; None without an estimate.
Contrast = Callable[[Mapping[str, float]], tuple[float, float, float] | None]


def advice(
    members: Sequence[Known],
    suspects: Sequence[Suspect],
    contributions: Sequence[Contribution],
    tested: Sequence[ProgramScore],
    policy: Policy,
    contrast: Contrast,
) -> list[Advice]:
    """What to do about what is amiss, and about what is missing; the surest first."""
    by: dict[Fault, list[Suspect]] = defaultdict(list)
    for one in suspects:
        by[one.fault].append(one)
    pool = [m.example for m in members if m.split is Split.TRAIN]
    measured = {one.example for one in contributions if one.value is not None}

    def predicted(gone: Sequence[str]) -> Predicted | None:
        return _predicted(gone, pool, measured, contrast)

    spare = max(0, len(pool) - FEWEST_LEFT)
    harmful = [one for one in by[Fault.HARMFUL] if one.known.split is Split.TRAIN][:spare]
    redundant = by[Fault.REDUNDANT][: spare - len(harmful)]
    return [
        *_retire(harmful, predicted),
        *_retire_redundant(redundant, predicted),
        *_fix_labels([*by[Fault.CONTRADICTORY], *by[Fault.MISLABELLED]]),
        *_rejudge(by[Fault.STALE], by[Fault.DISPUTED]),
        *_collect(members, tested),
        *_change_threshold(members, contributions, policy, predicted),
    ]


def effect_of_leaving(
    gone: Sequence[str], pool: Sequence[str], contrast: Contrast
) -> Predicted | None:
    """What a prompt of eight demos gains if they are drawn from what remains, not from all."""
    left = set(pool) - set(gone)
    if not left or len(left) == len(pool):
        return None
    weights = {name: DEMOS * ((name in left) / len(left) - 1 / len(pool)) for name in pool}
    found = contrast(weights)
    if found is None:
        return None
    value, low, high = found
    meaning = f"score of a prompt of {DEMOS} demos, drawn from {len(left)} instead of {len(pool)}"
    return Predicted(value=value, low=low, high=high, meaning=meaning)


def _predicted(
    gone: Sequence[str], pool: Sequence[str], measured: Collection[str], contrast: Contrast
) -> Predicted | None:
    """As `effect_of_leaving`, among those that were measured; None where some that go were not."""
    if not set(gone) <= set(measured):
        return None
    among = [name for name in pool if name in measured]
    found = effect_of_leaving(gone, among, contrast)
    if found is None or len(among) == len(pool):
        return found
    meaning = f"{found.meaning}; {len(pool) - len(among)} others were not measured"
    return found.model_copy(update={"meaning": meaning})


Predicting = Callable[[Sequence[str]], Predicted | None]


def _retire(harmful: Sequence[Suspect], predicted: Predicting) -> Iterator[Advice]:
    """The most harmful ones, as long as enough remains."""
    if harmful:
        names = tuple(one.known.example for one in harmful)
        yield Advice(
            key=_key(Kind.RETIRE, "harmful", names),
            kind=Kind.RETIRE,
            title=f"retire {_n(len(names), 'example')} doing harm to the prompts they are in",
            reason="scores with them in the prompt are lower than without, beyond chance",
            examples=names,
            evidence=_details(harmful),
            predicted=predicted(names),
        )


def _retire_redundant(redundant: Sequence[Suspect], predicted: Predicting) -> Iterator[Advice]:
    if redundant:
        names = tuple(one.known.example for one in redundant)
        yield Advice(
            key=_key(Kind.RETIRE, "redundant", names),
            kind=Kind.RETIRE,
            title=f"retire {_n(len(names), 'near-duplicate')} without a worth of their own",
            reason="each is like a better one that stays, and adds nothing by itself, as measured",
            examples=names,
            evidence=_details(redundant),
            predicted=predicted(names),
        )


def _fix_labels(wrong: Sequence[Suspect]) -> Iterator[Advice]:
    names = tuple(sorted({one.known.example for one in wrong}))
    if names:
        yield Advice(
            key=_key(Kind.FIX_LABEL, "labels", names),
            kind=Kind.FIX_LABEL,
            title=f"have a person look at the labels of {_n(len(names), 'example')}",
            reason="they contradict each other, or programs that do well elsewhere fail them",
            examples=names,
            evidence=_details(wrong),
        )


def _rejudge(stale: Sequence[Suspect], disputed: Sequence[Suspect]) -> Iterator[Advice]:
    both = [*stale, *disputed]
    names = tuple(sorted({one.known.example for one in both}))
    if names:
        yield Advice(
            key=_key(Kind.REJUDGE, "judgements", names),
            kind=Kind.REJUDGE,
            title=f"judge {_n(len(names), 'example')} again",
            reason="their scores are of an older rubric, or too old, or a person disagrees",
            examples=names,
            evidence=_details(both),
        )


def _collect(members: Sequence[Known], tested: Sequence[ProgramScore]) -> Iterator[Advice]:
    """The cells whose requests the programs answer worst, if clearly worse than the others."""
    cell_of = {m.example: Cell(m.topic, m.difficulty) for m in members if m.split is Split.VAL}
    values: dict[Cell, list[float]] = defaultdict(list)
    asked: dict[Cell, set[str]] = defaultdict(set)
    for one in tested:
        if cell := cell_of.get(one.item):
            values[cell].append(one.value)
            asked[cell].add(one.item)
    known = {cell: fmean(found) for cell, found in values.items()
             if len(asked[cell]) >= FEWEST_ITEMS}  # fmt: skip
    if len(known) < 2:  # noqa: PLR2004  # worse than what?
        return
    mean = fmean(known.values())
    held = Counter(Cell(m.topic, m.difficulty) for m in members if m.split is Split.TRAIN)
    weak = sorted((c for c, v in known.items() if v < mean - WEAK_CELL), key=lambda c: known[c])
    if weak:
        yield Advice(
            key=_key(Kind.COLLECT, "weak", tuple(f"{c.topic}/{c.difficulty}" for c in weak)),
            kind=Kind.COLLECT,
            title=f"collect {COLLECTED} more examples in {_each(len(weak), 'cell')}",
            reason=f"their requests are answered worst: cells score {mean:.2f} on average",
            cells=tuple(weak),
            change={"count": COLLECTED},
            evidence=tuple(
                f"{c.topic}, {c.difficulty}: {known[c]:.2f} over {len(asked[c])} requests, "
                f"{held[c]} examples to learn from"
                for c in weak
            ),
        )


def _change_threshold(
    members: Sequence[Known],
    contributions: Sequence[Contribution],
    policy: Policy,
    predicted: Predicting,
) -> Iterator[Advice]:
    """A higher `admit_quality`, where most of what it would have kept out does harm."""
    found = {one.example: one for one in contributions}
    pool = sorted(
        (m for m in members if m.split is Split.TRAIN and m.example in found),
        key=lambda m: m.quality,
    )
    best: tuple[int, int] | None = None
    for place in range(1, len(pool)):
        below = [found[m.example].verdict for m in pool[:place]]
        harmful, helpful = below.count(Effect.HARMFUL), below.count(Effect.HELPFUL)
        apart = _between(pool[place - 1], pool[place], policy) is not None
        if apart and harmful >= FEWEST_BELOW and 2 * harmful >= place and not helpful:
            best = max(best or (0, 0), (harmful, place))
    limit = _between(pool[best[1] - 1], pool[best[1]], policy) if best else None
    if best and limit is not None:
        harmful, place = best
        names = tuple(m.example for m in pool[:place])
        yield Advice(
            key=_key(Kind.CHANGE_THRESHOLD, f"admit_quality={limit}", names),
            kind=Kind.CHANGE_THRESHOLD,
            title=f"raise admit_quality from {policy.admit_quality:g} to {limit:g}",
            reason=f"{harmful} of the {place} examples below it do harm and none helps",
            examples=names,
            change={"admit_quality": limit},
            evidence=tuple(f"{m.example[:16]}: quality {m.quality:.3f}, "
                           f"{found[m.example].verdict}" for m in pool[:place]),
            predicted=predicted(names),
        )  # fmt: skip


def _between(below: Known, above: Known, policy: Policy) -> float | None:
    """A threshold that is higher than the policy's and keeps out the one and not the other."""
    least = max(below.quality, policy.admit_quality)
    middle = (least + above.quality) / 2
    return next((n for n in (round(middle, 3), middle) if least < n <= above.quality), None)


def _key(kind: Kind, what: str, names: Sequence[str]) -> str:
    return f"{kind}: {what}: {', '.join(sorted(names))}"


def _details(found: Sequence[Suspect]) -> tuple[str, ...]:
    return tuple(f"{one.known.example[:16]}: {one.fault}: {one.detail}" for one in found)


def _each(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"each of {count} {what}s"


def _n(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
