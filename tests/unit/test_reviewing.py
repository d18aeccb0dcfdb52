"""What a person's look is worth, and who has to look twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tdsys.core.reviewing import (
    FULL_CELL,
    LONGEST_WAIT,
    Part,
    Signals,
    needs_two,
    parts,
    rank,
    value,
)
from tdsys.core.rubric import Dimension
from tdsys.stages.reviewing import changes
from tests.factories import NOW, make_verdict

SURE = dict.fromkeys(Dimension, 0.95)
PARTS = st.lists(st.builds(Part, st.just("x"), st.floats(0, 1), st.just("")), max_size=6)


def signals(**over: Any) -> Signals:
    """Nothing that speaks for a look, but for what is named."""
    given = {
        "reason": "manual_collection",
        "by_person": False,
        "verdict": make_verdict(),
        "opinions": [SURE],
        "admitted_in_cell": FULL_CELL,
    }
    return Signals(**{**given, **over})


def found(**over: Any) -> dict[str, Part]:
    return {p.name: p for p in parts(signals(**over), Policy(), cell=Cell("sums", "easy"))}


def test_what_nobody_doubts_is_worth_no_look() -> None:
    assert found() == {}
    assert value([]) == 0


@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("called", {"by_person": True}),
        ("audit", {"reason": "audit"}),
        ("suspicious", {"verdict": make_verdict(steps="suspicious")}),
        ("contradiction", {"opinions": [{**SURE, Dimension.ACCURACY: 0.1}]}),
        ("contradiction", {"verdict": make_verdict(steps="suspicious")}),
        ("disagreement", {"opinions": [SURE, {**SURE, Dimension.RELEVANCE: 0.4}]}),
        ("threshold", {"opinions": [dict.fromkeys(Dimension, 0.69)]}),
        ("scarce", {"admitted_in_cell": 3}),
    ],
)
def test_each_doubt_is_named_and_counts(name: str, over: dict[str, Any]) -> None:
    part = found(**over)[name]
    assert 0 < part.weight <= 1
    assert part.says


def test_judges_far_apart_are_worth_more_than_judges_close_together() -> None:
    near = found(opinions=[SURE, {**SURE, Dimension.ACCURACY: 0.9}])["disagreement"]
    far = found(opinions=[SURE, {**SURE, Dimension.ACCURACY: 0.2}])["disagreement"]
    assert far.weight > near.weight
    assert far.says == "the judges are 0.75 apart in accuracy"


def test_an_unscored_example_is_no_close_call() -> None:
    assert set(found(opinions=[], verdict=None)) == set()


@given(PARTS, st.floats(0, 1))
def test_a_further_doubt_never_makes_a_look_worth_less(parts: list[Part], more: float) -> None:
    before = value(parts)
    assert 0 <= before <= value([*parts, Part("more", more, "")]) <= 1


@given(st.floats(0, 1), st.floats(0, 1))
def test_whoever_waited_longest_enough_comes_first_whatever_it_is_worth(a: float, b: float) -> None:
    early = rank(a, since=NOW)
    assert rank(b, since=NOW + LONGEST_WAIT + timedelta(days=1)) < early


def test_the_share_of_second_reviews_is_drawn_alike_each_time() -> None:
    drawn = [needs_two(n, 0.3) for n in range(3000)]
    assert drawn == [needs_two(n, 0.3) for n in range(3000)]
    assert 0.27 < sum(drawn) / 3000 < 0.33
    assert not any(needs_two(n, 0.0) for n in range(500))
    assert all(needs_two(n, 1.0) for n in range(500))


def test_an_edit_is_shown_word_by_word() -> None:
    old = {"inputs": {"topic": "sums"}, "outputs": {"answer": "7 buns", "hints": ["a"]}}
    new = {"inputs": {"topic": "sums"}, "outputs": {"answer": "8 buns", "proof": "x"}}
    assert [tuple(one) for one in changes(old, new)] == [
        ("answer", [("gone", "7"), ("new", "8"), ("kept", "buns")]),
        ("proof", [("new", "x")]),
        ("hints", [("gone", "a")]),
    ]
