"""Scores as probabilities: how far off they are, and the maps that mend them."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tdsys.core.reliability import (
    Point,
    brier,
    expected_error,
    fitted,
    folds,
    isotonic,
    platt,
    reliability,
)

VALUE = st.integers(0, 20).map(lambda n: n / 20)
POINTS = st.lists(
    st.builds(Point, VALUE, st.booleans(), st.sampled_from([0.5, 1.0, 3.0])),
    min_size=1,
    max_size=40,
)


def fine(value: float) -> Point:
    return Point(value, good=True)


def bad(value: float) -> Point:
    return Point(value, good=False)


def drawn(count: int, chance: float, *, seed: int = 1) -> list[Point]:
    """Simulated judgements: good with `chance` times the score, so the score promises too much."""
    draw = random.Random(seed)
    values = [draw.randint(0, 10) / 10 for _ in range(count)]
    return [Point(value, draw.random() < chance * value) for value in values]


def test_the_score_of_briers_own_example() -> None:
    # Brier, "Verification of forecasts expressed in terms of probability" (1950): 0.19 for rain
    # and no rain together, which is twice that of rain alone.
    forecast = [0.7, 0.9, 0.8, 0.4, 0.2, 0.0, 0.0, 0.0, 0.0, 0.1]
    rain = [False, True, True, True, False, False, False, False, False, False]
    found = brier([Point(p, o) for p, o in zip(forecast, rain, strict=True)])
    assert found is not None
    assert 2 * found == pytest.approx(0.19)


def test_the_expected_error_is_the_mean_distance_over_the_bins() -> None:
    points = [fine(0.9), bad(0.9), bad(0.15), bad(0.12)]
    assert expected_error(points) == pytest.approx(0.5 * abs(0.9 - 0.5) + 0.5 * 0.135)


@given(POINTS)
def test_every_point_is_in_one_bin_and_the_errors_are_bounded(points: list[Point]) -> None:
    bins = reliability(points)
    assert sum(one.n for one in bins) == len(points)
    for one in bins:
        assert (one.n == 0) is (one.good is None) is (one.score is None)
        if one.score is not None and one.good:
            assert one.low - 1e-9 <= one.score <= one.high + 1e-9
            assert 0 <= one.good.low <= one.good.value <= one.good.high <= 1
    error, lost = expected_error(points), brier(points)
    assert error is not None
    assert lost is not None
    # Jensen: the squared distance of means is never above the mean of squared distances.
    assert 0 <= error <= math.sqrt(lost) + 1e-9 <= 1 + 1e-9


@given(POINTS)
def test_pooling_gives_the_max_min_of_means(points: list[Point]) -> None:
    # The min-max formula (Barlow et al. 1972, theorem 1.4 ff.), computed the slow way.
    found = isotonic(points)
    scale = len(points) / sum(p.weight for p in points)
    good = [sum(p.weight for p in points if p.value == v and p.good) * scale for v in found.values]
    full = [sum(p.weight for p in points if p.value == v) * scale for v in found.values]

    def mean(a: int, b: int) -> float:
        return sum(good[a : b + 1]) / sum(full[a : b + 1])

    n = len(found.values)
    for i in range(n):
        expected = max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1))
        assert found.shares[i] == pytest.approx(expected)


@example(
    [Point(0.0, good=False, weight=3.0), Point(0.0, good=True, weight=0.5),
     Point(0.15, good=True, weight=0.5)], 0.0, 0.15,
)  # fmt: skip
@given(POINTS, VALUE, VALUE)
def test_steps_never_go_down(points: list[Point], a: float, b: float) -> None:
    found = isotonic(points)
    low, high = sorted((a, b))
    assert 0 <= found.of(low) <= found.of(high) + 1e-12
    assert found.of(high) <= 1


@given(POINTS)
def test_the_curve_is_where_no_change_of_it_loses_less(points: list[Point]) -> None:
    found = platt(points)
    scale = len(points) / sum(p.weight for p in points)
    goods = sum(p.weight for p in points if p.good) * scale
    bads = sum(p.weight for p in points if not p.good) * scale
    high, low = (goods + 1) / (goods + 2), 1 / (bads + 2)
    away = [(found.of(p.value) - (high if p.good else low)) * p.weight * scale for p in points]
    assert sum(away) == pytest.approx(0, abs=1e-4)
    assert sum(a * p.value for a, p in zip(away, points, strict=True)) == pytest.approx(0, abs=1e-4)


def test_of_two_scores_the_curve_gives_each_its_mean_target() -> None:
    # Two parameters and two scores: the optimum is known in closed form.
    points = [bad(0)] * 8 + [fine(0)] * 2 + [fine(1)] * 9 + [bad(1)]
    found = platt(points)
    high, low = 12 / 13, 1 / 11
    assert found.of(0) == pytest.approx((2 * high + 8 * low) / 10, abs=1e-4)
    assert found.of(1) == pytest.approx((9 * high + low) / 10, abs=1e-4)


@given(POINTS)
def test_folds_divide_all_points_and_share_the_classes(points: list[Point]) -> None:
    found = folds(points)
    held = [id(p) for one, _ in found for p in one]
    assert sorted(held) == sorted(id(p) for p in points)
    assert all(len(one) + len(rest) == len(points) for one, rest in found)
    goods = [sum(p.good for p in one) for one, _ in found]
    assert max(goods) - min(goods) <= 1


def test_a_map_mends_scores_that_promise_too_much_on_examples_it_has_not_seen() -> None:
    found = fitted(drawn(400, 0.5))
    assert found
    assert found.map.kind != "raw"
    assert found.after < found.before - 0.05
    fresh = drawn(4000, 0.5, seed=2)
    seen = brier(fresh, found.map)
    assert seen == pytest.approx(found.after, abs=0.03)
    assert found.map.of(1.0) == pytest.approx(0.5, abs=0.12)


def test_scores_that_are_right_are_left_nearly_as_they_are() -> None:
    found = fitted(drawn(400, 1.0))
    assert found
    assert found.after == pytest.approx(found.before, abs=0.02)
    assert abs(found.map.of(0.8) - 0.8) < 0.1


def test_chance_is_not_called_an_improvement() -> None:
    # Scores that say nothing about 40 examples: on held-out ones no map may look better than
    # knowing the share of good ones, whatever it gains where it was fitted.
    gains = []
    for seed in range(20):
        draw = random.Random(seed)
        points = [Point(draw.randint(0, 10) / 10, n % 2 == 0) for n in range(40)]
        found = fitted(points)
        assert found
        gains.append(0.25 - found.after)
    assert sum(gains) / len(gains) < 0.005


def test_with_too_few_of_a_class_there_is_no_map() -> None:
    assert fitted([Point(0.5, n < 4) for n in range(50)]) is None
    assert brier([]) is None
    assert expected_error([]) is None
