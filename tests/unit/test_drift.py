"""When a judge is said to drift: more than chance brings, over enough examples, never else."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.agreement import Kappa, Share, kappa, wilson
from tdsys.core.drift import (
    chance_limit,
    less_agreement,
    less_precise,
    shifted,
    stability_index,
)

COUNTS = st.lists(st.integers(0, 300), min_size=10, max_size=10)


def agreed(n: int, wrong: int) -> Kappa | None:
    first = [i % 2 for i in range(n)]
    return kappa(first, [1 - v if i < wrong else v for i, v in enumerate(first)])


def test_the_index_is_the_sum_of_its_definition() -> None:
    # 100 of each in two bins: (0.9 - 0.5) ln(0.9 / 0.5) + (0.1 - 0.5) ln(0.1 / 0.5)
    expected = 0.4 * math.log(0.9 / 0.5) - 0.4 * math.log(0.1 / 0.5)
    found = stability_index([5000, 5000], [9000, 1000])
    assert found == pytest.approx(expected, abs=1e-3)


@given(COUNTS, COUNTS)
def test_the_index_is_symmetric_and_zero_only_where_both_are_alike(
    before: list[int], after: list[int]
) -> None:
    found = stability_index(before, after)
    assert (found is None) is (not sum(before) or not sum(after))
    if found is not None:
        assert found == pytest.approx(stability_index(after, before))
        assert found >= 0
        assert stability_index(before, before) == 0


def test_samples_of_one_population_stay_below_the_limit_of_chance() -> None:
    draw = random.Random(7)

    def sample() -> list[int]:
        found = [0] * 10
        for _ in range(120):
            found[min(9, int(draw.betavariate(4, 2) * 10))] += 1
        return found

    above = 0
    for _ in range(400):
        before, after = sample(), sample()
        index = stability_index(before, after)
        above += index is not None and index > chance_limit(before, after)
    assert above <= 12  # 4 expected


def test_scores_that_are_spread_otherwise_are_named() -> None:
    before = {"accuracy": [0, 0, 0, 0, 0, 0, 10, 20, 70, 100], "coherence": [0] * 9 + [200]}
    after = {"accuracy": [0, 0, 0, 80, 60, 30, 10, 10, 5, 5], "coherence": [0] * 9 + [200]}
    (told,) = shifted(before, after)
    assert "accuracy" in told
    assert shifted(before, before) == []
    few = {"accuracy": [9] * 10}
    assert shifted(before, few) == []


def test_less_agreement_is_told_only_beyond_chance_and_with_enough_labels() -> None:
    before = agreed(200, 10)
    assert "0.90 then, 0.40 now" in less_agreement(before, agreed(60, 18))
    assert less_agreement(before, agreed(60, 5)) == ""
    assert less_agreement(before, agreed(29, 20)) == ""
    assert less_agreement(before, agreed(200, 0)) == ""
    assert less_agreement(None, agreed(60, 18)) == ""
    assert less_agreement(before, None) == ""


def test_less_precision_is_told_only_beyond_chance_and_with_enough_labels() -> None:
    before = wilson(190, 200)
    assert "95% then, 75% now" in less_precise(before, wilson(30, 40))
    assert less_precise(before, wilson(37, 40)) == ""
    assert less_precise(before, wilson(10, 20)) == ""
    assert less_precise(before, wilson(40, 40)) == ""
    assert less_precise(None, wilson(30, 40)) == ""


@given(st.integers(30, 300), st.data())
def test_who_agrees_as_before_never_drifts(n: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, n // 2))
    same = agreed(n, wrong)
    assert less_agreement(same, same) == ""
    found: Share | None = wilson(n - wrong, n)
    assert less_precise(found, found) == ""
