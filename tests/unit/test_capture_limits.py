"""The client refuses exactly what the worker would refuse, with orjson and without."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys import client
from tdsys.client import Serialiser, Unfit
from tdsys.core import example
from tdsys.core.example import Malformed, check_document

PLAIN, FAST = Serialiser(), Serialiser(orjson.dumps)
TEXT = st.text(alphabet='\\u0"[{}]\x00', max_size=12)
LEAVES: st.SearchStrategy[Any] = st.one_of(st.none(), st.integers(), TEXT, st.just([]), st.just({}))
MAXIMUM = client.MAX_RECORD_BYTES


class Level(StrEnum):
    EASY = "easy"


class Grade(IntEnum):
    FIRST = 1


class Colour(Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


class Number(float):
    __slots__ = ()


ODD = [Level.EASY, Grade.FIRST, Colour.RED, Text("t"), Number(0.5), Number(math.nan), Decimal(1)]
ODD += [UUID(int=1), b"bytes", {1, 2}, OrderedDict(a=1), (1, 2), object(), 2**80, 1e-7, 1e16, -0.0]
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(codec=None, exclude_categories=()), max_size=8),
        st.sampled_from(ODD),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(TEXT, st.integers(), st.none()), inner, max_size=4),
        st.tuples(inner),
    ),
    max_leaves=12,
)


@st.composite
def deep_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents about as deep as is allowed, with text that looks like structure."""
    inner: Any = draw(LEAVES)
    for key in draw(st.lists(TEXT, min_size=28, max_size=35)):
        inner = [inner] if len(key) % 2 else {key: inner}
    return {"outputs": inner, "inputs": draw(TEXT)}


def outcome(serialise: Serialiser, document: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "kept", json.loads(serialise(document))
    except Unfit as unfit:
        return str(unfit), None


def by_the_worker(document: dict[str, Any]) -> str:
    try:
        check_document(document)
    except Malformed as bad:
        return bad.code
    return "kept"


@given(deep_documents())
def test_what_the_client_keeps_the_worker_keeps_and_what_it_drops_the_worker_would(
    document: dict[str, Any],
) -> None:
    client_says, worker_says = outcome(PLAIN, document)[0], by_the_worker(document)
    assert (client_says == "kept") == (worker_says == "kept")
    # a document may be both, and then it is a matter of which is seen first
    assert client_says == worker_says or {client_says, worker_says} == {"nul", "too_deep"}


@given(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=4))
def test_whatever_is_handed_over_the_verdict_is_the_workers_and_nothing_is_raised(
    document: dict[str, Any],
) -> None:
    said, kept = outcome(PLAIN, document)
    assert (said == "kept") == (by_the_worker(document) == "kept")
    if said == "kept":
        assert by_the_worker(kept) == "kept"


@given(st.one_of(deep_documents(), st.dictionaries(st.text(max_size=3), ANYTHING, max_size=4)))
def test_orjson_changes_neither_what_is_kept_nor_why_something_is_not(
    document: dict[str, Any],
) -> None:
    assert outcome(FAST, document) == outcome(PLAIN, document)


@pytest.mark.parametrize("number", [1e-7, 1e16, 1.5e300])
@pytest.mark.parametrize("room", range(-6, 7))
def test_the_largest_record_is_the_same_for_both(number: float, room: int) -> None:
    document: dict[str, Any] = {"n": [number] * 1000, "text": ""}
    document["text"] = "x" * (MAXIMUM - len(PLAIN(document)) + room)
    assert outcome(FAST, document)[0] == outcome(PLAIN, document)[0] == by_the_worker(document)


@pytest.mark.parametrize("serialise", [PLAIN, FAST])
@pytest.mark.parametrize(
    ("text", "reason"),
    [("\x00", "nul"), ("\\u0000", "kept"), ("\\\x00", "nul"), ("\\\\u0000", "kept")],
)
def test_a_nul_is_told_from_text_that_looks_like_one(
    serialise: Serialiser, text: str, reason: str
) -> None:
    assert outcome(serialise, {"inputs": text})[0] == reason


def test_both_sides_have_the_same_limits() -> None:
    assert client.MAX_DEPTH == example.MAX_DEPTH
    assert client.MAX_RECORD_BYTES == example.MAX_BYTES


def shared_a_million_times() -> Any:
    inner: Any = ["x"]
    for _ in range(29):
        inner = [inner] * 9
    return inner


def holding_itself(times: int) -> Any:
    loop: list[Any] = []
    loop += [loop] * times
    return loop


@pytest.mark.parametrize("serialise", [PLAIN, FAST])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (shared_a_million_times(), "too_large"),
        (holding_itself(1), "cyclic"),
        (holding_itself(9), "cyclic"),
        (["x" * 1000] * 10_000_000, "too_large"),
        ("x" * 100_000_000, "too_large"),
        ({"a": [{"b": "x" * 200_000}] * 2}, "too_large"),
    ],
    ids=["shared", "cyclic", "cyclic and wide", "long list", "long text", "twice a large part"],
)
def test_what_would_take_long_to_write_down_is_refused_before(
    serialise: Serialiser, value: Any, reason: str
) -> None:
    assert outcome(serialise, {"value": value})[0] == reason
