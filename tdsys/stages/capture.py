"""Take a batch of captures in: every good record is stored, every bad one is explained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import datetime

from pydantic import JsonValue, ValidationError

from tdsys.core.example import Capture, Malformed, check_document
from tdsys.errors import InvalidInput
from tdsys.store import Store, examples
from tdsys.store.examples import Ingested, Refusal

EXCERPT = 2000
# Python's default for the digits it reads (sys.int_info.default_max_str_digits).
LONGEST_INTEGER = 4300


def ingest(store: Store, *, batch_id: str, records: str, now: datetime) -> Ingested:
    """Store a batch in one transaction; the same batch again changes nothing.

    A text that cannot be read as a list is one refusal as a whole: the client sends none, so
    whatever else may be in it is not looked for.
    """
    try:
        raw = _read(records)
    except InvalidInput as bad:
        return _store(store, batch_id, [], [_unreadable(records, bad)], now)
    return _store(store, batch_id, *accept(raw), now)


def give_up(store: Store, *, batch_id: str, records: str, reason: str, now: datetime) -> Ingested:
    """Refuse a whole batch that could not be stored, each record with its text, for a person."""
    try:
        raw = _read(records)
    except InvalidInput as bad:
        refusals = [_unreadable(records, bad)]
    else:
        refusals = [
            Refusal(position, "not_stored", "", reason, _shown(record))
            for position, record in enumerate(raw)
        ]
    return _store(store, batch_id, [], refusals, now)


def accept(raw: Iterable[JsonValue]) -> tuple[list[Capture], list[Refusal]]:
    """Divide records into captures and refusals; one bad record never sinks its neighbours."""
    captures: list[Capture] = []
    refusals: list[Refusal] = []
    for position, record in enumerate(raw):
        try:
            captures.append(_capture(record))
        except Malformed as bad:
            refusals.append(
                Refusal(
                    position=position,
                    code=bad.code,
                    path=bad.path,
                    message=str(bad),
                    raw=_shown(record)[:EXCERPT],
                )
            )
    return captures, refusals


def _read(records: str) -> list[JsonValue]:
    try:
        raw = json.loads(records, parse_int=_integer)
    except (ValueError, TypeError, RecursionError) as bad:
        raise InvalidInput(f"a capture batch is not JSON: {bad}") from None
    if not isinstance(raw, list):
        raise InvalidInput("a capture batch is not a list")
    return raw


def _integer(digits: str) -> float:
    """An integer, or infinity where Python would not read it: that refuses its record alone."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.inf


def _store(
    store: Store, batch_id: str, captures: list[Capture], refusals: list[Refusal], now: datetime
) -> Ingested:
    with store.begin() as tx:
        return examples.ingest(
            tx,
            batch_id=batch_id,
            captures=captures,
            refusals=refusals,
            received=len(captures) + len(refusals),
            now=now,
        )


def _unreadable(records: str, bad: InvalidInput) -> Refusal:
    return Refusal(0, "unreadable", "", str(bad), str(records)[:EXCERPT])


def _capture(record: JsonValue) -> Capture:
    check_document(record)
    try:
        return Capture.model_validate(record)
    except ValidationError as bad:
        first = bad.errors()[0]
        raise Malformed(
            "invalid",
            ".".join(map(str, first["loc"])),
            first["msg"],
            remedy="send domain, inputs, outputs and capture_id",
        ) from None


def _shown(record: JsonValue) -> str:
    """The record as ASCII JSON text: it may be the very thing storage refuses."""
    try:
        return json.dumps(record).replace("\\u0000", "\\\\u0000")
    except (ValueError, RecursionError):
        return "(cannot be shown)"
