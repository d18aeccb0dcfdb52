"""A file's fields are recognised by their names and a few records."""

from __future__ import annotations

from typing import Any

import pytest

from tdsys.core.conversion import ImportOptions, convert
from tdsys.core.guessing import guess

WORKED = "3 * 4 = 12.\n#### 12"


@pytest.mark.parametrize(
    ("record", "mapping"),
    [
        ({"problem": "?", "solution": "1", "answer": "1"}, {}),
        ({"question": "?", "answer": WORKED}, {"question": "problem", "answer": "solution"}),
        ({"prompt": "?", "completion": WORKED}, {"prompt": "problem", "completion": "solution"}),
        (
            {"instruction": "?", "input": "", "output": r"so \boxed{\frac{1}{2}}"},
            {"instruction": "problem", "output": "solution"},
        ),
        (
            {"problem": "?", "level": "Level 5", "type": "Algebra", "solution": r"\boxed{1}"},
            {"type": "topic", "level": "difficulty"},
        ),
        (
            {"id": 1, "data": {"Question": "?", "rationale": "so", "Final Answer": 3}},
            {"data.Question": "problem", "data.rationale": "solution",
             "data.Final Answer": "answer"},
        ),
        (
            {"question": "?", "explanation": "so", "target": "3", "subject": "sums"},
            {"question": "problem", "explanation": "solution", "target": "answer",
             "subject": "topic"},
        ),
    ],
)  # fmt: skip
def test_the_usual_names_are_known_and_the_guess_is_a_mapping_that_works(
    record: dict[str, Any], mapping: dict[str, str]
) -> None:
    found = guess([record])
    assert (found.mapping, found.missing) == (mapping, ())
    assert convert(record, ImportOptions(mapping=found.mapping)).outputs["problem"] == "?"


def test_what_nothing_looks_like_is_named_with_what_there_is() -> None:
    found = guess([{"question": "?", "notes": {"b": 1}}, "no record", {"c": 2}])
    assert found.missing == ("solution", "answer")
    assert found.seen == ("question", "notes", "notes.b", "c")


def test_a_constant_needs_no_field() -> None:
    record: dict[str, Any] = {
        "question": "?",
        "subject": "sums",
        "explanation": "so",
        "result": "3",
    }
    assert "topic" not in guess([record], given=("topic",)).mapping.values()


def test_an_errors_file_is_guessed_like_the_file_it_came_from() -> None:
    record: dict[str, Any] = {
        "question": "?",
        "answer": WORKED,
        "_rejected": {"message": "text", "line": 3},
    }
    assert guess([record]).mapping == {"question": "problem", "answer": "solution"}
