"""What a policy may not ask of DSPy, held against the library itself."""

from __future__ import annotations

import warnings

import dspy
import pytest

from tdsys.core import budget
from tdsys.core.compatibility import RESERVED, Conflict, conflicts
from tdsys.core.dataset import SMALLEST_SPLIT
from tdsys.core.policy import PerDimension, Policy, Shares, Signature
from tdsys.llm.generation import problem_program


def found(**fields: object) -> list[Conflict]:
    return conflicts(Policy.model_validate(fields))


def test_the_default_policy_is_compatible_at_every_budget() -> None:
    assert [found(auto=auto, max_calls=20_000) for auto in budget.PRESETS] == [[], [], []]


@pytest.mark.criterion("3.4")
def test_the_reserved_names_are_the_members_of_dspys_classes() -> None:
    members = {*dir(dspy.Example()), *dir(dspy.Signature)}
    public = {name for name in members if not name.startswith("_")}
    assert public | {"fields", "instructions", "signature"} == RESERVED


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize(
    "name", ["keys", "model_dump", "signature", "_hidden", "dspy_uid", "class", "a b", "é", "1st"]
)
def test_a_field_that_dspy_cannot_have_is_a_conflict(side: str, name: str) -> None:
    fields = Signature().model_dump()
    fields[side] = {**fields[side], name: "text"}
    (one,) = found(signature=fields)
    assert one.field == f"signature.{side}.{name}"
    assert one.remedy == "give the field another name"


def test_dspy_takes_a_signature_without_conflicts_without_a_word() -> None:
    signature = Signature(inputs={"topic": "text"}, outputs={"problem": "text", "answer": "text"})
    assert found(signature=signature.model_dump()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(problem_program(signature).signature.fields) == ["topic", "problem", "answer"]


@pytest.mark.parametrize(
    ("outputs", "missing"),
    [({"solution": "text"}, ["`problem`"]), ({"problem": "text"}, ["`solution`"]),
     ({"hints": "list"}, ["`problem`", "`solution`"])],
)  # fmt: skip
def test_outputs_that_no_metric_can_grade_are_a_conflict(
    outputs: dict[str, str], missing: list[str]
) -> None:
    told = found(signature={"outputs": outputs})
    assert [one.field for one in told] == ["signature.outputs"] * len(missing)
    assert all(word in one.message for word, one in zip(missing, told, strict=True))


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
        *["signature"] * 3, *["admit_from"] * 4, *["shares"] * 2, "max_calls",
    ]  # fmt: skip
