"""Is the program that is served worse than it was, or than the one before it? Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tdsys.core.comparison import FEWEST_REQUESTS, Comparison, compare

BEFORE_IT = "the program that was active before it"
ITSELF = "itself when it was made"


class Regression(NamedTuple):
    """How the active program did against something, on the same items; the interval is 95 %."""

    against: str
    gain: float
    low: float
    high: float
    requests: int

    @property
    def is_certain(self) -> bool:
        """Whether the whole interval lies below zero, over enough requests."""
        return self.high < 0 and self.requests >= FEWEST_REQUESTS


def again(
    then: Mapping[str, float], now: Sequence[tuple[str, float | None, str]]
) -> Comparison | None:
    """A program's earlier scores beside its new ones, each with item and request.

    On the items that have both; None where there are none.
    """
    both = [
        (then[uid], value, request)
        for uid, value, request in now
        if value is not None and uid in then
    ]
    if not both:
        return None
    olds, news, asked = zip(*both, strict=True)
    return compare(olds, news, asked)


def regression(against: str, found: Comparison, *, turned: bool = False) -> Regression:
    """A comparison as a word about the active program; `turned`: it was the one of before."""
    if turned:
        return Regression(against, -found.gain, -found.gain_high, -found.gain_low, found.requests)
    return Regression(against, found.gain, found.gain_low, found.gain_high, found.requests)
