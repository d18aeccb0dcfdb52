"""How a domain's examples change over time, day by day, and where a change is no chance.

One rule: a change is told only if chance would make none like it in a hundred looks, and if it is
large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

from tdsys.core.example import Cell

# On each side of a change; with fewer scores nothing is said.
FEWEST_SCORES = 30
DOUBT = 0.01
# A twentieth of the scale: less is of no consequence, however sure one may be of it.
MATTERS = 0.05


class Moments(NamedTuple):
    """The numbers of one day: how many, their mean, and the sum of squares around it."""

    n: int
    mean: float
    squares: float

    def __add__(self, other: object) -> Moments:
        """Of both together (Chan, Golub and LeVeque 1979, for pairs of samples)."""
        if not isinstance(other, Moments):
            return NotImplemented
        n = self.n + other.n
        if not n:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * other.n / n
        squares = self.squares + other.squares + apart * apart * self.n * other.n / n
        return Moments(n, mean, squares)

    @property
    def variance(self) -> float:
        """Of the population, as far as the sample tells."""
        return self.squares / (self.n - 1) if self.n > 1 else 0.0


NOTHING = Moments(0, 0.0, 0.0)


class Shift(NamedTuple):
    """From `day` on the scores of a dimension have another mean."""

    dimension: str
    day: date
    before: float
    after: float
    n: int

    @property
    def by(self) -> float:
        """How much higher they are; below 0: lower."""
        return self.after - self.before


class Day(NamedTuple):
    """A domain at the end of a day: `scores` are of that day, the rest is all there was then."""

    day: date
    states: Mapping[str, int]
    sources: Mapping[str, int]
    cells: Mapping[Cell, int]
    scores: Mapping[str, Moments]


def shifts(dimension: str, days: Sequence[tuple[date, Moments]]) -> list[Shift]:
    """Every change of the mean, the oldest first, by binary segmentation (Scott and Knott 1974).

    Each split of a piece is a Welch test; of a piece with k splits the best one counts if its
    p-value is below `DOUBT` / k (Bonferroni).
    """
    held = [(day, one) for day, one in days if one.n]
    place = _best_split([one for _, one in held])
    if place is None:
        return []
    early, late = held[:place], held[place:]
    found = [*shifts(dimension, early), *shifts(dimension, late)]
    before, after = (_together(one for _, one in side) for side in (early, late))
    here = Shift(dimension, held[place][0], before.mean, after.mean, after.n)
    return _remeasured(dimension, held, sorted([*found, here], key=lambda one: one.day))


def changes(days: Sequence[Day]) -> list[Shift]:
    """Where the scores of each dimension changed, the newest change first."""
    names = sorted({name for one in days for name in one.scores})
    found = [
        shift
        for name in names
        for shift in shifts(
            name, [(one.day, one.scores[name]) for one in days if name in one.scores]
        )
    ]
    return sorted(found, key=lambda one: one.day, reverse=True)


def balance(cells: Mapping[Cell, int], wanted: Sequence[Cell]) -> float | None:
    """How even the wanted cells are filled, of 0 to 1; None for fewer than two, or no example.

    The entropy of their shares over that of equal ones: an empty cell counts.
    """
    held = [cells.get(cell, 0) for cell in wanted]
    total = sum(held)
    if len(held) < 2 or not total:  # noqa: PLR2004  # nothing to compare
        return None
    shares = [n / total for n in held if n]
    return max(0.0, -sum(share * math.log(share) for share in shares)) / math.log(len(held))


def _best_split(parts: Sequence[Moments]) -> int | None:
    """Where the two sides differ most, if by no chance and by enough to matter."""
    total = _together(parts)
    before, best, strength = NOTHING, None, 0.0
    tried = 0
    for place in range(1, len(parts)):
        before += parts[place - 1]
        if min(before.n, total.n - before.n) < FEWEST_SCORES:
            continue
        tried += 1
        after = _without(total, before)
        found = _strength(before, after)
        if found > strength and abs(after.mean - before.mean) >= MATTERS:
            best, strength = place, found
    if best is None or strength < NormalDist().inv_cdf(1 - DOUBT / tried / 2):
        return None
    return best


def _strength(before: Moments, after: Moments) -> float:
    """Welch's statistic, absolute; sides without any spread differ for certain or not at all."""
    error = math.sqrt(before.variance / before.n + after.variance / after.n)
    apart = abs(after.mean - before.mean)
    return apart / error if error else math.inf * apart if apart else 0.0


def _without(total: Moments, part: Moments) -> Moments:
    """What is left of them when a part is taken away."""
    n = total.n - part.n
    mean = (total.mean * total.n - part.mean * part.n) / n
    apart = part.mean - mean
    squares = total.squares - part.squares - apart * apart * n * part.n / total.n
    return Moments(n, mean, max(0.0, squares))


def _together(parts: Iterable[Moments]) -> Moments:
    return sum(parts, start=NOTHING)


def _remeasured(
    dimension: str, days: Sequence[tuple[date, Moments]], found: Sequence[Shift]
) -> list[Shift]:
    """The same changes, each with the means of the pieces beside it and no farther."""
    edges = [date.min, *(one.day for one in found), date.max]
    pieces = [
        _together(one for day, one in days if low <= day < high) for low, high in pairwise(edges)
    ]
    return [
        Shift(dimension, one.day, pieces[i].mean, pieces[i + 1].mean, pieces[i + 1].n)
        for i, one in enumerate(found)
    ]
