"""Is one program better than another on the same items? Paired, with intervals."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

RESAMPLES = 2000
SEED = 20_261_122


class Comparison(BaseModel):
    """Mean scores before and after on the same items, each interval 95 %."""

    model_config = ConfigDict(frozen=True)

    items: int
    before: float
    after: float
    after_low: float
    after_high: float
    gain: float
    gain_low: float
    gain_high: float

    @property
    def is_better(self) -> bool:
        """Whether the whole interval of the gain lies above zero."""
        return self.gain_low > 0


def compare(before: Sequence[float], after: Sequence[float]) -> Comparison:
    """Compare two programs item by item; percentile bootstrap over items (Efron 1979)."""
    gains = [b - a for a, b in zip(before, after, strict=True)]
    after_low, after_high = interval(after)
    gain_low, gain_high = interval(gains)
    return Comparison(
        items=len(gains),
        before=fmean(before),
        after=fmean(after),
        after_low=after_low,
        after_high=after_high,
        gain=fmean(gains),
        gain_low=gain_low,
        gain_high=gain_high,
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of a mean; seeded, so the same for the same values."""
    draw = random.Random(SEED)  # noqa: S311  # resampling, not secrecy
    means = sorted(fmean(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]
