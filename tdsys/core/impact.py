"""Did following a recommendation help? Pairs of runs that differ in nothing else, compared."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean

from pydantic import BaseModel, ConfigDict, Field

from tdsys.core.comparison import FEWEST_REQUESTS

# Where fewer pairs than this were answered, what is missing could turn what is there.
ANSWERED_SHARE = 0.9
RESAMPLES = 4000
TAIL = 0.025
SEED = 5


class Finding(StrEnum):
    """What the pairs say together."""

    IMPROVED = "improved"
    WORSE = "worse"
    NOTHING_SHOWN = "no difference shown"
    NOT_ENOUGH = "not enough evidence"
    UNANSWERED = "too few answers"


class Impact(BaseModel):
    """Mean scores on the same test items with and without the examples, and the gain.

    `without` is after following the recommendation. The interval is 95 %, by paired bootstrap
    over requests and, where there are several, over seeds.
    """

    model_config = ConfigDict(frozen=True)

    with_: float = Field(serialization_alias="with")
    without: float
    gain: float
    gain_low: float
    gain_high: float
    items: int
    requests: int
    seeds: int
    unanswered: int
    finding: Finding


class Pair(BaseModel):
    """The two runs of one seed: a score for each test item, None without an answer."""

    model_config = ConfigDict(frozen=True)

    with_: tuple[float | None, ...]
    without: tuple[float | None, ...]


def impact(pairs: Sequence[Pair], requests: Sequence[str]) -> Impact | None:
    """What the pairs say; `requests` tells which items ask for the same. None without any score.

    Efron and Tibshirani 1993, chapter 8: pairs stay pairs. Items that ask for the same get the
    same answer, so requests are drawn, not items.
    """
    found: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    missing = 0
    for seed, pair in enumerate(pairs):
        for before, after, request in zip(pair.with_, pair.without, requests, strict=True):
            if before is None or after is None:
                missing += 1
            else:
                found[request][seed].append((before, after))
    if not found:
        return None
    olds, news = (_means(found, side) for side in (0, 1))
    table = [
        {seed: new[seed] - old[seed] for seed in new} for old, new in zip(olds, news, strict=True)
    ]
    low, high = _interval(table, len(pairs))
    return Impact(
        with_=_mean(olds),
        without=_mean(news),
        gain=_mean(table),
        gain_low=low,
        gain_high=high,
        items=len(requests),
        requests=len(table),
        seeds=len(pairs),
        unanswered=missing,
        finding=_finding(
            (low, high),
            asked=len(set(requests)),
            answered=len(table),
            unanswered=missing / (len(pairs) * len(requests)),
        ),
    )


_Table = list[dict[int, float]]


def _means(found: Mapping[str, Mapping[int, list[tuple[float, float]]]], side: int) -> _Table:
    """For each request and seed the mean score of one side."""
    return [
        {seed: fmean(pair[side] for pair in held) for seed, held in by.items()}
        for by in found.values()
    ]


def _mean(table: _Table) -> float:
    return fmean(value for by in table for value in by.values())


def _finding(
    interval: tuple[float, float], *, asked: int, answered: int, unanswered: float
) -> Finding:
    low, high = interval
    # First what asking again would not change.
    if asked < FEWEST_REQUESTS:
        return Finding.NOT_ENOUGH
    if answered < FEWEST_REQUESTS or unanswered > 1 - ANSWERED_SHARE:
        return Finding.UNANSWERED
    if low > 0:
        return Finding.IMPROVED
    return Finding.WORSE if high < 0 else Finding.NOTHING_SHOWN


def _interval(table: Sequence[dict[int, float]], seeds: int) -> tuple[float, float]:
    draw = random.Random(SEED)  # noqa: S311  # the same pairs, the same interval
    means = []
    for _ in range(RESAMPLES):
        chosen = draw.choices(range(seeds), k=seeds)
        rows = draw.choices(table, k=len(table))
        values = [row[seed] for row in rows for seed in chosen if seed in row]
        if values:
            means.append(fmean(values))
    means.sort()
    cut = round(TAIL * len(means))
    return means[cut], means[-1 - cut]
