"""Before and after on the same items."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.comparison import compare, interval

values = st.lists(st.floats(0, 1), min_size=5, max_size=40)


def apart(scores: list[float]) -> list[str]:
    """Every item asks for something of its own."""
    return [str(n) for n in range(len(scores))]


@given(values)
def test_a_program_is_never_better_than_itself(scores: list[float]) -> None:
    same = compare(scores, scores, apart(scores))
    assert same.gain == same.gain_low == same.gain_high == 0
    assert not same.is_better


@given(values)
def test_an_interval_holds_its_mean(scores: list[float]) -> None:
    low, high = interval(scores)
    assert low - 1e-9 <= sum(scores) / len(scores) <= high + 1e-9


def test_a_clear_gain_is_better_and_noise_is_not() -> None:
    worse, better = [0.2, 0.3, 0.1, 0.4] * 6, [0.8, 0.9, 0.7, 1.0] * 6
    assert compare(worse, better, apart(worse)).is_better
    noise, other = [0.2, 0.9, 0.1, 0.8] * 3, [0.9, 0.2, 0.8, 0.2] * 3
    assert not compare(noise, other, apart(noise)).is_better


def test_items_that_ask_for_the_same_count_once() -> None:
    before, after = [0.1, 0.2, 0.3] * 8, [0.9, 0.1, 0.5] * 8
    repeated = compare(before, after, ["a", "b", "c"] * 8)
    assert (repeated.items, repeated.requests) == (24, 3)
    assert not repeated.is_better
    once = compare(before[:3], after[:3], ["a", "b", "c"])
    assert (repeated.gain_low, repeated.gain_high) == (once.gain_low, once.gain_high)


@given(values, values, st.floats(0, 1), st.floats(0, 1))
def test_who_beats_a_margin_beats_every_smaller_one_and_never_loses(
    before: list[float], after: list[float], margin: float, other: float
) -> None:
    size = min(len(before), len(after))
    found = compare(before[:size], after[:size], apart(before[:size]))
    if found.beats(margin):
        assert found.beats(min(margin, other))
        assert found.gain > margin
        assert not found.loses()
    assert found.beats(0) == found.is_better


@pytest.mark.parametrize("size", [6, 10, 40])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(size: int) -> None:
    draw = random.Random(1)
    inside = 0
    for _ in range(400):
        low, high = interval([draw.random() for _ in range(size)])
        inside += low <= 0.5 <= high
    assert inside >= 0.925 * 400
