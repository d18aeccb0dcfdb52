"""Whether two stated answers say the same."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.answers import MAX_CHARS, Equality, Kind, compare, final_answer, read
from tdsys.core.arithmetic import format_number

EQUAL = [
    ("18", "18.0"),
    ("1,234", "1234"),
    ("10{,}000", "10000"),
    ("\\$72", "72"),
    ("$5$", "5"),
    ("\\boxed{5}", "5."),
    ("The answer is 5", "5"),
    ("x = 5", "5"),
    ("−5", "-5"),
    ("+5", "5"),
    ("1/2", "0.5"),
    ("\\frac{1}{2}", "0.5"),
    ("\\dfrac12", "1/2"),
    ("2 1/2", "2.5"),
    ("2\\frac{1}{2}", "5/2"),
    ("7e5", "700,000"),
    ("7×10^5", "700000"),
    ("eighteen", "18"),
    ("twenty-five", "25"),
    ("18 eggs", "18"),
    ("18 eggs", "18 egg"),
    ("$18", "18 dollars"),
    ("-$5", "-5"),
    ("$0.25", "25 cents"),
    ("5 m", "500 cm"),
    ("5 cm", "50 mm"),
    ("10 cm²", "0.001 m^2"),
    ("2 square feet", "2 ft^2"),
    ("32 minutes", "32 min"),
    ("90°", "90 degrees"),
    ("0.5", "50%"),
    ("50 %", "50 percent"),
    ("3 pm", "15:00"),
    ("2:30", "2:30 p.m."),
    ("3:4", "6:8"),
    ("(B)", "b"),
    ("B.", "B"),
    ("Friday", "friday"),
    ("yes", "True"),
    ("{1,2}", "2, 1"),
    ("\\{1, 2\\}", "{2,1}"),
    ("{1,2}", "{2,1,1}"),
    ("3 and 4", "3, 4"),
    ("(1, 1/2)", "(1,0.5)"),
    ("x = 3 or x = 5", "{5, 3}"),
    ("52_8", "101010_2"),
    ("\\text{Ann}", "ann"),
]
UNEQUAL = [
    ("7", "8"),
    ("-5", "5"),
    ("7", "7e5"),
    ("5 cm", "5 m"),
    ("5 cm", "500 mm"),
    ("18 eggs", "20"),
    ("€5", "$5"),
    ("5%", "5 dollars"),
    ("50%", "40"),
    ("0.00000012", "0.0000003"),
    ("7/9", "1"),
    ("12:30", "12:45"),
    ("2:30 am", "2:30 pm"),
    ("3:4", "4:3"),
    ("B", "C"),
    ("Friday", "Monday"),
    ("yes", "no"),
    ("(1,2)", "(2,1)"),
    ("[0,1)", "(0,1]"),
    ("{1,2}", "{1,3}"),
    ("1, 2", "1, 3"),
    ("(1,2,3)", "(1,2)"),
    ("52_8", "52_9"),
    ("5 in^2", "5 in^3"),
    ("9" * 40, "9" * 39),
]
UNKNOWN = [
    ("", ""),
    ("50", "50%"),
    ("1/3", "0.33"),
    ("33", "33.333"),
    ("25", "$0.25"),
    ("300", "3 m"),
    ("18 eggs", "18 ducks"),
    ("no solution", "5"),
    ("(1,2)", "[1,2]"),
    ("3, 4", "4, 3"),
    ("2,1", "2.1"),
    ("2:30", "14:30"),
    ("12:30", "2:5"),
    ("x+1", "1+x"),
    ("0", "x-3z=0"),
    ("1/2004!", "1/2005!"),
    ("Ann", "Ben"),
    ("B", "12"),
    ("1/0", "1"),
    ("{}", "{1}"),
    ("52_8", "52"),
    ("9" * 300, "8"),
    ("9" * 500, "8"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_spellings_of_one_answer_are_equal(left: str, right: str) -> None:
    assert compare(left, right) is compare(right, left) is Equality.EQUAL


@pytest.mark.parametrize(("left", "right"), UNEQUAL)
def test_different_answers_are_unequal(left: str, right: str) -> None:
    assert compare(left, right) is compare(right, left) is Equality.UNEQUAL


@pytest.mark.parametrize(("left", "right"), UNKNOWN)
def test_what_a_unit_rounding_or_notation_could_explain_is_unknown(left: str, right: str) -> None:
    assert compare(left, right) is compare(right, left) is Equality.UNKNOWN


def test_algebra_is_left_to_the_engine_and_nothing_else_is() -> None:
    asked = []

    def engine(left: str, right: str) -> Equality:
        asked.append((left, right))
        return Equality.EQUAL

    assert compare("(X+1)^2", "$X^2+2X+1$", engine) is Equality.EQUAL
    assert compare("(1, 2\\sqrt{3})", "(1, \\sqrt{12})", engine) is Equality.EQUAL
    for left, right in (
        ("18", "19"),
        ("5 m tall", "5"),
        ("x_1", "x_2"),
        ("B", "12"),
        ("3!", "6"),
        ("Ann", "Ben"),
        ("x=y", "x"),
    ):
        compare(left, right, engine)
    assert asked == [("(X+1)^2", "X^2+2X+1"), ("2\\sqrt{3}", "\\sqrt{12}")]


@given(st.fractions(max_denominator=10**4), st.fractions(max_denominator=10**4))
def test_exact_numbers_compare_as_fractions_do(left: Fraction, right: Fraction) -> None:
    same = compare(f"{left.numerator}/{left.denominator}", f"{right.numerator}/{right.denominator}")
    assert same is (Equality.EQUAL if left == right else Equality.UNEQUAL)
    assert compare(format_number(left), str(left)) is Equality.EQUAL


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_two_texts_compare_the_same_both_ways(left: str, right: str) -> None:
    assert compare(left, right) is compare(right, left)


@given(st.text(alphabet="0123456789.,+-/()[]{}$%:\\ abcdefrx", max_size=MAX_CHARS))
def test_every_text_is_some_kind_of_answer(text: str) -> None:
    assert read(text).kind in Kind


@pytest.mark.parametrize(("opening", "closing"), ["{}", "()", "[]"])
def test_nesting_costs_no_more_than_its_length(opening: str, closing: str) -> None:
    nested = opening * 60 + "1" + f",2{closing}" * 60
    started = time.process_time()
    assert compare(nested, nested.replace("1", "3")) is Equality.UNKNOWN
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So it is 18.\n#### 18", "18"),
        ("#### 1\n#### 2 ", "2"),
        ("so \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{1} or \\boxed{2}", "2"),
        ("#### 18 and \\boxed{3}", "18 and \\boxed{3}"),
        ("it is 18", None),
        ("\\boxed{1", None),
        ("####", None),
        ("", None),
    ],
)
def test_the_final_answer_is_the_last_marked_one(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer
