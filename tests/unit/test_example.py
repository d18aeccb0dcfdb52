"""Identity of content, and which JSON survives storage."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.example import MAX_BYTES, Malformed, check_document, fingerprint, level
from tests.factories import make_capture

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
documents = st.dictionaries(
    text,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(documents)
def test_a_document_that_is_accepted_comes_back_from_json_unchanged(
    document: dict[str, Any],
) -> None:
    check_document(document)
    assert json.loads(json.dumps(document)) == document


@given(documents, documents)
def test_the_fingerprint_ignores_the_order_of_keys(
    inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    turned = dict(reversed(list(outputs.items())))
    assert fingerprint("d", inputs, outputs) == fingerprint("d", inputs, turned)


@given(text)
def test_the_fingerprint_ignores_letter_case_and_white_space(words: str) -> None:
    shouted = f"  {words.upper()} \n"
    if level(shouted) == level(words):  # some letters have no simple upper case
        assert fingerprint("d", {}, {"problem": words}) == fingerprint(
            "d", {}, {"problem": shouted}
        )
    assert fingerprint("d", {}, {"p": "How  MANY?"}) == fingerprint("d", {}, {"p": "how many?"})


def test_the_fingerprint_tells_domains_inputs_and_outputs_apart() -> None:
    prints = {
        fingerprint("a", {"x": "1"}, {"y": "2"}),
        fingerprint("b", {"x": "1"}, {"y": "2"}),
        fingerprint("a", {"x": "2"}, {"y": "2"}),
        fingerprint("a", {"x": "1"}, {"y": "3"}),
        fingerprint("a", {"x": "1", "y": "2"}, {}),
    }
    assert len(prints) == 5


nested: list[Any] = []
for _ in range(40):
    nested = [nested]


@pytest.mark.parametrize(
    ("document", "code", "path"),
    [
        ({"a": {"b": "x\x00"}}, "nul", "a.b"),
        ({"a": ["ok", "\ud800"]}, "surrogate", "a[1]"),
        ({"a": math.nan}, "not_finite", "a"),
        ({"a": math.inf}, "not_finite", "a"),
        ({"a": {1, 2}}, "not_json", "a"),
        ({1: "x"}, "key_not_text", ""),
        ({"a": "x" * MAX_BYTES}, "too_large", ""),
    ],
)
def test_what_storage_would_change_is_refused_with_its_path(
    document: Any, code: str, path: str
) -> None:
    with pytest.raises(Malformed) as refused:
        check_document(document)
    assert (refused.value.code, refused.value.path) == (code, path)
    assert refused.value.remedy


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Malformed) as refused:
        check_document({"a": nested})
    assert refused.value.code == "too_deep"


def test_a_capture_without_labels_belongs_to_the_general_cell() -> None:
    assert make_capture(inputs={}).cell == ("general", "unrated")
    assert make_capture(inputs={"topic": " Sums ", "difficulty": "EASY"}).cell == ("sums", "easy")
