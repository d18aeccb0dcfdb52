"""An example ready to be stored: its identity, and all of it as the JSON text the store reads.

One rule: whatever is an `Arrival` fits into Postgres as it is, so none can sink its neighbours.

Nearly every record takes the quick way. It understands only what is plainly right, and leaves
the rest to the careful way, which is four times slower and says what is wrong, and where.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson
from pydantic import JsonValue, ValidationError

from tdsys.core.example import (
    LONGEST_INTEGER,
    MAX_BYTES,
    MAX_DEPTH,
    Capture,
    Document,
    Malformed,
    check_document,
    check_domain,
    fingerprint,
    label,
)
from tdsys.core.mistakes import first_mistake
from tdsys.errors import InvalidInput

CONTENT = ("inputs", "outputs", "metadata")
# What orjson reads as a float although it was written as an integer begins here.
FIRST_INEXACT = 2.0**63
# A client sends 200; explaining each of a million would keep everybody waiting.
MOST_RECORDS = 5000
_CANONICAL_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Arrival(NamedTuple):
    """One example on its way into the store; equal `key`s are one capture sent twice.

    `row` and `payload` are the JSON texts of its labels and of its content.
    """

    key: tuple[str, str]
    domain: str
    row: str
    payload: str


class _Unusual(Exception):
    """The quick way does not understand this record."""


def arrivals(records: str) -> list[Arrival | tuple[JsonValue, Malformed]]:
    """Each record of a batch as an arrival, or as it was with what is wrong with it.

    `records` is the text of a JSON list; InvalidInput when it is none.
    """
    try:
        given = orjson.loads(records)
    except orjson.JSONDecodeError:
        return [_careful(record) for record in read_exactly(records)]
    given = _listed(given)
    exact: list[JsonValue] = []
    found: list[Arrival | tuple[JsonValue, Malformed]] = []
    for position, record in enumerate(given):
        try:
            found.append(_quick(record))
        except _Unusual:
            exact = exact or read_exactly(records)
            found.append(_careful(exact[position]))
    return found


def arrival(record: JsonValue) -> Arrival:
    """One captured record; Malformed says where it is wrong and how to mend it."""
    try:
        return _quick(record)
    except _Unusual:
        check_document(record)
        return from_capture(_capture(record))


def from_capture(capture: Capture) -> Arrival:
    """A capture on its way into the store; Malformed for what Postgres cannot hold."""
    document = {name: getattr(capture, name) for name in CONTENT}
    check_document(document)
    try:
        captured_at = capture.captured_at.astimezone(UTC)
    except OverflowError:
        raise Malformed(
            "invalid", "captured_at", "beyond the calendar", remedy="send the time it was"
        ) from None
    payload = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    return written(
        str(capture.capture_id), capture.domain, captured_at.isoformat(), document, payload
    )


def _careful(record: JsonValue) -> Arrival | tuple[JsonValue, Malformed]:
    try:
        return arrival(record)
    except Malformed as bad:
        return record, bad


def _quick(record: JsonValue) -> Arrival:
    if type(record) is not dict:
        raise _Unusual
    capture_id, domain = record.get("capture_id"), record.get("domain")
    if type(capture_id) is not str or not _CANONICAL_ID.fullmatch(capture_id):
        raise _Unusual
    if type(domain) is not str or not _is_name(domain):
        raise _Unusual
    document: Document = {name: record.get(name, {}) for name in CONTENT}
    for part in document.values():
        if type(part) is not dict:
            raise _Unusual
        _look_through(part, MAX_DEPTH - 1)
    captured_at = _utc(record.get("captured_at"))
    return written(capture_id, domain, captured_at, document, _plain(document))


def _look_through(value: JsonValue, room: int) -> None:
    """_Unusual for what may be too deep, and for numbers that orjson may have rounded."""
    kind = type(value)
    if kind is dict or kind is list:
        if not room:
            raise _Unusual
        for inner in value.values() if kind is dict else value:  # type: ignore[union-attr]
            if type(inner) is not str:
                _look_through(inner, room - 1)
    elif kind is float and not abs(value) < FIRST_INEXACT:  # type: ignore[arg-type]  # or NaN
        raise _Unusual


def _plain(document: Document) -> bytes:
    """The document as JSON text; _Unusual when Postgres or orjson might not take it."""
    try:
        payload = orjson.dumps(document)
    except TypeError:
        raise _Unusual from None
    if len(payload) > MAX_BYTES // 2 or b"\\u0000" in payload:
        raise _Unusual
    return payload


def written(
    capture_id: str, domain: str, captured_at: str, document: Document, payload: bytes
) -> Arrival:
    """The arrival of a document that `payload` is the JSON text of; nothing is checked here."""
    inputs, outputs, metadata = (_fields(document[name]) for name in CONTENT)
    identity = fingerprint(domain, inputs, outputs).hex()
    row = orjson.dumps(
        {
            "capture_id": capture_id,
            "fingerprint": identity,
            "domain": domain,
            "topic": label(inputs, "topic", "general"),
            "difficulty": label(inputs, "difficulty", "unrated"),
            "simulated": metadata.get("simulated") is True,
            "captured_at": captured_at,
        }
    )
    return Arrival((capture_id, identity), domain, row.decode(), payload.decode())


def _fields(part: JsonValue) -> Mapping[str, JsonValue]:
    assert isinstance(part, dict)  # noqa: S101  # both ways have seen it
    return part


@lru_cache(maxsize=1000)
def _is_name(domain: str) -> bool:
    try:
        check_domain(domain)
    except InvalidInput:
        return False
    return True


def _utc(text: JsonValue) -> str:
    try:
        at = datetime.fromisoformat(str(text))
        if at.tzinfo is None:
            raise _Unusual
        return at.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise _Unusual from None


def read_exactly(records: str) -> list[JsonValue]:
    """The list with every number as it was written; InvalidInput when the text is no list."""
    try:
        given = json.loads(records, parse_int=_integer)
    except (ValueError, TypeError, RecursionError) as bad:
        raise InvalidInput(f"a capture batch is not JSON: {bad}") from None
    return _listed(given)


def _listed(given: JsonValue) -> list[JsonValue]:
    if not isinstance(given, list):
        raise InvalidInput("a capture batch is not a list")
    if len(given) > MOST_RECORDS:
        raise InvalidInput(f"a capture batch of {len(given)} records, more than {MOST_RECORDS}")
    return given


def _integer(digits: str) -> float:
    """An integer, or infinity where Python would not read it: that refuses its record alone."""
    return int(digits) if len(digits.lstrip("-")) <= LONGEST_INTEGER else math.inf


def _capture(record: JsonValue) -> Capture:
    try:
        return Capture.model_validate(record)
    except ValidationError as bad:
        raise Malformed(
            "invalid",
            *first_mistake(bad),
            remedy="send domain, inputs, outputs and capture_id",
        ) from None
