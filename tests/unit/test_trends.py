"""Where the means of days change, and how even cells are."""

from __future__ import annotations

import random
import statistics
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.example import Cell
from tdsys.core.trends import Moments, balance, shifts

DAY = date(2026, 1, 1)
numbers = st.lists(st.floats(0, 1), max_size=30)


def moments(values: list[float]) -> Moments:
    mean = statistics.fmean(values) if values else 0.0
    return Moments(len(values), mean, sum((v - mean) ** 2 for v in values))


def series(rng: random.Random, means: list[float], a_day: int = 40) -> list[tuple[date, Moments]]:
    return [
        (DAY + timedelta(n), moments([min(1, max(0, rng.gauss(mean, 0.15))) for _ in range(a_day)]))
        for n, mean in enumerate(means)
    ]


@given(numbers, numbers)
def test_moments_add_up_as_if_all_were_counted_together(a: list[float], b: list[float]) -> None:
    both, each = moments(a + b), moments(a) + moments(b)
    assert each.n == both.n
    assert each.mean == pytest.approx(both.mean, abs=1e-9)
    assert each.squares == pytest.approx(both.squares, abs=1e-7)


def test_a_drop_is_found_on_its_day_with_the_means_of_both_sides() -> None:
    found = shifts("accuracy", series(random.Random(1), [0.8] * 20 + [0.6] * 10))
    (one,) = found
    assert one.day == DAY + timedelta(20)
    assert (one.before, one.after) == pytest.approx((0.8, 0.6), abs=0.03)
    assert one.by < 0
    assert one.n == 400


def test_a_drop_that_recovers_is_two_changes_each_measured_against_its_neighbours() -> None:
    means = [0.8] * 20 + [0.5] * 5 + [0.75] * 20
    down, up = shifts("coherence", series(random.Random(2), means))
    assert (down.day, up.day) == (DAY + timedelta(20), DAY + timedelta(25))
    assert down.after == up.before
    assert up.after == pytest.approx(0.75, abs=0.03)


def test_without_a_change_hardly_one_look_in_a_hundred_tells_of_one() -> None:
    """And even of those only what matters, so none in two hundred here."""
    rng = random.Random(3)
    alarms = sum(bool(shifts("accuracy", series(rng, [0.7] * 60))) for _ in range(200))
    assert alarms <= 4


def test_a_sure_change_of_no_consequence_is_none() -> None:
    assert not shifts("accuracy", series(random.Random(4), [0.7] * 20 + [0.73] * 20, 2000))


def test_with_few_scores_nothing_is_said() -> None:
    assert not shifts("accuracy", series(random.Random(5), [0.9] * 5 + [0.2] * 5, 2))
    assert not shifts("accuracy", [])


def test_scores_without_any_spread_change_for_certain() -> None:
    days = [(DAY + timedelta(n), Moments(40, 0.5 if n < 3 else 0.9, 0.0)) for n in range(6)]
    (one,) = shifts("relevance", days)
    assert one.day == DAY + timedelta(3)


cells = [Cell(topic, level) for topic in "abc" for level in ("easy", "hard")]


@given(st.lists(st.integers(0, 50), min_size=6, max_size=6))
def test_balance_is_one_where_all_wanted_are_even_and_less_elsewhere(held: list[int]) -> None:
    found = balance(dict(zip(cells, held, strict=True)), cells)
    if not sum(held):
        assert found is None
    else:
        assert found is not None
        assert 0 <= found <= 1 + 1e-9
        assert (found > 1 - 1e-9) == (len(set(held)) == 1)


def test_an_empty_wanted_cell_counts_and_an_unwanted_one_does_not() -> None:
    assert balance({cells[0]: 9}, cells[:2]) == 0
    assert balance({cells[0]: 9, cells[1]: 9, cells[2]: 99}, cells[:2]) == pytest.approx(1)
    assert balance({cells[0]: 9}, cells[:1]) is None
