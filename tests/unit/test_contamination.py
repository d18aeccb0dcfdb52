"""A benchmark's problems are recognised by marks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.contamination import Registered, marks

LONG = "Ann packs 3 boxes with 12 pens each and gives 4 of the pens away. How many pens are left?"


def registered(**problems: list[str]) -> Registered:
    return Registered(
        {
            name: [one for text in texts for one in marks(text) if one is not None]
            for name, texts in problems.items()
        }
    )


def test_letter_case_blanks_and_punctuation_do_not_hide_a_problem() -> None:
    known = registered(first=[LONG], second=["What is 3 + 4?"])
    assert known.holds(LONG.upper().replace(". ", " ;\n (")) == "first"
    assert known.holds("what is 3+4") == "second"


def test_other_numbers_and_names_do_not_hide_a_long_problem_but_a_short_one_is_another() -> None:
    known = registered(first=[LONG], second=["What is 3 + 4?"])
    assert known.holds(LONG.replace("Ann", "Bob").replace("12", "15")) == "first"
    assert known.holds("What is 5 + 6?") is None
    assert known.holds(LONG.replace("pens", "nibs")) is None


def test_without_benchmarks_nothing_is_contaminated() -> None:
    assert not registered()
    assert registered().holds(LONG) is None


@given(st.text(), st.lists(st.text(), max_size=5))
def test_what_is_registered_is_found(problem: str, others: list[str]) -> None:
    assert registered(a=[problem], b=others).holds(problem) is not None
