"""Is a score what it says? Scores beside outcomes, and the map that makes a score a probability.

One rule: a map is never judged by the examples it was fitted to.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from tdsys.core.agreement import Share, share

BINS = 10
FOLDS = 5
TINY = 1e-6
_NEWTON_STEPS = 100
_SMALLEST_STEP = 1e-10
_RIDGE = 1e-12
_FLAT = 1e-5


class Point(NamedTuple):
    """A score in [0, 1], what a person said of the example, and how much it counts."""

    value: float
    good: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Bin:
    """The points whose score lies from `low` to below `high`; without any there is no share."""

    low: float
    high: float
    n: int
    score: float | None
    good: Share | None


class Straight(BaseModel):
    """The score as it is."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["raw"] = "raw"

    def of(self, value: float) -> float:
        """The probability that an example of this score is good."""
        return value


class Platt(BaseModel):
    """A logistic curve over the score."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["platt"] = "platt"
    slope: float
    intercept: float

    def of(self, value: float) -> float:
        """The probability that an example of this score is good."""
        return _logistic(self.slope * value + self.intercept)


class Isotonic(BaseModel):
    """Steps that never go down, straight between the scores that were seen."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["isotonic"] = "isotonic"
    values: tuple[float, ...]
    shares: tuple[float, ...]

    def of(self, value: float) -> float:
        """The probability that an example of this score is good."""
        right = bisect_left(self.values, value)
        if right == 0 or right == len(self.values):
            return self.shares[min(right, len(self.values) - 1)]
        (x0, x1), (y0, y1) = self.values[right - 1 : right + 1], self.shares[right - 1 : right + 1]
        # No rounding takes it beyond the share that it is on its way to.
        return min(y1, y0 + (y1 - y0) * (value - x0) / (x1 - x0))


Map = Annotated[Straight | Platt | Isotonic, Field(discriminator="kind")]
Fit = Callable[[Sequence[Point]], Straight | Platt | Isotonic]


class Fitted(BaseModel):
    """The map that is best on examples it has not seen, and what it is worth there.

    `before` and `after` are Brier scores of the score as it is and of the map; `after` is of
    held-out examples, the choice between the kinds made anew without them.
    """

    model_config = ConfigDict(frozen=True)

    map: Map
    before: float
    after: float


def reliability(points: Iterable[Point], *, bins: int = BINS) -> list[Bin]:
    """How many of each tenth of the scores are good, with intervals; 1.0 is in the last."""
    held: list[list[Point]] = [[] for _ in range(bins)]
    for point in points:
        held[min(int(point.value * bins + TINY), bins - 1)].append(point)
    return [_bin(index / bins, (index + 1) / bins, inside) for index, inside in enumerate(held)]


def brier(points: Sequence[Point], map_: Straight | Platt | Isotonic | None = None) -> float | None:
    """The mean squared distance between probability and outcome (Brier 1950, for one class)."""
    total = sum(p.weight for p in points)
    read = (map_ or Straight()).of
    lost = sum(p.weight * (read(p.value) - p.good) ** 2 for p in points)
    return lost / total if total > 0 else None


def expected_error(points: Sequence[Point], *, bins: int = BINS) -> float | None:
    """Expected calibration error: mean distance of score and share good over the bins.

    Naeini, Cooper and Hauskrecht 2015; bins of equal width, each counts by its weight.
    """
    total = sum(p.weight for p in points)
    if total <= 0:
        return None
    lost = 0.0
    held: dict[int, list[Point]] = {}
    for point in points:
        held.setdefault(min(int(point.value * bins + TINY), bins - 1), []).append(point)
    for inside in held.values():
        lost += abs(sum(p.weight * (p.value - p.good) for p in inside))
    return lost / total


def platt(points: Sequence[Point]) -> Platt:
    """Platt scaling: Newton's method with backtracking on regularised targets.

    Lin, Lin and Weng, "A note on Platt's probabilistic outputs for support vector machines"
    (Machine Learning 68, 2007); the targets are Platt's (N+ + 1)/(N+ + 2) and 1/(N- + 2).
    """
    levels = _levels(points)
    goods = sum(level.good for level in levels)
    bads = sum(level.bad for level in levels)
    high, low = (goods + 1) / (goods + 2), 1 / (bads + 2)
    rows = [(one.value, one.good + one.bad, one.good * high + one.bad * low) for one in levels]
    slope, intercept = 0.0, math.log((goods + 1) / (bads + 1))
    lost = _log_loss(rows, slope, intercept)
    for _ in range(_NEWTON_STEPS):
        step = _newton(rows, slope, intercept)
        if step is None:
            break
        size = 1.0
        while size >= _SMALLEST_STEP:
            tried = slope + size * step.slope, intercept + size * step.intercept
            found = _log_loss(rows, *tried)
            if found < lost + 1e-4 * size * step.descent:
                (slope, intercept), lost = tried, found
                break
            size /= 2
        else:
            break
    return Platt(slope=slope, intercept=intercept)


def isotonic(points: Sequence[Point]) -> Isotonic:
    """Isotonic regression by pooling adjacent violators (Ayer et al. 1955; Barlow et al. 1972)."""
    blocks: list[tuple[float, float, int]] = []  # good, all, how many levels
    levels = _levels(points)
    for level in levels:
        block = (level.good, level.good + level.bad, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            good, weight, size = blocks.pop()
            block = (good + block[0], weight + block[1], size + block[2])
        blocks.append(block)
    shares = [min(1.0, good / weight) for good, weight, size in blocks for _ in range(size)]
    return Isotonic(values=tuple(one.value for one in levels), shares=tuple(shares))


def straight(_: Sequence[Point]) -> Straight:
    """The score as it is, fitted to nothing."""
    return Straight()


KINDS: tuple[Fit, ...] = (straight, platt, isotonic)


def fitted(points: Sequence[Point]) -> Fitted | None:
    """The best of the three kinds by cross-validation; None unless each fold holds both classes.

    What it is worth is estimated by an outer cross-validation, in which the choice is part of what
    is fitted (nested: Varma and Simon 2006).
    """
    goods = sum(p.good for p in points)
    if min(goods, len(points) - goods) < FOLDS:
        return None
    outer = [(_chosen(rest)(rest), held) for held, rest in folds(points)]
    total = sum(p.weight for p in points)
    after = sum((brier(held, map_) or 0) * sum(p.weight for p in held) for map_, held in outer)
    before = brier(points)
    assert before is not None  # noqa: S101  # there are points
    return Fitted(map=_chosen(points)(points), before=before, after=after / total)


def folds(points: Sequence[Point]) -> list[tuple[list[Point], list[Point]]]:
    """Each fifth with the rest; classes dealt in turn, so that each fold holds both."""
    return [
        ([points[i] for i in held], [points[i] for i in rest])
        for held, rest in dealt([p.good for p in points])
    ]


def dealt(labels: Sequence[bool]) -> list[tuple[list[int], list[int]]]:
    """The places of each fold, and those of the rest, dealt in turn within each class."""
    fold = [0] * len(labels)
    for label in (True, False):
        for turn, place in enumerate(i for i, one in enumerate(labels) if one is label):
            fold[place] = turn % FOLDS
    places = range(len(labels))
    return [
        ([i for i in places if fold[i] == f], [i for i in places if fold[i] != f])
        for f in range(FOLDS)
    ]


def _chosen(points: Sequence[Point]) -> Fit:
    """The kind that loses least on held-out points; the simpler one where they are level."""

    def lost(kind: Fit) -> float:
        return sum(
            (brier(held, kind(rest)) or 0) * sum(p.weight for p in held)
            for held, rest in folds(points)
        )

    return min(KINDS, key=lost)


class _Level(NamedTuple):
    """One score, and the weights of the good and the bad that have it; a mean weight is 1."""

    value: float
    good: float
    bad: float


def _levels(points: Sequence[Point]) -> list[_Level]:
    scale = len(points) / sum(p.weight for p in points)
    held: dict[float, list[float]] = {}
    for point in points:
        held.setdefault(point.value, [0.0, 0.0])[not point.good] += point.weight * scale
    return [_Level(value, *held[value]) for value in sorted(held)]


def _bin(low: float, high: float, inside: list[Point]) -> Bin:
    total = sum(p.weight for p in inside)
    score = sum(p.value * p.weight for p in inside) / total if total > 0 else None
    return Bin(low, high, len(inside), score, share((p.good, p.weight) for p in inside))


class _Step(NamedTuple):
    slope: float
    intercept: float
    descent: float


Rows = Sequence[tuple[float, float, float]]  # score, weight, weight of the targets


def _logistic(z: float) -> float:
    if z >= 0:
        return 1 / (1 + math.exp(-z))
    return math.exp(z) / (1 + math.exp(z))


def _log_loss(rows: Rows, slope: float, intercept: float) -> float:
    lost = 0.0
    for value, weight, target in rows:
        z = slope * value + intercept
        # log(1 + e^z) - t z, written so that nothing overflows.
        lost += weight * (max(z, 0.0) + math.log1p(math.exp(-abs(z)))) - target * z
    return lost


def _newton(rows: Rows, slope: float, intercept: float) -> _Step | None:
    """The next step, None where the gradient is flat."""
    h11 = h22 = _RIDGE
    h21 = g1 = g2 = 0.0
    for value, weight, target in rows:
        p = _logistic(slope * value + intercept)
        bend = weight * p * (1 - p)
        h11, h22, h21 = h11 + value * value * bend, h22 + bend, h21 + value * bend
        away = weight * p - target
        g1, g2 = g1 + value * away, g2 + away
    if abs(g1) < _FLAT and abs(g2) < _FLAT:
        return None
    det = h11 * h22 - h21 * h21
    if det <= 0:
        return None
    along, up = -(h22 * g1 - h21 * g2) / det, -(h11 * g2 - h21 * g1) / det
    return _Step(along, up, g1 * along + g2 * up)
