"""Before and after on the same items."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.comparison import compare, interval

values = st.lists(st.floats(0, 1), min_size=5, max_size=40)


@given(values)
def test_a_program_is_never_better_than_itself(scores: list[float]) -> None:
    same = compare(scores, scores)
    assert same.gain == same.gain_low == same.gain_high == 0
    assert not same.is_better


@given(values)
def test_an_interval_holds_its_mean_and_stays_in_range(scores: list[float]) -> None:
    low, high = interval(scores)
    assert min(scores) - 1e-9 <= low <= high <= max(scores) + 1e-9
    assert low - 0.05 <= sum(scores) / len(scores) <= high + 0.05


def test_a_clear_gain_is_better_and_noise_is_not() -> None:
    assert compare([0.2, 0.3, 0.1, 0.4] * 6, [0.8, 0.9, 0.7, 1.0] * 6).is_better
    assert not compare([0.2, 0.9, 0.1, 0.8] * 3, [0.9, 0.2, 0.8, 0.2] * 3).is_better


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw = random.Random(1)
    inside = 0
    for _ in range(60):
        low, high = interval([draw.random() for _ in range(40)])
        inside += low <= 0.5 <= high
    assert inside >= 52
