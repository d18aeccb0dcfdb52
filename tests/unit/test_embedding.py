"""What an embedder says is a unit vector or a reason; only near ones are near-duplicates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.embedding import MOST_DIMENSIONS, Unembedded, are_one, unit

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(NUMBERS, max_size=5), st.sampled_from([None, 3]))
def test_a_row_is_a_unit_vector_of_the_right_length_or_a_reason(
    row: list[float], dimensions: int | None
) -> None:
    found = unit(row, dimensions=dimensions)
    usable = row and dimensions in {None, len(row)} and all(map(math.isfinite, row)) and any(row)
    assert isinstance(found, Unembedded) != bool(usable)
    if not isinstance(found, Unembedded):
        assert math.hypot(*found) == pytest.approx(1)
        assert all(one * other >= 0 for one, other in zip(found, row, strict=True))


def test_what_has_no_row_keeps_its_reason_and_one_that_is_too_long_gets_one() -> None:
    assert unit(Unembedded("away"), dimensions=3) == Unembedded("away")
    assert isinstance(unit([1.0] * (MOST_DIMENSIONS + 1), dimensions=None), Unembedded)


@pytest.mark.parametrize(
    ("cosine", "are"),
    [(0.95, True), (0.9499999999, True), (0.949, False), (1.0, True), (-1.0, False),
     (math.nan, False), (math.inf, False)],
)  # fmt: skip
def test_two_are_one_from_the_likeness_on(cosine: float, are: bool) -> None:  # noqa: FBT001
    assert are_one(cosine, likeness=0.95) == are
