"""Take a batch of captures in: every good record is stored, every bad one is explained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from tdsys.core.arrival import Arrival, arrivals, read_exactly
from tdsys.core.example import Malformed
from tdsys.errors import InvalidInput
from tdsys.store import Store, examples
from tdsys.store.examples import Ingested, Refusal

EXCERPT = 2000


def ingest(store: Store, *, batch_id: str, records: str, now: datetime) -> Ingested:
    """Store a batch in one transaction; the same batch again changes nothing.

    A text that cannot be read as a list is one refusal as a whole: the client sends none, so
    whatever else may be in it is not looked for.
    """
    good: dict[int, Arrival] = {}
    bad: list[Refusal] = []
    try:
        for position, found in enumerate(arrivals(records)):
            if isinstance(found, Arrival):
                good[position] = found
            else:
                bad.append(_refusal(position, *found))
    except InvalidInput as unreadable:
        bad = [_unreadable(records, unreadable)]
    return _store(store, batch_id, good, bad, now)


def give_up(store: Store, *, batch_id: str, records: str, reason: str, now: datetime) -> Ingested:
    """Refuse a whole batch that could not be stored, each record with its text, for a person."""
    try:
        raw = read_exactly(records)
    except InvalidInput as bad:
        refusals = [_unreadable(records, bad)]
    else:
        refusals = [
            Refusal(position, "not_stored", "", reason, _shown(record))
            for position, record in enumerate(raw)
        ]
    return _store(store, batch_id, {}, refusals, now)


def _store(
    store: Store,
    batch_id: str,
    arrivals: Mapping[int, Arrival],
    refusals: list[Refusal],
    now: datetime,
) -> Ingested:
    with store.single() as tx:
        return examples.ingest(tx, batch_id=batch_id, arrivals=arrivals, refusals=refusals, now=now)


def _refusal(position: int, record: JsonValue, bad: Malformed) -> Refusal:
    return Refusal(position, bad.code, bad.path, str(bad), _shown(record)[:EXCERPT])


def _unreadable(records: str, bad: InvalidInput) -> Refusal:
    return Refusal(0, "unreadable", "", str(bad), str(records)[:EXCERPT])


def _shown(record: JsonValue) -> str:
    """The record as ASCII JSON text: it may be the very thing storage refuses."""
    try:
        return json.dumps(record).replace("\\u0000", "\\\\u0000")
    except (ValueError, RecursionError):
        return "(cannot be shown)"
