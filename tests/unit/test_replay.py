"""A worked example told again with other numbers."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.arithmetic import StepOutcome, check_steps, numbers
from tdsys.core.replay import Replayed, replay, rewrite

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "train.jsonl"
PROBLEM = "Ann sold 48 clips in April, and half as many in May. How many in all?"
SOLUTION = "Ann sold 48/2 = <<48/2=24>>24 clips in May.\nSo 48+24 = <<48+24=72>>72 in all.\n#### 72"


def told(problem: str, solution: str, **new: int | str) -> Replayed | None:
    return replay(problem, solution, {Fraction(k[1:]): Fraction(v) for k, v in new.items()})


def test_every_step_and_every_mention_follows_the_new_number() -> None:
    again = told(PROBLEM, SOLUTION, _48=50)
    assert again is not None
    assert again.problem == PROBLEM.replace("48", "50")
    assert again.solution == (
        "Ann sold 50/2 = <<50/2=25>>25 clips in May.\nSo 50+25 = <<50+25=75>>75 in all.\n#### 75"
    )
    assert again.answer == "75"
    assert again.values[Fraction(72)] == 75


def test_the_same_numbers_tell_the_same_text() -> None:
    again = told(PROBLEM, SOLUTION)
    assert again is not None
    assert (again.problem, again.solution, again.answer) == (PROBLEM, SOLUTION, "72")


def test_a_hint_is_told_with_the_new_numbers_in_the_old_format() -> None:
    values = {Fraction(1500): Fraction(2600), Fraction(5, 2): Fraction(3)}
    assert rewrite("Take $1,500 and $2.50.", values) == "Take $2,600 and $3.00."


@pytest.mark.parametrize(
    ("solution", "new", "reason"),
    [
        (SOLUTION, 49, "half of it is broken where the old half was whole"),
        ("<<48-40=8>>8", 30, "the result is negative where the old one was not"),
        ("<<48/(48-47)=48>>48", 47, "the step divides by zero"),
        ("<<48+1=50>>50", 50, "the step was wrong before"),
        ("<<x=48>>48", 50, "the step cannot be read"),
        ("It is clear.\n#### 48", 50, "there is no step"),
        ("<<48+2=50>>50\n#### 7", 52, "the final answer comes from nowhere"),
        ("The <<48-42=6>>6th floor.", 50, "a result is told as an ordinal"),
        ("Half is 48/2 = 24. <<24+1=25>>25", 50, "a result nobody annotated would stay old"),
    ],
)
def test_there_is_no_example_when(solution: str, new: int, reason: str) -> None:
    assert told(PROBLEM, solution, _48=new) is None, reason


def test_a_number_that_is_problem_and_result_is_first_the_fresh_result() -> None:
    again = told(
        "5 red and 10 blue; each costs 15 dollars.",
        "5+10 = <<5+10=15>>15 so 15*15 = <<15*15=225>>225",
        _5=6,
        _10=11,
        _15=3,
    )
    assert again is not None
    assert again.solution == "6+11 = <<6+11=17>>17 so 17*3 = <<17*3=51>>51"


def test_a_percentage_is_known_as_a_decimal_too() -> None:
    again = told("20% of 50 eggs", "50*.2=<<50*.2=10>>10", _20=40)
    assert again is not None
    assert again.solution == "50*0.4=<<50*0.4=20>>20"


def test_a_fraction_that_is_a_result_stays_a_fraction() -> None:
    again = told(
        "3 of 7 are red; 70 draws", "3/7=<<3/7=3/7>>3/7, so 70*(3/7)=<<70*(3/7)=30>>30", _3=5
    )
    assert again is not None
    assert again.solution == "5/7=<<5/7=5/7>>5/7, so 70*(5/7)=<<70*(5/7)=50>>50"


def test_small_constants_stay() -> None:
    again = told("Each of 6 cars", "6*4=<<6*4=24>>24 wheels", _6=7)
    assert again is not None
    assert again.solution == "7*4=<<7*4=28>>28 wheels"


def test_a_broken_operand_keeps_its_brackets() -> None:
    again = told("2.5 litres for 4", "<<4/2.5=1.6>>1.6 and <<2*1.6=3.2>>3.2", _4="1/3")
    assert again is not None
    assert again.solution == "<<(1/3)/2.5=2/15>>2/15 and <<2*(2/15)=4/15>>4/15"


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_told_again_is_always_exact(first: int, second: int, third: int) -> None:
    again = told(
        "He has 7 and 8 and 3.",
        "<<7+8=15>>15, <<15*3=45>>45, <<45-7=38>>38\n#### 38",
        _7=first,
        _8=second,
        _3=third,
    )
    expected = (first + second) * third - first
    assert (again is None) == (expected < 0)
    if again is not None:
        assert again.answer == str(expected)
        assert {c.outcome for c in check_steps(again.solution)} == {StepOutcome.EXACT}


@pytest.fixture(scope="module")
def gsm8k() -> list[tuple[str, str]]:
    if not GSM8K.exists():
        pytest.skip("the shared GSM8K copy is absent")
    rows = [json.loads(line) for line in GSM8K.read_text().splitlines()]
    return [(row["question"], row["answer"]) for row in rows]


def test_gsm8k_told_with_its_own_numbers_is_itself(gsm8k: list[tuple[str, str]]) -> None:
    again = [replay(problem, solution, {}) for problem, solution in gsm8k]
    same = sum(
        a is not None and (a.problem, a.solution) == row
        for a, row in zip(again, gsm8k, strict=True)
    )
    assert same / len(gsm8k) >= 0.95


def test_gsm8k_told_with_other_numbers_has_no_wrong_step(gsm8k: list[tuple[str, str]]) -> None:
    rng = random.Random(5)
    again = [
        replay(problem, solution, {n.value: n.value + rng.randint(1, 9) for n in numbers(problem)})
        for problem, solution in gsm8k
    ]
    outcomes = {c.outcome for a in again if a for c in check_steps(a.solution)}
    assert sum(a is not None for a in again) > 2000
    assert outcomes == {StepOutcome.EXACT}
