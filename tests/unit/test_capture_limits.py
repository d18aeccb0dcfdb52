"""The client refuses exactly what the worker would refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys import client
from tdsys.core import example
from tdsys.core.example import Malformed, check_document

TEXT = st.text(alphabet='\\u0"[{}]\x00', max_size=12)
LEAVES: st.SearchStrategy[Any] = st.one_of(st.none(), st.integers(), TEXT, st.just([]), st.just({}))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents about as deep as is allowed, with text that looks like structure."""
    inner: Any = draw(LEAVES)
    for key in draw(st.lists(TEXT, min_size=28, max_size=35)):
        inner = [inner] if len(key) % 2 else {key: inner}
    return {"outputs": inner, "inputs": draw(TEXT)}


def by_the_client(document: dict[str, Any]) -> str:
    try:
        client.Serialiser()(document)
    except client.Unfit as unfit:
        return str(unfit)
    return "kept"


def by_the_worker(document: dict[str, Any]) -> str:
    try:
        check_document(document)
    except Malformed as bad:
        return bad.code
    return "kept"


@given(documents())
def test_what_the_client_keeps_the_worker_keeps_and_what_it_drops_the_worker_would(
    document: dict[str, Any],
) -> None:
    client_says, worker_says = by_the_client(document), by_the_worker(document)
    assert (client_says == "kept") == (worker_says == "kept")
    # a document may be both, and then it is a matter of which is seen first
    assert client_says == worker_says or {client_says, worker_says} == {"nul", "too_deep"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("\x00", "nul"), ("\\u0000", "kept"), ("\\\x00", "nul"), ("\\\\u0000", "kept")],
)
def test_a_nul_is_told_from_text_that_looks_like_one(text: str, reason: str) -> None:
    assert by_the_client({"inputs": text}) == reason


def test_both_sides_have_the_same_limits() -> None:
    assert client.MAX_DEPTH == example.MAX_DEPTH
    assert client.MAX_RECORD_BYTES == example.MAX_BYTES
