"""An arrival holds a capture unchanged, whichever way it was read, and fits into Postgres."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.arrival import Arrival, arrival, arrivals, from_capture
from tdsys.core.example import Capture, Malformed, canonical, check_document, fingerprint, level
from tdsys.errors import InvalidInput
from tests.factories import NOW, make_capture

TEXT = st.text(max_size=12) | st.text(alphabet='aA \t\x1f\\u0"', max_size=12)
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(TEXT, VALUES, max_size=3)


def record(**over: Any) -> dict[str, Any]:
    return {**make_capture().model_dump(mode="json"), **over}


def levelled(value: Any) -> Any:
    """The definition of identity, word by word."""
    if isinstance(value, str):
        return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if isinstance(value, dict):
        return {key: levelled(inner) for key, inner in value.items()}
    return [levelled(inner) for inner in value] if isinstance(value, list) else value


@given(st.text())
def test_text_is_levelled_the_same_whether_it_is_ascii_or_not(words: str) -> None:
    assert level(words) == levelled(words)


@given(FIELDS, FIELDS)
def test_a_fingerprint_is_the_hash_of_levelled_canonical_json(
    inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    try:
        check_document([inputs, outputs])
    except Malformed:
        return
    content = {"domain": "d", "inputs": levelled(inputs), "outputs": levelled(outputs)}
    assert fingerprint("d", inputs, outputs) == hashlib.sha256(canonical(content)).digest()


@given(FIELDS, FIELDS, FIELDS)
def test_both_ways_of_reading_make_the_same_arrival_of_every_record(
    inputs: dict[str, Any], outputs: dict[str, Any], metadata: dict[str, Any]
) -> None:
    given = record(inputs=inputs, outputs=outputs, metadata=metadata)
    text = json.dumps([given])
    (quick,) = arrivals(text)
    if not isinstance(quick, Arrival):
        with pytest.raises(Malformed):
            check_document(given)
        return
    careful = from_capture(Capture.model_validate(given))
    assert (quick.key, quick.domain) == (careful.key, careful.domain)
    assert json.loads(quick.row) == json.loads(careful.row)
    held, again = json.loads(quick.payload), json.loads(careful.payload)
    assert held == again
    assert json.dumps(held) == json.dumps(
        {"inputs": inputs, "outputs": outputs, "metadata": metadata}
    )


@pytest.mark.parametrize(
    ("over", "code", "path"),
    [
        ({"outputs": {"x": "a\x00b"}}, "nul", "outputs.x"),
        ({"outputs": {"x": "\ud800"}}, "surrogate", "outputs.x"),
        ({"outputs": {"x": math.nan}}, "not_finite", "outputs.x"),
        ({"outputs": {"x": [math.inf]}}, "not_finite", "outputs.x[0]"),
        ({"outputs": {"x": 10**4300}}, "not_json", "outputs.x"),
        ({"metadata": {"k\x00": 1}}, "nul", "metadata"),
        ({"outputs": {"x": "y" * 300_000}}, "too_large", ""),
        ({"outputs": []}, "invalid", "outputs"),
        ({"domain": " "}, "invalid", "domain"),
        ({"capture_id": "no"}, "invalid", "capture_id"),
        ({"captured_at": "2026-01-01T00:00:00"}, "invalid", "captured_at"),
        ({"captured_at": "9999-12-31T23:59:59-23:00"}, "invalid", "captured_at"),
    ],
)
def test_what_postgres_cannot_hold_is_refused_by_name(
    over: dict[str, Any], code: str, path: str
) -> None:
    with pytest.raises(Malformed) as refused:
        arrival(record(**over))
    assert (refused.value.code, refused.value.path) == (code, path)
    assert refused.value.remedy


def test_a_bad_record_is_handed_back_with_its_reason_and_its_neighbours_arrive() -> None:
    first, bad, last = record(), record(outputs="no"), record()
    found = arrivals(json.dumps([first, bad, last]))
    assert [isinstance(one, Arrival) for one in found] == [True, False, True]
    assert isinstance(found[1], tuple)
    assert found[1][0] == bad


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64, -(2**80), 10**4299, 1e300, -1e22])
def test_no_number_is_rounded_on_the_way(number: float) -> None:
    (found,) = arrivals(json.dumps([record(metadata={"n": number})]))
    assert isinstance(found, Arrival)
    assert json.loads(found.payload)["metadata"] == {"n": number}


@pytest.mark.parametrize("text", ["", "{}", "7", "null", '[{"a": 1}', "[" * 100_000])
def test_a_batch_that_is_no_list_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(InvalidInput):
        arrivals(text)


@pytest.mark.parametrize("name", ["{ID}", "urn:uuid:{ID}", "{{{ID}}}"])
def test_one_id_in_other_letters_is_the_same_capture(name: str) -> None:
    capture_id = str(uuid.uuid4())
    written = name.format(ID=capture_id.upper())
    assert arrival(record(capture_id=written)).key[0] == capture_id


def test_times_are_kept_in_utc_whatever_clock_they_were_read_from() -> None:
    elsewhere = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=20, minutes=1)))
    for over in (elsewhere.isoformat(), elsewhere.timestamp()):
        held = json.loads(arrival(record(captured_at=over)).row)["captured_at"]
        assert datetime.fromisoformat(held) == elsewhere.astimezone(UTC)
    assert json.loads(from_capture(make_capture()).row)["captured_at"] == NOW.isoformat()
