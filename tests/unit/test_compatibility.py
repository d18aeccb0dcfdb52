"""What a policy may not ask of DSPy, held against the library itself."""

from __future__ import annotations

import math
import random
import warnings
from contextlib import suppress
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from tdsys.core import budget
from tdsys.core.compatibility import CHECKS, RESERVED, TAKEN, Conflict, conflicts
from tdsys.core.dataset import SMALLEST_SPLIT
from tdsys.core.grading import GenerationGrader
from tdsys.core.policy import PerDimension, Policy, Shares, Signature
from tdsys.core.program import Auto, Item
from tdsys.core.screening import NEEDED
from tdsys.llm.generation import problem_program
from tdsys.llm.methods import DEMO_FROM
from tdsys.verify import EvidenceVerifier
from tests.factories import PROBLEM


def found(**fields: Any) -> list[Conflict]:
    return conflicts(Policy.model_validate(fields))


def test_the_default_policy_is_compatible_at_every_budget() -> None:
    enough = {"max_calls": 20_000, "min_examples": 80}
    assert [found(auto=auto, **enough) for auto in budget.PRESETS] == [[], [], []]
    assert found() == []


@pytest.mark.criterion("3.4")
def test_the_reserved_names_are_the_members_of_dspys_classes() -> None:
    members = {*dir(dspy.Example()), *dir(dspy.Prediction()), *dir(dspy.Signature)}
    public = {name for name in members if not name.startswith("_")}
    assert public | {"fields", "instructions", "signature"} == RESERVED


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize(
    "name",
    [
        "keys",
        "completions",
        "model_dump",
        "signature",
        "_hidden",
        "dspy_uid",
        "class",
        "a b",
        "é",
        "1st",
    ],
)
def test_a_field_that_dspy_cannot_have_is_a_conflict(side: str, name: str) -> None:
    fields = Signature().model_dump()
    fields[side] = {**fields[side], name: "text"}
    (one,) = found(signature=fields)
    assert one.field == f"signature.{side}.{name}"
    assert one.remedy == "give the field another name"


def asked_with(name: str) -> str:
    """What the model is asked by a program whose input has this name; empty when it is not."""
    signature = Signature(inputs={"topic": "text", name: "text"}, outputs={"problem": "text"})
    lm = DummyLM([{"problem": "one"}])
    with (
        dspy.context(lm=lm, disable_history=False),
        suppress(AssertionError, TypeError, ValueError),
    ):
        problem_program(signature)(topic="sums", **{name: "A VALUE"})
    return str([asked["messages"] for asked in lm.history])


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_an_input_that_predict_takes_for_itself_is_a_conflict(name: str) -> None:
    (one,) = found(signature={"inputs": {"topic": "text", name: "text"}})
    assert one.field == f"signature.inputs.{name}"
    assert "A VALUE" not in asked_with(name)


@pytest.mark.parametrize("name", ["trace", "temperature", "rollout_id", "adapter", "n", "hint"])
def test_an_input_that_predict_leaves_alone_is_none(name: str) -> None:
    assert found(signature={"inputs": {"topic": "text", name: "text"}}) == []
    assert "A VALUE" in asked_with(name)


@pytest.mark.parametrize("said", ["", " \n"])
def test_instructions_that_say_nothing_are_a_conflict_since_dspy_writes_its_own(said: str) -> None:
    (one,) = found(signature={"instructions": said})
    assert one.field == "signature.instructions"
    program = problem_program(Signature(instructions=said))
    told = program.signature.instructions.strip()
    assert not told or told.startswith("Given the fields `topic`")


def test_dspy_takes_a_signature_without_conflicts_without_a_word() -> None:
    signature = Signature(inputs={"topic": "text"}, outputs=dict.fromkeys(NEEDED, "text"))
    assert found(signature=signature.model_dump()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(problem_program(signature).signature.fields) == ["topic", *NEEDED]


@pytest.mark.criterion("3.4")
@pytest.mark.parametrize(
    ("outputs", "missing"),
    [({"solution": "text"}, ["problem", "answer"]), ({"hints": "list"}, list(NEEDED)),
     ({"problem": "text", "solution": "text", "answer": "list"}, ["answer"])],
)  # fmt: skip
def test_outputs_that_no_metric_can_grade_are_a_conflict(
    outputs: dict[str, str], missing: list[str]
) -> None:
    told = found(signature={"outputs": outputs})
    assert [one.field for one in told] == [f"signature.outputs.{name}" for name in missing]
    assert [one.remedy for one in told] == [f"add `{name}: text`" for name in missing]


@pytest.mark.parametrize("missing", NEEDED)
def test_an_answer_without_one_of_them_never_reaches_what_a_demo_needs(missing: str) -> None:
    verifier = EvidenceVerifier()
    known = Item(uid="1", inputs={"topic": "sums"}, outputs={
        **PROBLEM, "problem": "Buns: a bakery sells 3 trays of 12. How many is that?"})  # fmt: skip
    grade = GenerationGrader("d", [known], verifier)
    asked = Item(uid="2", inputs={"topic": "sums"}, outputs=PROBLEM)
    assert grade(asked, PROBLEM).value >= DEMO_FROM
    assert grade(asked, {n: v for n, v in PROBLEM.items() if n != missing}).value == 0
    verifier.close()


def test_a_band_that_is_upside_down_is_a_conflict() -> None:
    low = PerDimension(accuracy=0.2, coherence=0.5, relevance=0.5, educational_value=0.3)
    (one,) = found(admit_from=low.model_dump())
    assert (one.field, one.remedy) == ("admit_from.accuracy", "use 0.3 or more")


def test_a_split_that_would_be_too_small_says_how_many_examples_it_takes() -> None:
    shares = Shares(train=0.5, val=0.45, test=0.05)
    (one,) = found(shares=shares.model_dump(), min_examples=60)
    assert one.field == "shares.test"
    assert f"raise min_examples to {SMALLEST_SPLIT * 20} " in one.remedy
    assert found(shares=shares.model_dump(), min_examples=SMALLEST_SPLIT * 20) == []


@pytest.mark.criterion("3.4")
@pytest.mark.parametrize("auto", budget.PRESETS)
def test_fewer_val_examples_than_programs_to_choose_from_are_a_conflict(auto: Auto) -> None:
    trials = budget.plan(1, 40, auto).trials
    enough = max(30, math.ceil(trials / 0.35))
    plenty = {"auto": auto, "max_calls": 20_000}
    assert found(min_examples=enough, **plenty) == []
    if trials > 11:  # light needs fewer than any policy may have
        (one,) = found(min_examples=enough - 3, **plenty)
        assert (one.field, f"raise min_examples to {enough} " in one.remedy) == ("auto", True)


@pytest.mark.criterion("3.4")
@pytest.mark.parametrize("auto", budget.PRESETS)
def test_no_preset_checks_more_programs_in_full_than_it_has(auto: Auto) -> None:
    """With auto=None DSPy crashes late there, so a policy has presets only."""
    trials, _, minibatch, instructions, demo_sets = settings_of(auto, 2000)
    full = budget.evaluations(budget.plan(2000, 2000, auto)) - 1 - trials
    assert minibatch
    assert instructions * demo_sets > full


@pytest.mark.parametrize("auto", budget.PRESETS)
@pytest.mark.parametrize("val", [10, 50, 51, 100, 140, 2000])
def test_the_library_makes_minibatches_only_of_splits_that_are_large_enough(
    auto: Auto, val: int
) -> None:
    trials, valset, minibatch, _, _ = settings_of(auto, val)
    plan = budget.plan(100, val, auto)
    assert (trials, len(valset), minibatch) == (plan.trials, plan.validated_on, plan.minibatch)
    assert not minibatch or len(valset) >= budget.MINIBATCH


def settings_of(auto: Auto, val: int) -> Any:
    """Trials, val items, whether minibatches, instructions and sets of demos, as MIPROv2 has it."""
    mipro = dspy.MIPROv2(metric=lambda *_: 1.0, auto=auto, prompt_model=DummyLM([{}]),
                         task_model=DummyLM([{}]))  # fmt: skip
    mipro.rng = random.Random(9)
    program, valset = problem_program(Signature()), [dspy.Example(n=n) for n in range(val)]
    return mipro._set_hyperparams_from_run_mode(
        program, 0, minibatch=True, zeroshot_opt=False, valset=valset,
        num_instruct_candidates=None, num_fewshot_candidates=None,
    )  # fmt: skip


def two_by_two(**cells: object) -> dict[str, Any]:
    return {"topics": ["sums", "ratios"], "difficulties": ["easy", "hard"], "cells": cells}


@pytest.mark.criterion("3.1")
def test_minima_that_no_version_can_hold_are_a_conflict() -> None:
    assert found(max_examples=60, **two_by_two(min=15)) == []
    (one,) = found(max_examples=60, **two_by_two(min=16))
    assert (one.field, one.remedy) == ("max_examples", "raise it to 64 or lower cells.min")


@pytest.mark.criterion("3.1")
def test_maxima_that_never_make_a_version_are_a_conflict() -> None:
    (one,) = found(**two_by_two(max=12))
    assert (one.field, "48" in one.message) == ("cells", True)
    more = {"topic": "sums", "difficulty": "easy", "max": 14}
    assert found(**two_by_two(max=12, exceptions=[more])) == []


def test_a_minimum_without_a_list_of_cells_is_a_conflict() -> None:
    (one,) = found(topics=["sums"], cells={"min": 2})
    assert (one.field, "list both" in one.remedy) == ("cells", True)
    assert found(topics=["sums"], cells={"max": 2}) == []


def test_an_exception_for_a_cell_nobody_wants_is_a_conflict() -> None:
    odd = {"topic": "angles", "difficulty": "easy", "min": 1}
    (one,) = found(**two_by_two(exceptions=[odd]))
    assert one.field == "cells.exceptions.0.topic"


def test_a_cap_below_what_must_stay_is_a_conflict() -> None:
    (one,) = found(lifecycle={"max_admitted": 49})
    assert (one.field, one.remedy) == ("lifecycle.max_admitted", "raise it to 50 or more")
    (one,) = found(lifecycle={"max_admitted": 79}, **two_by_two(min=20))
    assert "80, what the cells' minima need" in one.message


def test_a_days_budget_below_one_runs_is_a_conflict() -> None:
    assert [one.field for one in found(max_daily_calls=4999)] == ["max_daily_calls"]
    assert found(max_daily_calls=5000) == []


@pytest.mark.criterion("3.4")
def test_a_run_that_would_cost_more_than_it_may_is_a_conflict() -> None:
    enough = budget.plan(140, 140, "light").calls_at_most
    assert found(max_calls=enough) == []
    (one,) = found(max_calls=enough - 1)
    assert (one.field, f"{enough:,}" in one.message) == ("max_calls", True)
    assert "min_examples, 50" in found(max_calls=10)[0].message


@pytest.mark.criterion("3.4")
def test_all_conflicts_are_told_together() -> None:
    told = found(
        signature={"outputs": {"keys": "text"}},
        admit_from=dict.fromkeys(PerDimension.model_fields, 0.0),
        shares={"train": 0.9, "val": 0.05, "test": 0.05},
        max_calls=1,
    )
    assert [one.field.split(".")[0] for one in told] == [
        *["signature"] * 4, *["admit_from"] * 4, *["shares"] * 2, "max_calls",
    ]  # fmt: skip


class Watched(Policy):
    """A policy that remembers which of its fields were looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name in Policy.model_fields:
            SEEN.add(name)
        return super().__getattribute__(name)


SEEN: set[str] = set()


def test_a_check_names_every_field_it_reads() -> None:
    labels = {"topics": ("a",), "difficulties": ("b",), "cells": {"min": 1, "max": 100}}
    policy = Watched.model_validate({
        **labels, "signature": Signature(), "lifecycle": {"max_admitted": 60}, "max_daily_calls": 9
    })  # fmt: skip
    for check in CHECKS:
        SEEN.clear()
        list(check.find(policy))
        assert SEEN
        assert check.reads >= SEEN


def test_what_depends_on_an_unknown_value_is_not_judged() -> None:
    fields = {"max_calls": 10, "signature": {"inputs": {"items": "text"}}}
    policy = Policy.model_validate(fields)
    assert {one.field for one in conflicts(policy)} == {"max_calls", "signature.inputs.items"}
    known = conflicts(policy, unknown={"min_examples"})
    assert [one.field for one in known] == ["signature.inputs.items"]
