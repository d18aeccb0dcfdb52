"""Is one program better than another on the same items? Paired, with intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from pydantic import BaseModel, ConfigDict

FEWEST_REQUESTS = 5


class Comparison(BaseModel):
    """Mean scores before and after on the same items, each interval 95 %.

    `requests` counts the distinct requests among the items: items that ask for the same get
    the same answer, so only distinct ones count as independent.
    """

    model_config = ConfigDict(frozen=True)

    items: int
    requests: int
    before: float
    after: float
    after_low: float
    after_high: float
    gain: float
    gain_low: float
    gain_high: float

    @property
    def is_better(self) -> bool:
        """Whether the whole interval of the gain lies above zero, over enough requests."""
        return self.beats(0)

    def beats(self, margin: float) -> bool:
        """Whether the whole interval of the gain lies above a margin, over enough requests.

        A paired t-test of the gains per request, one-sided at 2.5 %, of a gain above the margin.
        """
        return self.gain_low > margin and self.requests >= FEWEST_REQUESTS

    def loses(self) -> bool:
        """Whether the whole interval of the gain lies below zero."""
        return self.gain_high < 0


def compare(before: Sequence[float], after: Sequence[float], requests: Sequence[str]) -> Comparison:
    """Compare two programs item by item; `requests` tells which items ask for the same."""
    gains = [b - a for a, b in zip(before, after, strict=True)]
    after_low, after_high = interval(_means(after, requests))
    gain_low, gain_high = interval(_means(gains, requests))
    return Comparison(
        items=len(gains),
        requests=len(set(requests)),
        before=fmean(_means(before, requests)),
        after=fmean(_means(after, requests)),
        after_low=max(0.0, after_low),
        after_high=min(1.0, after_high),
        gain=fmean(_means(gains, requests)),
        gain_low=max(-1.0, gain_low),
        gain_high=min(1.0, gain_high),
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a mean by Student's t; of a single value, everything."""
    if len(values) < 2:  # noqa: PLR2004  # one value says nothing about spread
        return -math.inf, math.inf
    mean = fmean(values)
    half = _student(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def _means(values: Sequence[float], requests: Sequence[str]) -> list[float]:
    by_request: dict[str, list[float]] = defaultdict(list)
    for value, request in zip(values, requests, strict=True):
        by_request[request].append(value)
    return [fmean(group) for group in by_request.values()]


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5; within 1 % from 4 on)."""
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
