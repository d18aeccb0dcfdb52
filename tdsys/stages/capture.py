"""Take a batch of captures in: every good record is stored, every bad one is explained."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core.arrival import Arrival, arrivals, read_exactly
from tdsys.core.example import Malformed
from tdsys.errors import ConfigurationError, InvalidInput, Transient
from tdsys.inbox import Delivery, Inbox
from tdsys.stages.leases import Clock
from tdsys.store import Store, examples
from tdsys.store.examples import Batch, Ingested, Refusal

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


class _Read(NamedTuple):
    """A delivery as it will be stored, or what reading it came to."""

    delivery: Delivery
    batch: Batch | Exception


def drain(store: Store, inbox: Inbox, *, clock: Clock) -> Drained:
    """Take in the batches that wait, oldest first, each in a transaction of its own.

    While Postgres is away a batch goes back uncounted. What fails for no known reason is tried
    again after its lease; in the end each of its records is kept as a refusal.
    """
    batches = new = failed = 0
    with closing(_one_ahead(inbox)) as reading:
        for delivery, batch in islice(reading, AT_ONCE):
            batches += 1
            try:
                found = _stored(store, delivery.batch_id, batch, clock())
            except MENDABLE:
                inbox.give_back(delivery)
                raise
            except Exception:
                # The id is a producer's text: no line of a log is theirs to write.
                log.exception("batch %r failed, time %s", delivery.batch_id, delivery.times)
                failed += 1
            else:
                new += found.new
                stored = found.new + found.duplicate + found.resent
                inbox.done(delivery, stored=stored, conflicting=found.conflicting)
    return Drained(batches, new, failed, more=batches == AT_ONCE)


def ingest(store: Store, *, batch_id: str, records: str, now: datetime) -> Ingested:
    """Store a batch in one transaction; the same batch again changes nothing.

    A text that cannot be read as a list is one refusal as a whole: the client sends none, so
    whatever else may be in it is not looked for.
    """
    return _stored(store, batch_id, _batch(records), now)


def _one_ahead(inbox: Inbox) -> Generator[_Read, None, None]:
    """What is due, read in a thread while Postgres is at work on the one before.

    Postgres and Python then work at the same time, and a worker takes in half as much again.
    """
    due = map(_read, inbox.deliveries())
    with ThreadPoolExecutor(1, "tdsys-reading") as thread:
        coming = thread.submit(next, due, None)
        try:
            while (found := coming.result()) is not None:
                coming = thread.submit(next, due, None)
                yield found
        except GeneratorExit:
            # Nobody waits for the one ahead any more; it was not tried.
            if (left := coming.result()) is not None:
                inbox.give_back(left.delivery)
            raise


def _read(delivery: Delivery) -> _Read:
    try:
        return _Read(delivery, _batch_at_try(delivery.records, delivery.times))
    except Exception as bug:  # noqa: BLE001  # counts against this batch, not against the next
        return _Read(delivery, bug)


def _batch_at_try(records: str, times: int) -> Batch:
    if times <= TRIES:
        return _batch(records)
    reason = f"it failed {TRIES} times; the log says how"
    if times <= 2 * TRIES:
        return Batch({}, _given_up(records, reason))
    # Even reading it seems to end the worker.
    return Batch({}, [Refusal(0, "not_stored", "", reason, records[:EXCERPT])])


def _batch(records: str) -> Batch:
    good: dict[int, Arrival] = {}
    bad: list[Refusal] = []
    try:
        for position, found in enumerate(arrivals(records)):
            if isinstance(found, Arrival):
                good[position] = found
            else:
                bad.append(_refusal(position, *found))
    except InvalidInput as unreadable:
        return Batch({}, [_unreadable(records, unreadable)])
    return Batch(good, bad)


def _given_up(records: str, reason: str) -> list[Refusal]:
    """Each record with its text, for a person."""
    try:
        raw = read_exactly(records)
    except InvalidInput as bad:
        return [_unreadable(records, bad)]
    return [
        Refusal(position, "not_stored", "", reason, _shown(record))
        for position, record in enumerate(raw)
    ]


def _stored(store: Store, batch_id: str, batch: Batch | Exception, now: datetime) -> Ingested:
    if isinstance(batch, Exception):
        raise batch
    with store.single() as tx:
        return examples.ingest(tx, batch_id=batch_id, batch=batch, now=now)


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
