"""Does a judge still agree with people as it did when it was calibrated? Tests, not impressions.

One rule: with too few examples nothing is said, neither that it drifts nor that it does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from tdsys.core.agreement import Kappa, Share

FEWEST_SCORES = 100
FEWEST_LABELS = 30
# One look in a hundred may err; a look that errs is over when the next one looks.
DOUBT = 0.01
# Siddiqi, "Credit Risk Scorecards" (2006): from here on a population has shifted.
SHIFTED = 0.25


def stability_index(before: Sequence[int], after: Sequence[int]) -> float | None:
    """The population stability index of two histograms: sum of (q - p) ln(q / p).

    Half a count is added to each bin, so that an empty one does not make it infinite (Jeffreys'
    prior). It is the symmetric Kullback-Leibler divergence, 0 where the two are alike.
    """
    if not sum(before) or not sum(after):
        return None
    p, q = _smoothed(before), _smoothed(after)
    return sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))


def chance_limit(before: Sequence[int], after: Sequence[int]) -> float:
    """What the index of two samples of one population stays below, but for one in a hundred.

    It is (1/n + 1/m) times a chi-squared with a degree of freedom less than there are bins
    (Yurdakul and Naranjo 2020); the quantile is Wilson and Hilferty's (1931).
    """
    bins = sum(1 for a, b in zip(before, after, strict=True) if a or b)
    freedom = max(1, bins - 1)
    z = NormalDist().inv_cdf(1 - DOUBT)
    quantile = freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3
    return quantile * (1 / sum(before) + 1 / sum(after))


def shifted(before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]]) -> list[str]:
    """The dimensions whose scores are spread otherwise now, each with its index, as sentences."""
    found = []
    for dimension, old in before.items():
        new = after.get(dimension, [])
        if min(sum(old), sum(new)) < FEWEST_SCORES:
            continue
        index = stability_index(old, new)
        if index is not None and index > max(SHIFTED, chance_limit(old, new)):
            found.append(f"scores of {dimension} are spread otherwise, stability index {index:.2f}")
    return found


def less_agreement(before: Kappa | None, now: Kappa | None) -> str:
    """A sentence where kappa fell by more than chance brings (one-sided z-test); else empty."""
    if before is None or now is None or now.n < FEWEST_LABELS:
        return ""
    error = math.hypot(before.error, now.error)
    if before.value - now.value <= NormalDist().inv_cdf(1 - DOUBT) * error:
        return ""
    return f"agreement with people fell: kappa {before.value:.2f} then, {now.value:.2f} now"


def less_precise(before: Share | None, now: Share | None) -> str:
    """A sentence where the share of good among the accepted fell by more than chance; else empty.

    Pooled two-proportion z-test, one-sided, with the effective numbers.
    """
    if before is None or now is None or now.n < FEWEST_LABELS:
        return ""
    n, m = before.n, now.n
    pooled = (before.value * n + now.value * m) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if before.value - now.value <= NormalDist().inv_cdf(1 - DOUBT) * error:
        return ""
    return f"less of what it accepts is good: {before.value:.0%} then, {now.value:.0%} now"


def _smoothed(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + len(counts) / 2
    return [(n + 0.5) / total for n in counts]
