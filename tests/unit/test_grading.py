"""The metric: correct, new and as asked for; each part can sink a grade."""

from __future__ import annotations

import pytest

from tdsys.core.grading import GenerationGrader
from tests.factories import make_items, make_verdict
from tests.scripted import ScriptedVerifier

KNOWN = make_items("statistics", 60, seed=5)
FRESH = make_items("statistics", 30, seed=5, start=60)


def grader(**outcomes: str) -> GenerationGrader:
    return GenerationGrader("statistics", KNOWN, ScriptedVerifier(make_verdict(**outcomes)))


def test_good_new_problems_grade_high() -> None:
    grades = [grader()(i, i.outputs).value for i in FRESH]
    assert sum(grades) / len(grades) > 0.85
    assert all(0 <= g <= 1 for g in grades)


def test_a_copy_of_a_known_problem_is_worth_nothing() -> None:
    copied = {**KNOWN[0].outputs, "problem": f"  {KNOWN[0].outputs['problem']}".upper()}
    assert grader()(FRESH[0], copied).value == 0


@pytest.mark.parametrize("outcome", ["failed", "suspicious"])
def test_what_the_verifier_doubts_is_worth_nothing(outcome: str) -> None:
    assert grader(steps=outcome)(FRESH[0], FRESH[0].outputs).value == 0


def test_what_cannot_be_checked_is_not_taken_for_correct() -> None:
    assert grader(steps="unknown", answer="unknown")(FRESH[0], FRESH[0].outputs).value == 0


def test_the_wrong_topic_difficulty_or_context_costs() -> None:
    item = next(i for i in FRESH if i.inputs["difficulty"] == "easy")
    right = grader()(item, item.outputs)
    other = next(i for i in FRESH if i.inputs["topic"] != item.inputs["topic"])
    hard = next(i for i in FRESH if i.inputs["difficulty"] == "hard")
    assert grader()(item, other.outputs).parts["topic"] < right.parts["topic"]
    assert grader()(item, hard.outputs).parts["difficulty"] < right.parts["difficulty"]
    away = item.model_copy(update={"inputs": {**item.inputs, "context": "the moon"}})
    assert grader()(away, item.outputs).parts["request"] < right.parts["request"]


def test_an_empty_answer_is_worth_nothing() -> None:
    assert grader(steps="unknown")(FRESH[0], {}).value == 0
