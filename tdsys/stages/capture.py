"""Take a batch of captures in: every good record is stored, every bad one is explained."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core.arrival import Arrival, arrivals, read_exactly
from tdsys.core.example import Malformed
from tdsys.errors import ConfigurationError, InvalidInput, Transient
from tdsys.inbox import Delivery, Inbox
from tdsys.stages.scoring import Clock
from tdsys.store import Store, examples
from tdsys.store.examples import Ingested, Refusal

EXCERPT = 2000
# What an operator or time mends: waited for, however long it takes.
MENDABLE = (Transient, ConfigurationError)
# What fails this often for no known reason fails always; with the lease that is over a minute.
TRIES = 8
# A worker looks up from its work now and then, to be stopped or to let others in.
AT_ONCE = 200

log = logging.getLogger("tdsys.capture")


class Drained(NamedTuple):
    """What one bell brought in; `more` when captures may still wait."""

    batches: int
    new: int
    failed: int
    more: bool


def drain(store: Store, inbox: Inbox, *, clock: Clock) -> Drained:
    """Take in the batches that wait, oldest first, each in a transaction of its own.

    While Postgres is away a batch goes back uncounted. What fails for no known reason is tried
    again after its lease; in the end each of its records is kept as a refusal.
    """
    batches = new = failed = 0
    for delivery in islice(inbox.deliveries(), AT_ONCE):
        batches += 1
        try:
            new += _taken_in(store, delivery, clock()).new
        except MENDABLE:
            inbox.give_back(delivery)
            raise
        except Exception:
            log.exception("batch %s failed, time %s", delivery.batch_id, delivery.times)
            failed += 1
        else:
            inbox.done(delivery)
    return Drained(batches, new, failed, more=batches == AT_ONCE)


def _taken_in(store: Store, delivery: Delivery, now: datetime) -> Ingested:
    batch_id, records = delivery.batch_id, delivery.records
    reason = f"it failed {TRIES} times; the log says how"
    if delivery.times <= TRIES:
        return ingest(store, batch_id=batch_id, records=records, now=now)
    if delivery.times <= 2 * TRIES:
        return give_up(store, batch_id=batch_id, records=records, reason=reason, now=now)
    # Even reading it seems to end the worker.
    whole = Refusal(0, "not_stored", "", reason, records[:EXCERPT])
    return _store(store, batch_id, {}, [whole], now)


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
