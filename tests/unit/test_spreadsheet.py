"""No cell is a formula, and every cell can be had back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.spreadsheet import BEGINNINGS, harmless, original


@given(st.text() | st.sampled_from(BEGINNINGS).flatmap(lambda b: st.text().map(b.__add__)))
def test_what_is_made_harmless_can_be_had_back(text: str) -> None:
    shown = harmless(text)
    assert original(shown) == text
    assert not shown.startswith(tuple(b for b in BEGINNINGS if b != "'"))


@pytest.mark.parametrize("text", ["=1+1", "-5", "@sum", "+x", "\t=1", " =1", "'=1", "＝1"])
def test_what_may_be_a_formula_begins_with_an_apostrophe(text: str) -> None:
    assert harmless(text) == "'" + text


@pytest.mark.parametrize("text", ["", "36", "x=1", "a-b", "3/4"])
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text
