"""What a run will cost, known before it starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.budget import PRESETS, plan
from tdsys.core.program import Auto


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
