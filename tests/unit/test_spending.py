"""What a batch may spend is never granted twice, and what there is gets used."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tdsys.core.spending import LEAST_TOKENS, Left, Spend, dollars, exhausted, grant, total

SOME = st.integers(0, 1_000_000)


@example(calls=9, tokens=None, micros=1, price=5e-324, wanted=1, each=1, size=LEAST_TOKENS)
@given(
    SOME, st.none() | SOME, st.none() | SOME, st.none() | st.floats(0, 100),
    st.integers(1, 50), st.integers(1, 4), st.integers(LEAST_TOKENS, 50_000),
)  # fmt: skip
def test_whatever_is_granted_can_be_paid(
    calls: int,
    tokens: int | None,
    micros: int | None,
    price: float | None,
    wanted: int,
    each: int,
    size: int,
) -> None:
    left = Left(calls, tokens, micros, price)
    got = grant(left, wanted=wanted, calls_each=each, call_tokens=size)
    if got is None:
        assert exhausted(left, calls_each=each).startswith("budget: ")
        return
    assert 1 <= got.attempts <= wanted
    assert got.reserved.calls == got.attempts * each <= calls
    most = got.reserved.calls * (got.most_tokens or 0)
    assert got.reserved.tokens == most
    assert tokens is None or most <= tokens
    assert micros is None or (got.reserved.micros or 0) <= micros
    if micros is not None:
        assert price is not None
        assert most * price <= micros + 1
    if got.most_tokens is not None:
        assert LEAST_TOKENS <= got.most_tokens <= size


def test_what_asks_nobody_needs_no_budget() -> None:
    got = grant(Left(0, 0, 0), wanted=7, calls_each=0, call_tokens=8000)
    assert got
    assert (got.attempts, got.reserved) == (7, Spend())


def test_the_last_tokens_of_a_budget_go_to_calls_that_may_take_less() -> None:
    got = grant(Left(100, tokens=10_000), wanted=5, calls_each=3, call_tokens=8000)
    assert got
    assert (got.attempts, got.most_tokens) == (1, 3333)
    assert grant(Left(100, tokens=7499), wanted=5, calls_each=3, call_tokens=8000) is None


def test_a_price_nobody_knows_grants_nothing_under_a_cost() -> None:
    assert grant(Left(100, micros=10**9), wanted=1, calls_each=1, call_tokens=8000) is None


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (Left(0), "no further call"),
        (Left(2), "2 calls are left, an attempt takes up to 3"),
        (Left(9, tokens=600), "600 tokens are left"),
        (Left(9, micros=1200, price=2.0), "$0.0012 is left"),
    ],
)
def test_it_is_said_which_budget_is_spent(left: Left, said: str) -> None:
    assert said in exhausted(left, calls_each=3)


def test_a_sum_with_something_unknown_is_unknown_and_never_zero() -> None:
    assert total([1.5, 2.0]) == 3.5
    assert total([1.5, None]) is None
    assert (dollars(None), dollars(250_000)) == ("unknown", "$0.2500")
