"""Labelled files: what is wrong is told with line and field, what is right is not lost for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.calibration import LabelledExample
from tdsys.core.rubric import Dimension
from tdsys.parsing.labelled import Elsewhere, Refusal, labelled

GOOD: dict[str, Any] = {"inputs": {"topic": "sums"}, "outputs": {"problem": "?"}, "label": "good"}


def read(*lines: Any) -> list[Any]:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    return list(labelled([text.encode()], domain="sums"))


def numbered(n: int, **over: Any) -> dict[str, Any]:
    return {**GOOD, "outputs": {"problem": f"What is {n}?"}, **over}


def test_a_line_is_an_example_with_its_label_and_numbers() -> None:
    (found,) = read({**GOOD, "label": "bad", "scores": {"accuracy": 0.25, "relevance": 1}})
    assert found == LabelledExample(
        line=1, inputs={"topic": "sums"}, outputs={"problem": "?"}, good=False,
        given={Dimension.ACCURACY: 0.25, Dimension.RELEVANCE: 1.0},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("over", "field", "message"),
    [
        ({"label": "fine"}, "label", "neither good nor bad"),
        ({"label": True}, "label", "neither good nor bad"),
        ({"label": ["good"]}, "label", "neither good nor bad"),
        ({"inputs": []}, "inputs", "not an object"),
        ({"outputs": {}}, "outputs", "not an object"),
        ({"outputs": {"problem": "a\u0000b"}}, "outputs.problem", "NUL"),
        ({"scores": {"accuracy": 1.5}}, "scores.accuracy", "1.5 is not from 0 to 1"),
        ({"scores": {"accuracy": True}}, "scores.accuracy", "not a number"),
        ({"scores": {"acuracy": 1}}, "scores.acuracy", "no such dimension"),
        ({"scores": 1}, "scores", "not an object"),
        ({"lable": "good"}, "lable", "no such field"),
        ({"domain": 3}, "domain", "not a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_field(
    over: dict[str, Any], field: str, message: str
) -> None:
    first, wrong, last = read(numbered(1), {**GOOD, **over}, numbered(2))
    assert isinstance(first, LabelledExample)
    assert isinstance(last, LabelledExample)
    assert isinstance(wrong, Refusal)
    assert (wrong.line, wrong.field) == (2, field)
    assert message in wrong.message
    assert wrong.remedy


def test_everything_that_is_wrong_in_a_line_is_told() -> None:
    found = read({"outputs": {"problem": "?"}, "scores": {"accuracy": -1}})
    assert [one.field for one in found] == ["inputs", "label", "scores.accuracy"]


def test_lines_that_are_no_json_cost_only_themselves() -> None:
    found = read(numbered(1), '{"inputs": {', "", "[1]", '{"a": 1, "a": 2}', numbered(2))
    assert [type(one).__name__ for one in found] == [
        "LabelledExample", "Refusal", "Refusal", "Refusal", "LabelledExample",
    ]  # fmt: skip
    assert [one.line for one in found] == [1, 2, 4, 5, 6]


def test_the_same_content_is_not_counted_twice() -> None:
    first, again, contrary = read(GOOD, {**GOOD, "outputs": {"problem": " ? "}},
                                  {**GOOD, "label": "bad"})  # fmt: skip
    assert isinstance(first, LabelledExample)
    assert (again.message, contrary.message) == ("the same content as line 1",) * 2


def test_a_line_about_another_domain_is_left_alone() -> None:
    assert read({**GOOD, "domain": "angles", "label": 7}) == [Elsewhere(1, "angles")]
    assert isinstance(read({**GOOD, "domain": "sums"})[0], LabelledExample)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["domain", "inputs", "outputs", "label", "scores",
                                                 "x"]), JSON), min_size=1, max_size=5))  # fmt: skip
def test_whatever_stands_in_a_line_it_is_told_once_or_more_and_nothing_breaks(
    lines: list[dict[str, Any]],
) -> None:
    found = read(*lines)
    assert {one.line for one in found} == set(range(1, len(lines) + 1))
