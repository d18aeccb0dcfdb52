"""Foreign records become examples; labels come from rules where the file has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tdsys.core.conversion import ImportOptions, convert
from tdsys.core.example import Malformed
from tdsys.core.labelling import context, difficulty, labels, topic
from tdsys.errors import InvalidInput

GSM8K = {
    "question": "A shop sells 3 pens at $2 each. What do they cost?",
    "answer": "They cost 3*2=<<3*2=6>>6 dollars.\n#### 6",
    "source": "book",
}
OPTIONS = ImportOptions(mapping={"question": "problem", "answer": "solution"})


def test_a_gsm8k_record_becomes_problem_solution_and_answer_with_labels() -> None:
    found = convert(dict(GSM8K), OPTIONS)
    assert found.outputs == {
        "problem": GSM8K["question"],
        "answer": "6",
        "solution": "They cost 3*2=<<3*2=6>>6 dollars.",
    }
    assert found.inputs == {"topic": "money", "difficulty": "easy", "context": "shop and sells"}
    assert found.metadata == {
        "source": "book",
        "labelled_by": "rules_v1: context, difficulty, topic",
    }


def test_what_the_file_says_stands_and_constants_stand_above_it() -> None:
    options = ImportOptions(mapping=OPTIONS.mapping, constants={"topic": "arithmetic"})
    found = convert({**GSM8K, "difficulty": "hard"}, options)
    assert (found.inputs["topic"], found.inputs["difficulty"]) == ("arithmetic", "hard")


@pytest.mark.parametrize(
    ("record", "code", "path"),
    [
        ([1], "not_an_object", ""),
        ({"answer": "6"}, "missing_field", "problem"),
        ({"problem": "What?", "solution": "no final answer"}, "missing_field", "answer"),
        ({"problem": "  ", "answer": "6"}, "missing_field", "problem"),
        ({"problem": "What?", "answer": "6"}, "missing_field", "solution"),
        ({"problem": "What?", "solution": "#### 6"}, "missing_field", "solution"),
    ],
)
def test_a_record_that_lacks_a_field_names_it(record: object, code: str, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        convert(record, ImportOptions())  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.path) == (code, path)


def test_what_is_missing_can_be_mapped() -> None:
    with pytest.raises(Malformed, match="--map FIELD=solution"):
        convert({"problem": "What?", "answer": "6"}, ImportOptions())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mapping": {"question": "probelm"}}, "'probelm'.* use one of topic, .*problem"),
        ({"constants": {"grade": "5"}}, "'grade'"),
        ({"mapping": {"q": "problem", "text": "problem"}}, "2 sources .* problem"),
        ({"mapping": {"q": "topic"}, "constants": {"topic": "sums"}}, "2 sources .* topic"),
    ],
)
def test_options_that_would_lose_a_field_are_refused(
    options: dict[str, dict[str, str]], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        ImportOptions(**options)
    assert refused.value.remedy


def test_a_field_that_is_mapped_and_there_already_is_ambiguous() -> None:
    with pytest.raises(Malformed) as refused:
        convert({**GSM8K, "problem": "Another one?"}, OPTIONS)
    assert (refused.value.code, refused.value.path) == ("ambiguous_field", "problem")


def test_two_fields_can_change_their_names_with_each_other() -> None:
    swapped = ImportOptions(mapping={"solution": "answer", "answer": "solution"})
    found = convert({"problem": "1 + 1?", "solution": "2", "answer": "<<1+1=2>>2"}, swapped)
    assert (found.outputs["solution"], found.outputs["answer"]) == ("<<1+1=2>>2", "2")


def test_a_path_reaches_into_the_record_and_takes_only_what_it_names() -> None:
    record: dict[str, JsonValue] = {
        "id": 7,
        "data": {"question": "1 + 1?", "more": {"working": "<<1+1=2>>2"}, "by": "x"},
        "labels": ["easy", 2],
        "a.b": "sums",
    }
    paths = {
        "data.question": "problem",
        "data.more.working": "solution",
        "labels.1": "answer",
        "labels.0": "difficulty",
        "a.b": "topic",
    }
    found = convert(record, ImportOptions(mapping=paths))
    assert found.outputs == {"problem": "1 + 1?", "solution": "<<1+1=2>>2", "answer": "2"}
    assert (found.inputs["topic"], found.inputs["difficulty"]) == ("sums", "easy")
    del found.metadata["labelled_by"]
    assert found.metadata == {"id": 7, "data": {"by": "x"}, "labels": ["easy", 2]}
    assert record["data"] == {
        "question": "1 + 1?",
        "more": {"working": "<<1+1=2>>2"},
        "by": "x",
    }


def test_a_path_that_leads_nowhere_is_a_missing_field() -> None:
    with pytest.raises(
        Malformed, match=r"there is no field 'data.5' in this record \(there are data\)"
    ):
        convert({"data": [1]}, ImportOptions(mapping={"data.5": "problem", "data.x.y": "answer"}))


@pytest.mark.parametrize(
    ("given", "outputs"),
    [
        (
            {"solution": "## First\n#### Step 1\n1 + 1\n#### 2"},
            {"solution": "## First\n#### Step 1\n1 + 1", "answer": "2"},
        ),
        (
            {"solution": r"so $\boxed{\frac{1}{\sqrt{2}}}$."},
            {"solution": r"so $\boxed{\frac{1}{\sqrt{2}}}$.", "answer": r"\frac{1}{\sqrt{2}}"},
        ),
        ({"answer": "1 + 1 = 2\n#### 2"}, {"solution": "1 + 1 = 2", "answer": "2"}),
        ({"answer": r"\boxed{2}", "solution": "1 + 1"}, {"solution": "1 + 1", "answer": "2"}),
        ({"answer": 2, "solution": "1 + 1"}, {"solution": "1 + 1", "answer": "2"}),
        ({"answer": 0.5, "solution": "1 / 2"}, {"solution": "1 / 2", "answer": "0.5"}),
    ],
)
def test_the_final_answer_is_found_where_the_usual_marks_put_it(
    given: dict[str, JsonValue], outputs: dict[str, str]
) -> None:
    found = convert({"problem": "What?", **given}, ImportOptions())
    assert found.outputs == {"problem": "What?", **outputs}


@pytest.mark.parametrize(
    ("value", "said"), [(True, "true or false"), ([1], "a list"), ({"a": 1}, "an object")]
)
def test_a_value_of_another_kind_is_named(value: JsonValue, said: str) -> None:
    with pytest.raises(Malformed, match=said) as refused:
        convert({"problem": "What?", "solution": "so", "answer": value}, ImportOptions())
    assert (refused.value.code, refused.value.path) == ("wrong_type", "answer")


def test_what_an_errors_file_added_is_stripped() -> None:
    found = convert({**GSM8K, "_rejected": {"line": 3}}, OPTIONS)
    assert "_rejected" not in found.metadata


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Half of the 20 apples", "percent and ratio"),
        ("She paid $4", "money"),
        ("It takes 3 hours", "time and speed"),
        ("Ann has 3 hats and 2 cats", "quantities"),
    ],
)
def test_topics_follow_the_vocabulary(text: str, name: str) -> None:
    assert topic(text) == name


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "unrated"), (1, "easy"), (2, "easy"), (3, "medium"), (4, "medium"), (5, "hard")],
)
def test_difficulty_counts_written_steps(count: int, name: str) -> None:
    assert difficulty(" ".join(f"<<{n}+1={n + 1}>>" for n in range(count))) == name


def test_the_context_is_what_the_story_repeats() -> None:
    assert context("Natalia sold clips to friends. Then half as many clips.") == "clips and sold"


@given(st.text(max_size=300), st.text(max_size=300))
def test_every_text_gets_labels(problem: str, solution: str) -> None:
    assert all(labels(problem, solution).values())
