"""Take a batch of captures in: every good record is stored, every bad one is explained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from pydantic import JsonValue, ValidationError

from tdsys.core.example import Capture, Malformed, check_document
from tdsys.errors import InvalidInput
from tdsys.store import Store, examples
from tdsys.store.examples import Ingested, Refusal


def ingest(store: Store, *, batch_id: str, records: str, now: datetime) -> Ingested:
    """Store a batch in one transaction; the same batch again changes nothing."""
    raw = _read(records)
    captures, refusals = accept(raw)
    with store.begin() as tx:
        return examples.ingest(
            tx, batch_id=batch_id, captures=captures, refusals=refusals, received=len(raw), now=now
        )


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
                    raw=_shown(record),
                )
            )
    return captures, refusals


def _read(records: str) -> list[JsonValue]:
    try:
        raw = json.loads(records)
    except (ValueError, RecursionError) as bad:
        raise InvalidInput(f"a capture batch is not JSON: {bad}") from None
    if not isinstance(raw, list):
        raise InvalidInput("a capture batch is not a list")
    return raw


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
    """The record as ASCII JSON text, shortened: it may be the very thing storage refuses."""
    try:
        return json.dumps(record).replace("\\u0000", "\\\\u0000")[:2000]
    except (ValueError, RecursionError):
        return "(cannot be shown)"
