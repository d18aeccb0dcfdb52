"""What a worker tells a client of a batch: how much of it is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys import wire

ANYTHING = st.one_of(
    st.binary(),
    st.builds(
        lambda stored, conflicting: (
            f'{{"stored": {stored}, "conflicting": {conflicting}}}'.encode()
        ),
        st.integers(),
        st.one_of(st.integers(), st.sampled_from(["1e999", "null", '"x"', "NaN", "[]"])),
    ),
)


@pytest.mark.parametrize(
    ("stored", "conflicting", "told"),
    [
        (5, 0, {}),
        (3, 0, {"refused": 2}),
        (4, 1, {"conflicting": 1}),
        (0, 2, {"refused": 3, "conflicting": 2}),
    ],
)
def test_what_is_not_stored_is_told_by_reason(
    stored: int, conflicting: int, told: dict[str, int]
) -> None:
    said = wire.acknowledgement(stored=stored, conflicting=conflicting)
    assert wire.unstored(said.encode(), 5) == told


def test_the_word_of_an_older_worker_says_nothing_is_missing() -> None:
    assert wire.unstored(b"1", 5) == {}


@given(ANYTHING, st.integers(0, 500))
def test_whatever_stands_there_no_more_is_missing_than_was_sent(told: bytes, size: int) -> None:
    missing = wire.unstored(told, size)
    assert 0 <= sum(missing.values()) <= size
    assert all(count > 0 for count in missing.values())
