"""How far raters agree beyond what chance alone would bring; pure arithmetic.

One rule: None stands for "cannot be said" (nothing rated, or nothing that varies), never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, fmean
from typing import Literal, TypeVar

H = TypeVar("H", bound=Hashable)
Crossed = Mapping[tuple[H, H], float]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval; `n` is the (effective) number it rests on."""

    value: float
    low: float
    high: float
    n: float


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance, 1 at most, with its standard error and 95 % interval."""

    value: float
    error: float
    low: float
    high: float
    n: float


@dataclass(frozen=True)
class Raters:
    """How far several people agree about the same items.

    `items` were rated by two or more; `kappa` exists for exactly two raters only.
    """

    raters: int
    items: int
    agreed: float
    alpha: float | None
    kappa: float | None


def z_of(confidence: float) -> float:
    """How many standard errors a two-sided interval of that confidence reaches."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def effective(weights: Iterable[float]) -> float:
    """How many equal weights say as much as these (Kish 1965: (sum w)^2 / sum w^2); 0 of none."""
    listed = list(weights)
    squares = sum(w * w for w in listed)
    return sum(listed) ** 2 / squares if squares else 0.0


def wilson(successes: float, n: float, *, confidence: float = CONFIDENCE) -> Share | None:
    """A share with Wilson's score interval (Wilson 1927; Newcombe 1998, method 3)."""
    if n <= 0:
        return None
    z, p = z_of(confidence), min(successes / n, 1.0)
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (middle - half) / scale, (middle + half) / scale
    # Exact at the ends, where rounding would put the share outside its own interval.
    return Share(p, max(0.0, min(low, p)), min(1.0, max(high, p)), n)


def share(hits: Iterable[tuple[bool, float]]) -> Share | None:
    """The weighted share of hits, its interval that of the effective number; None of nothing."""
    listed = list(hits)
    total = sum(weight for _, weight in listed)
    if total <= 0:
        return None
    n = effective(weight for _, weight in listed)
    return wilson(sum(weight for hit, weight in listed if hit) / total * n, n)


def kappa(
    first: Sequence[H], second: Sequence[H], *, weights: Sequence[float] | None = None
) -> Kappa | None:
    """Cohen's kappa of two raters over the same items (Cohen 1960), nominal.

    The standard error is that of Fleiss, Cohen and Everitt (1969) for the effective
    number of items where they weigh differently.
    """
    table = _crossed(first, second, weights)
    value = _chance_corrected(table, lambda a, b: float(a != b))
    if value is None:
        return None
    n = effective(weights if weights is not None else [1.0] * len(first))
    error = _error(table, n)
    half = z_of(CONFIDENCE) * error
    return Kappa(value, error, max(-1.0, value - half), min(1.0, value + half), n)


def weighted_kappa(
    first: Sequence[float],
    second: Sequence[float],
    *,
    power: Literal[1, 2],
    weights: Sequence[float] | None = None,
) -> float | None:
    """Weighted kappa (Cohen 1968): a disagreement counts by its distance, linear or squared."""
    return _chance_corrected(_crossed(first, second, weights), lambda a, b: abs(a - b) ** power)


def alpha(
    items: Iterable[Sequence[float | None]],
    *,
    level: Literal["nominal", "interval"],
    weights: Sequence[float] | None = None,
) -> float | None:
    """Krippendorff's alpha of any number of raters, None where one did not rate.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): 1 - D_o / D_e, with each
    item's pairs divided by its number of ratings less one. An item that weighs two counts as if it
    were there twice; a mean weight is made 1.
    """
    far = _nominal if level == "nominal" else _interval
    rated = [[v for v in item if v is not None] for item in items]
    given = weights if weights is not None else [1.0] * len(rated)
    pairable = [(v, w) for v, w in zip(rated, given, strict=True) if len(v) > 1 and w > 0]
    if not pairable:
        return None
    scale = len(pairable) / sum(weight for _, weight in pairable)
    everything: dict[float, float] = {}
    observed = 0.0
    for values, weight in pairable:
        for value in values:
            everything[value] = everything.get(value, 0.0) + weight * scale
        observed += weight * scale * _distances(Counter(values), far) / (len(values) - 1)
    n = sum(everything.values())
    expected = _distances(everything, far) / (n - 1)
    return 1 - observed / expected if expected > 0 else None


def between(items: Sequence[Sequence[float | None]]) -> Raters | None:
    """How far people agree, from a table with a row per item and a column per rater.

    `agreed` is the mean share of pairs of people with the same word on an item. None when no item
    was rated twice.
    """
    shared = [row for row in items if sum(v is not None for v in row) > 1]
    if not shared:
        return None
    columns = [c for c in zip(*shared, strict=True) if any(v is not None for v in c)]
    pairs = [list(combinations([v for v in row if v is not None], 2)) for row in shared]
    two = kappa(columns[0], columns[1]) if len(columns) == 2 else None  # noqa: PLR2004
    return Raters(
        raters=len(columns),
        items=len(shared),
        agreed=fmean(fmean(float(a == b) for a, b in row) for row in pairs),
        alpha=alpha(shared, level="nominal"),
        kappa=two.value if two else None,
    )


def _crossed(
    first: Sequence[H], second: Sequence[H], weights: Sequence[float] | None
) -> dict[tuple[H, H], float]:
    """The shares of each pair of ratings; empty of nothing."""
    given = weights if weights is not None else [1.0] * len(first)
    total = sum(given)
    found: dict[tuple[H, H], float] = {}
    for a, b, weight in zip(first, second, given, strict=True):
        found[a, b] = found.get((a, b), 0.0) + weight / total
    return found


def _margins(table: Crossed[H]) -> tuple[dict[H, float], dict[H, float]]:
    rows: dict[H, float] = {}
    columns: dict[H, float] = {}
    for (a, b), part in table.items():
        rows[a] = rows.get(a, 0.0) + part
        columns[b] = columns.get(b, 0.0) + part
    return rows, columns


def _chance_corrected(table: Crossed[H], far: Callable[[H, H], float]) -> float | None:
    rows, columns = _margins(table)
    expected = sum(p * q * far(a, b) for a, p in rows.items() for b, q in columns.items())
    observed = sum(part * far(a, b) for (a, b), part in table.items())
    return 1 - observed / expected if expected > 0 else None


def _error(table: Crossed[H], n: float) -> float:
    rows, columns = _margins(table)
    agreed = sum(part for (a, b), part in table.items() if a == b)
    chance = sum(p * columns.get(a, 0.0) for a, p in rows.items())

    def term(a: H, b: H) -> float:
        # The marginals the other way round: the column of the row's category, and its converse.
        both = columns.get(a, 0.0) + rows.get(b, 0.0)
        return ((1 - chance) * (a == b) - both * (1 - agreed)) ** 2

    spread = sum(part * term(a, b) for (a, b), part in table.items())
    rest = (agreed * chance - 2 * chance + agreed) ** 2
    return math.sqrt(max(0.0, spread - rest) / n) / (1 - chance) ** 2


def _distances(counted: Mapping[float, float], far: Callable[[float, float], float]) -> float:
    """Summed over all ordered pairs of ratings."""
    pairs = combinations(counted.items(), 2)
    return 2 * sum(n * m * far(a, b) for (a, n), (b, m) in pairs)


def _nominal(a: float, b: float) -> float:
    return float(a != b)


def _interval(a: float, b: float) -> float:
    return (a - b) ** 2
