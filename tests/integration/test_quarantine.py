"""What does not belong in a queue ends in quarantine, and the message after it is worked off."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import pickle
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tdsys import quarantine, wire
from tdsys.wire import Queue, Task
from tests.desk import Desk, a_worker
from tests.factories import NOW, PROBLEM
from tests.processes import descendants, wait_for

CAPTURES = wire.queue_key(Queue.CAPTURE)
DEEP = "[" * 100_000 + "]" * 100_000
# A worker at rest takes about 60 MB.
ROOM_KB = 120_000
POOL_ROOM_KB = 300_000


def envelope(
    *,
    headers: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
    body: bytes | None = None,
    arguments: dict[str, Any] | None = None,
    embed: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
) -> bytes:
    """A message of ours with something changed."""
    message = json.loads(wire.envelope(Task.INGEST))
    message["headers"] |= headers or {}
    message["properties"] |= properties or {}
    if arguments is not None or embed is not None:
        body = json.dumps([[], arguments or {}, embed or {}]).encode()
    if body is not None:
        message["body"] = base64.b64encode(body).decode()
    return json.dumps(message | (fields or {})).encode()


def to(exchange: str, routing_key: str) -> dict[str, Any]:
    return {"delivery_info": {"exchange": exchange, "routing_key": routing_key}}


def ahead(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


PICKLED = {"content-type": "application/x-python-serialize"}
HIDDEN_TYPE = envelope().replace(
    b'{"body"', b'{"headers": {"__type__": "none such", "__value__": 1}, "body"'
)
CHAIN = [{"task": "reports.freshness", "args": [], "kwargs": {}, "options": {}}]
ZIPPED = base64.b64encode(gzip.compress(b"[" * 5_000_000)).decode()
TOO_LARGE = "larger than 16384 bytes"
WAITS = "it wants to wait"

POISON: dict[str, tuple[bytes, str]] = {
    "seven bytes": (b"\x80poison", "the message is not JSON"),
    "nothing": (b"", "the message is not JSON"),
    "text that is not JSON": (b"{not JSON", "the message is not JSON"),
    "UTF-16": ("{}".encode("utf-16"), "the message is not JSON"),
    "a number": (b"7", "not the envelope of a task"),
    "an integer of 10,000 digits": (b"1" * 10_000, "the message is not JSON"),
    "an empty object": (b"{}", "not the envelope of a task"),
    "five megabytes": (b'{"body": "%s"}' % (b"x" * 5_000_000), TOO_LARGE),
    "100,000 brackets": (DEEP.encode(), TOO_LARGE),
    "2,000 brackets": (("[" * 2000 + "]" * 2000).encode(), "the message is nested too deeply"),
    "a million empty lists": (b"[" + b"[]," * 999_999 + b"[]]", TOO_LARGE),
    "pickle": (
        envelope(body=pickle.dumps(Harm()), fields=PICKLED),
        "its content is not JSON",
    ),
    "pickle that says it is JSON": (envelope(body=pickle.dumps(Harm())), "its body is not JSON"),
    "another encoding": (envelope(fields={"content-encoding": "zlib"}), "its content is not JSON"),
    "a compressed body": (
        envelope(headers={"compression": "application/x-gzip"}, fields={"body": ZIPPED}),
        "it is compressed",
    ),
    "an unknown task": (envelope(headers={"task": "os.system"}), "none of this queue's"),
    "another queue's task": (
        envelope(headers={"task": "optimization.run"}),
        "none of this queue's",
    ),
    "a task that is a list": (envelope(headers={"task": []}), "none of this queue's"),
    "a task of Celery's own": (envelope(headers={"task": "celery.chain"}), "none of this queue's"),
    "no headers": (envelope(fields={"headers": None}), "its headers are missing"),
    "a header of 10 KB": (envelope(headers={"argsrepr": "x" * 10_000}), "no short text"),
    "a header with control signs": (envelope(headers={"origin": "\x1b[2J"}), "no short text"),
    "no id": (envelope(headers={"id": None}), "its id"),
    "a negative number of tries": (envelope(headers={"retries": -1}), WAITS),
    "a time limit": (envelope(headers={"timelimit": [0.001, 0.001]}), "no short text"),
    "a time limit that is a text": (envelope(headers={"timelimit": "1"}), "a time limit"),
    "a year ahead": (envelope(headers={"eta": ahead(days=365)}), WAITS),
    "an eta that is no time": (envelope(headers={"eta": "soon"}), WAITS),
    "an expiry that is no time": (envelope(headers={"expires": 10**300}), "at no time"),
    "an expiry in another age": (envelope(headers={"expires": ahead(days=9999)}), "at no time"),
    "no properties": (envelope(fields={"properties": []}), "its properties"),
    "no delivery tag": (envelope(properties={"delivery_tag": None}), "its delivery_tag"),
    "foreign routing": (envelope(properties=to("", "optimization")), "another queue"),
    "a foreign exchange": (envelope(properties=to("celery.pidbox", "capture")), "another queue"),
    "no delivery information": (
        envelope(properties={"delivery_info": None}),
        "delivery properties",
    ),
    "a priority that is no number": (envelope(properties={"priority": "high"}), "its priority"),
    "a body as it is": (envelope(properties={"body_encoding": None}), "its body is not in base64"),
    "bad base64": (envelope(fields={"body": "!!!"}), "its body is not in base64"),
    "a body that is a list": (envelope(fields={"body": []}), "its body is not in base64"),
    "a body of 8,000 brackets": (
        envelope(body=b"[" * 4000 + b"]" * 4000),
        "its body is nested too deeply",
    ),
    "a body without arguments": (envelope(body=b"[]"), "not that of a task"),
    "arguments by position": (envelope(body=b'[["a", "b"], {}, {}]'), "not that of a task"),
    "arguments by name": (envelope(arguments={"batch_id": "b"}), "it brings arguments"),
    "a type to be made": (
        envelope(headers={"__type__": "uuid", "__value__": "1"}),
        "it names a type",
    ),
    "a type that a later key hides": (HIDDEN_TYPE, "it names a type"),
    "a type in the body": (
        envelope(arguments={"records": {"__type__": "decimal", "__value__": "1"}}),
        "it names a type",
    ),
    "a callback": (envelope(embed={"callbacks": CHAIN}), "more done than its task"),
    "an errback": (envelope(embed={"errbacks": CHAIN}), "more done than its task"),
    "a chain": (envelope(embed={"chain": CHAIN}), "more done than its task"),
    "a chord": (envelope(embed={"chord": CHAIN[0]}), "more done than its task"),
    "something else to do": (envelope(embed={"later": []}), "more done than its task"),
}


@pytest.fixture(scope="module")
def running(
    redis_url: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    Redis.from_url(redis_url).flushdb()
    with a_worker(redis_url, database_url, tmp_path_factory.mktemp("worker")) as desk:
        yield desk


def works(desk: Desk) -> None:
    """An ordinary batch is stored."""
    record = {
        "capture_id": str(uuid.uuid4()),
        "domain": "d",
        "captured_at": NOW.isoformat(),
        "inputs": {"topic": "sums"},
        "outputs": {**PROBLEM, "problem": f"What is {uuid.uuid4()}?"},
    }
    batch = str(uuid.uuid4())
    desk.put(json.dumps([record]), batch_id=batch)
    wait_for(lambda: desk.acknowledged(batch), "the next message is worked off")


def resident_kb(pid: int) -> int:
    (line,) = [
        one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in one
    ]
    return int(line.split()[1])


@pytest.mark.parametrize("name", POISON)
def test_poison_is_put_away_with_its_reason_and_the_next_message_is_worked_off(
    running: Desk, name: str
) -> None:
    raw, reason = POISON[name]
    before = quarantine.listed(running.broker, limit=1)
    pool = descendants(running.pid)
    running.broker.lpush(CAPTURES, raw)
    works(running)
    (kept,) = quarantine.listed(running.broker, limit=1)
    assert kept.number == (before[0].number + 1 if before else 1)
    assert reason in kept.reason
    assert (kept.queue, kept.size) == ("capture", len(raw))
    assert kept.sha256 == hashlib.sha256(raw).hexdigest()
    assert raw.startswith(kept.head)
    assert len(kept.head) == min(len(raw), quarantine.HEAD_BYTES)
    assert running.is_running()
    assert descendants(running.pid) == pool
    assert running.in_hand() == 0


def test_after_all_that_the_worker_is_the_same_and_has_run_nothing_else(running: Desk) -> None:
    works(running)
    assert resident_kb(running.pid) < ROOM_KB
    log = running.log()
    assert "unpickled" not in log
    assert "Traceback" not in log
    assert "reports.freshness" not in log.partition(" ready.")[2]


ORDERS = {
    "an empty object": b"{}",
    "a list": b"[]",
    "a number": b"7",
    "bytes": b"\x80\x81",
    "100,000 brackets": DEEP.encode(),
    "no method": envelope(body=b'{"no": "method"}'),
    "pickle": envelope(body=pickle.dumps(Harm()), fields=PICKLED),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_for_workers_that_nobody_understands_is_dropped(running: Desk, name: str) -> None:
    assert running.broker.publish("tdsys:/0.celery.pidbox", ORDERS[name]) == 1
    works(running)
    assert running.is_running()


@pytest.mark.parametrize("task", list(Task))
def test_what_the_service_sends_itself_is_let_in(task: Task) -> None:
    assert quarantine.fault(wire.envelope(task), task.queue) is None


WIDE = b"[" + b"0," * 10**6 + b"0]"
ENTRIES: dict[str, dict[bytes, bytes]] = {
    "foreign fields": {b"x": b"y"},
    "bytes": {wire.BATCH_FIELD: b"\xff\x00", wire.RECORDS_FIELD: b"\xff\x00"},
    "seven megabytes": {wire.BATCH_FIELD: b"huge", wire.RECORDS_FIELD: b"[" + b" " * 7_000_000},
    "a million numbers": {
        wire.BATCH_FIELD: b"wide",
        wire.RECORDS_FIELD: b"[" + b"0," * 10**6 + b"0]",
    },
    "100,000 brackets": {wire.BATCH_FIELD: b"deep", wire.RECORDS_FIELD: DEEP.encode()},
    "a name of a megabyte": {wire.BATCH_FIELD: b"n" * 10**6, wire.RECORDS_FIELD: b"[]"},
    "10,000 fields": {b"%d" % n: b"x" for n in range(10_000)},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_poison_in_the_stream_is_a_refusal_and_the_next_batch_is_taken_in(
    running: Desk, name: str
) -> None:
    pool = descendants(running.pid)
    running.add(ENTRIES[name])
    works(running)
    wait_for(lambda: not running.waiting(), "nothing is left in the stream")
    assert running.is_running()
    assert descendants(running.pid) == pool
    assert all(resident_kb(child) < POOL_ROOM_KB for child in pool)


def test_only_the_newest_thousand_are_kept(redis_url: str) -> None:
    broker: Redis = Redis.from_url(redis_url)
    quarantine.clear(broker)
    first = quarantine.keep(broker, b"first", queue="capture", reason="a test")
    for _ in range(quarantine.KEPT):
        quarantine.keep(broker, b"more", queue="capture", reason="a test")
    kept = quarantine.listed(broker)
    assert [one.number for one in kept] == list(range(first + quarantine.KEPT, first, -1))
    assert quarantine.clear(broker) == quarantine.KEPT == len(kept)
    assert quarantine.count(broker) == 0
