"""What it is worth that solutions agree: estimated, and judged on other questions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.corroboration import METHODS, Agreement, Stated, calibrate, estimates
from tdsys.core.resolving import passes

TWO, ONE, NONE = Agreement(2, 2), Agreement(1, 3), Agreement(0, 3)
CHANCES = {TWO: 0.9, ONE: 0.5, NONE: 0.1}


def drawn(questions: int, seed: int = 1) -> list[Stated]:
    rng = random.Random(seed)
    return [
        Stated(question, maker, said, rng.random() < CHANCES[said])
        for question in range(questions)
        for maker in "abc"
        for said in [rng.choice(list(CHANCES))]
    ]


def test_what_was_drawn_is_found_again_and_helps_on_other_questions() -> None:
    found = calibrate(drawn(600), passing=passes)
    assert (found.questions, found.answers) == (600, 1800)
    assert [one.said for one in found.shares] == [TWO, ONE, NONE]
    for one in found.shares:
        assert one.low < CHANCES[one.said] < one.high
        assert one.high - one.low < 0.1
    assert found.held_out < found.prior - 0.05
    assert found.error < 0.02
    assert [one.maker for one in found.makers] == ["a", "b", "c"]
    for maker in found.makers:
        assert maker.passing == pytest.approx(0.9, abs=0.06)
        assert maker.foretold == pytest.approx(0.9, abs=0.06)


def test_where_agreement_says_nothing_nothing_is_gained() -> None:
    rng = random.Random(5)
    blind = [one._replace(right=rng.random() < 0.5) for one in drawn(400)]
    found = calibrate(blind, passing=passes)
    assert found.held_out > found.prior - 0.005


def test_answers_to_one_question_count_less_than_answers_to_many() -> None:
    many = [Stated(n, "a", TWO, n % 2 == 0) for n in range(100)]
    few = [Stated(n // 10, "a", TWO, n // 10 % 2 == 0) for n in range(100)]
    (wide,), (narrow,) = estimates(few), estimates(many)
    assert wide.value == narrow.value == 0.5
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_orders_of_one_answer_are_one_answer_together() -> None:
    parts = [Stated(n, "a", TWO, n % 3 == 0, 1 / 6) for n in range(60) for _ in range(6)]
    whole = [Stated(n, "a", TWO, n % 3 == 0) for n in range(60)]
    (a,), (b,) = estimates(parts), estimates(whole)
    assert (a.n, a.low, a.high) == pytest.approx((b.n, b.low, b.high))


rows = st.builds(
    Stated,
    question=st.integers(0, 30),
    maker=st.sampled_from("ab"),
    said=st.sampled_from([Agreement(0, 2), Agreement(2, 3), *CHANCES]),
    right=st.booleans(),
    weight=st.sampled_from([1.0, 0.5]),
)


@given(st.lists(rows, min_size=1, max_size=40))
def test_every_method_gives_chances_and_isotonic_never_falls_with_agreement(
    stated: list[Stated],
) -> None:
    for fit in METHODS.values():
        assert all(0 <= chance <= 1 for chance in fit(stated).values())
    rising = METHODS["isotonic"](stated)
    by_share = [rising[said] for said in sorted(rising, key=lambda one: one.agree / one.of)]
    assert by_share == sorted(by_share)
    for one in estimates(stated):
        assert 0 <= one.low <= one.value + 1e-9
        assert one.value - 1e-9 <= one.high <= 1
