"""What a run will cost, known before it starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.budget import PRESETS, choose, evaluations, in_flight, plan, planned
from tdsys.core.policy import Policy
from tdsys.core.program import Auto, Method

METHODS: tuple[Method, ...] = ("miprov2", "random_search", "gepa")


@given(
    st.integers(1, 2000), st.integers(1, 2000), st.sampled_from(sorted(PRESETS)), st.integers(1, 3)
)
def test_a_plan_grows_with_its_data_and_respects_the_caps(
    n_train: int, n_val: int, auto: Auto, predictors: int
) -> None:
    planned = plan(n_train, n_val, auto, predictors=predictors)
    larger = plan(n_train + 1, n_val, auto, predictors=predictors)
    assert planned.validated_on == min(n_val, PRESETS[auto].validated_at_most)
    assert planned.calls_at_most <= larger.calls_at_most
    assert planned.evaluation_calls >= planned.validated_on * predictors
    assert planned.minibatch == (planned.validated_on > 50)


@pytest.mark.parametrize(
    ("auto", "n_val", "calls"),
    [
        ("light", 48, 528),
        ("light", 100, 650),
        ("medium", 48, 912),
        ("medium", 300, 2130),
        ("heavy", 48, 1344),
        ("heavy", 1000, 7945),
    ],
)
def test_the_plan_gives_the_numbers_that_were_measured(auto: Auto, n_val: int, calls: int) -> None:
    assert plan(60, n_val, auto).evaluation_calls == calls


def test_little_data_is_searched_for_demos_only_and_a_policys_word_is_taken() -> None:
    assert choose("auto", 17, 18).method == "miprov2"
    few = choose("auto", 40, 11)
    assert (few.method, "11 val examples" in few.because) == ("random_search", True)
    assert choose("auto", 9, 40).because.startswith("9 train examples")
    assert [choose(m, 1, 1).method for m in METHODS] == list(METHODS)
    small = Policy(min_examples=30)
    assert planned(small, 10, 11).because == choose("auto", 10, 11).because


@given(
    st.integers(1, 2000), st.integers(1, 2000), st.sampled_from(sorted(PRESETS)),
    st.integers(1, 3), st.sampled_from(METHODS),
)  # fmt: skip
def test_every_optimizers_plan_grows_with_its_data(
    n_train: int, n_val: int, auto: Auto, predictors: int, method: Method
) -> None:
    one = plan(n_train, n_val, auto, predictors=predictors, method=method)
    more = plan(n_train + 1, n_val, auto, predictors=predictors, method=method)
    assert one.method == method
    assert one.evaluation_calls >= one.validated_on * predictors
    assert one.calls_at_most <= more.calls_at_most
    assert evaluations(one) >= 1
    assert 1 <= in_flight(one, 16) <= 16
    assert (in_flight(one, 16, wanted=9), in_flight(one, 16, wanted=40)) == (9, 16)
    assert in_flight(one, 16) == 1 or in_flight(one, 16) * 100 <= one.evaluation_calls
