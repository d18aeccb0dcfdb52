"""What a judge's numbers are worth beside people's decisions, and which thresholds follow from it.

One rule: it is about what scores decide. What evidence refuted or made suspicious is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from tdsys.core.agreement import Kappa, Share, alpha, kappa, share, weighted_kappa, wilson
from tdsys.core.example import Document
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.reliability import (
    FOLDS,
    TINY,
    Bin,
    Fitted,
    Point,
    brier,
    dealt,
    expected_error,
    fitted,
    reliability,
)
from tdsys.core.rubric import AUDIT, Assessment, Dimension, Verdict, decide, quality

FEWEST_LABELS = 30
FEWEST_OF_EACH = FOLDS
FEWEST_ACCEPTED = 10
QUALITY = "quality"
KNOBS = (QUALITY, *(d.value for d in Dimension))
# A person says good or bad; a judge may also say "ask a person", which is half of each.
RANKS = {Move.REJECT: 0.0, Move.REVIEW: 0.5, Move.ADMIT: 1.0}
Basis = Literal["lower bound", "estimate"]


class Stratum(StrEnum):
    """Which scored examples a person looks at: a random share of one kind, all of the other."""

    ALONE = "alone"
    ASKED = "asked"


class JudgeVersion(NamedTuple):
    """Who judged: another model, rubric or prompt is another judge."""

    judge_model: str
    rubric_version: str
    prompt_version: str


class LabelledExample(NamedTuple):
    """Content that a person called good or bad, maybe with numbers of theirs."""

    line: int
    inputs: Document
    outputs: Document
    good: bool
    given: Mapping[Dimension, float]


class Compared(NamedTuple):
    """An example's scores, what they alone decide, and what a person said."""

    values: Mapping[str, float]
    move: Move
    good: bool
    weight: float = 1.0
    given: Mapping[Dimension, float] = {}  # never written to


@dataclass(frozen=True)
class Accepted:
    """What is accepted: the share of it that is good, and the share of the good that it is."""

    accepted: int
    precision: Share | None
    recall: Share | None


@dataclass(frozen=True)
class Scale:
    """One kind of score as a probability of being good: how far off, and the map that mends it."""

    name: str
    bins: tuple[Bin, ...]
    expected_error: float | None
    fitted: Fitted | None
    brier: float | None


@dataclass(frozen=True)
class Numbers:
    """A judge's numbers beside a person's own in one dimension; `bias` is judge less person."""

    dimension: str
    n: int
    weighted_kappa: float | None
    alpha: float | None
    bias: float
    distance: float


@dataclass(frozen=True)
class Threshold:
    """The lowest value of one threshold, the others as they are, that reaches what is wanted.

    `held_out` is what examples did that had no say in choosing it.
    """

    knob: str
    now: float
    basis: Basis
    at: float
    held_out: Accepted


@dataclass(frozen=True)
class Sampled:
    """How many were scored in a stratum, and how many of those a person decided about."""

    stratum: Stratum
    scored: int
    labelled: int


class Findings(BaseModel):
    """Everything that labelled examples say about a judge under the thresholds of a policy."""

    model_config = ConfigDict(frozen=True)

    n: int
    good: int
    kappa: Kappa | None
    weighted_kappa: float | None
    alpha: float | None
    accepted: Accepted
    scales: tuple[Scale, ...]
    numbers: tuple[Numbers, ...]
    wanted: float
    thresholds: tuple[Threshold, ...]


BY_HAND = frozenset(
    {"manual_collection", "judges_disagree", "judge_dissents", "judge_unsure", "judge_suspended"}
)


def stratum(move: Move, reason: str) -> Stratum | None:
    """Whether people see all decisions of this kind or an audited share; None: not the scores'."""
    if reason in {AUDIT, "meets_policy"} or (move is Move.REJECT and reason.startswith("low_")):
        return Stratum.ALONE
    if move is Move.REVIEW and (reason.startswith("unsure_") or reason in BY_HAND):
        return Stratum.ASKED
    return None


def weights(sampled: Iterable[Sampled]) -> dict[Stratum, float]:
    """How many scored examples each labelled one stands for, by stratum.

    Horvitz and Thompson 1952 with the shares that were drawn, which is post-stratification: right
    also where `audit_share` was changed meanwhile or not all that was drawn is decided yet.
    """
    return {one.stratum: one.scored / one.labelled for one in sampled if one.labelled}


def compared(
    verdict: Verdict,
    assessment: Assessment,
    policy: Policy,
    *,
    good: bool,
    weight: float = 1.0,
    given: Mapping[Dimension, float] | None = None,
) -> Compared | None:
    """A person's word beside what the scores alone decide; None where evidence decides."""
    if verdict.failed() or verdict.suspicious():
        return None
    automatic = policy.model_copy(update={"collection": "automatic"})
    values = {d.value: _level(assessment.scores[d].value) for d in Dimension}
    return Compared(
        values | {QUALITY: _level(quality(assessment, policy))},
        decide(verdict, assessment, automatic).move,
        good,
        weight,
        given or {},
    )


def missing(goods: Sequence[bool]) -> str:
    """How many more labels of which kind a calibration needs; empty when there are enough."""
    good = sum(goods)
    lacking = {
        "good": max(0, FEWEST_OF_EACH - good),
        "bad": max(0, FEWEST_OF_EACH - (len(goods) - good)),
    }
    parts = [f"{n} more {name}" for name, n in lacking.items() if n]
    if (rest := FEWEST_LABELS - len(goods) - sum(lacking.values())) > 0:
        parts.append(f"{rest} more of either kind")
    return ", ".join(parts)


def calibrate(items: Sequence[Compared], policy: Policy, *, wanted: float) -> Findings:
    """Everything at once; `items` must be enough (`missing`)."""
    accepts = [one.move is Move.ADMIT for one in items]
    goods = [one.good for one in items]
    counted = [one.weight for one in items]
    limits = limits_of(policy)
    return Findings(
        n=len(items),
        good=sum(goods),
        kappa=kappa(accepts, goods, weights=counted),
        weighted_kappa=weighted_kappa(
            [RANKS[one.move] for one in items], [float(g) for g in goods], power=1, weights=counted
        ),
        alpha=alpha(
            zip(map(float, accepts), map(float, goods), strict=True),
            level="nominal",
            weights=counted,
        ),
        accepted=accepted(items, accepts),
        scales=tuple(_scale(name, items) for name in KNOBS),
        numbers=tuple(_numbers(items)),
        wanted=wanted,
        thresholds=tuple(_thresholds(items, limits, policy, wanted)),
    )


def accepted(items: Sequence[Compared], accepts: Sequence[bool]) -> Accepted:
    """Precision and recall of accepting, weighted; Wilson's interval of the effective number."""
    both = list(zip(items, accepts, strict=True))
    return Accepted(
        sum(accepts),
        share((one.good, one.weight) for one, taken in both if taken),
        share((taken, one.weight) for one, taken in both if one.good),
    )


def limits_of(policy: Policy) -> dict[str, float]:
    """From which value on each number is accepted."""
    lowest = {d.value: max(policy.admit_from.of(d), policy.reject_below.of(d)) for d in Dimension}
    return lowest | {QUALITY: policy.admit_quality}


def meets(one: Compared, limits: Mapping[str, float]) -> bool:
    """Whether every number reaches its limit."""
    return all(one.values[knob] + TINY >= limit for knob, limit in limits.items())


def lowest(
    items: Sequence[Compared], limits: Mapping[str, float], knob: str, wanted: float, *,
    basis: Basis, floor: float = 0.0,
) -> float | None:  # fmt: skip
    """The lowest value of one threshold with which the accepted are good enough; None: no value.

    By the 95 % lower bound of their precision, or by its estimate over at least ten of them.
    """
    others = {name: limit for name, limit in limits.items() if name != knob}
    taken = sorted(
        (one for one in items if meets(one, others) and one.values[knob] + TINY >= floor),
        key=lambda one: -one.values[knob],
    )
    found, good, total, squares = None, 0.0, 0.0, 0.0
    for place, one in enumerate(taken):
        total, good = total + one.weight, good + one.weight * one.good
        squares += one.weight**2
        if place + 1 < len(taken) and taken[place + 1].values[knob] == one.values[knob]:
            continue  # whoever takes this one takes the next, too
        if total and _reached(good / total, total**2 / squares, wanted, basis):
            found = one.values[knob]
    return found


def best(thresholds: Sequence[Threshold]) -> Threshold | None:
    """The one to take: by the lower bound where any is, and of those the one that loses least."""
    certain = [one for one in thresholds if one.basis == "lower bound"]
    return max(
        certain or thresholds,
        key=lambda one: one.held_out.recall.value if one.held_out.recall else 0.0,
        default=None,
    )


def fields(threshold: Threshold, policy: Policy) -> dict[str, object]:
    """What a threshold changes in a policy."""
    if threshold.knob == QUALITY:
        return {"admit_quality": threshold.at}
    return {"admit_from": policy.admit_from.model_dump() | {threshold.knob: threshold.at}}


def _reached(value: float, n: float, wanted: float, basis: Basis) -> bool:
    if basis == "estimate":
        return n + TINY >= FEWEST_ACCEPTED and value + TINY >= wanted
    found = wilson(value * n, n)
    return found is not None and found.low + TINY >= wanted


def _thresholds(
    items: Sequence[Compared], limits: Mapping[str, float], policy: Policy, wanted: float
) -> Iterable[Threshold]:
    bases: tuple[Basis, ...] = ("lower bound", "estimate")
    for knob in KNOBS:
        floor = 0.0 if knob == QUALITY else policy.reject_below.of(knob)
        for basis in bases:
            at = lowest(items, limits, knob, wanted, basis=basis, floor=floor)
            if at is None:
                continue
            accepts = [False] * len(items)
            for held, rest in dealt([one.good for one in items]):
                without = [items[i] for i in rest]
                tried = lowest(without, limits, knob, wanted, basis=basis, floor=floor)
                for place in held if tried is not None else ():
                    accepts[place] = meets(items[place], {**limits, knob: tried or 0.0})
            yield Threshold(knob, limits[knob], basis, at, accepted(items, accepts))
            break


def _scale(name: str, items: Sequence[Compared]) -> Scale:
    points = [Point(one.values[name], one.good, one.weight) for one in items]
    return Scale(
        name, tuple(reliability(points)), expected_error(points), fitted(points), brier(points)
    )


def _numbers(items: Sequence[Compared]) -> Iterable[Numbers]:
    for dimension in Dimension:
        pairs = [
            (one.values[dimension.value], one.given[dimension])
            for one in items
            if dimension in one.given
        ]
        if pairs:
            yield _beside(dimension, pairs)


def _beside(dimension: Dimension, pairs: Sequence[tuple[float, float]]) -> Numbers:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    return Numbers(
        dimension.value,
        len(pairs),
        weighted_kappa(ours, theirs, power=2),
        alpha(pairs, level="interval"),
        fmean(a - b for a, b in pairs),
        fmean(abs(a - b) for a, b in pairs),
    )


def _level(value: float) -> float:
    """Four digits, downwards: thresholds are written by people, scores are stored with seven."""
    return int(value * 1e4 + 1e-2) / 1e4
