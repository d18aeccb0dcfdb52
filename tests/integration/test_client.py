"""The capture client against a real broker: nothing raised, nothing lost, nothing kept for ever."""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from redis import Redis

from tdsys import wire
from tdsys.client import CaptureClient, MemorySpool

PROBLEM: dict[str, Any] = {
    "domain": "arithmetic",
    "inputs": {"topic": "sums"},
    "outputs": {"problem": "1 + 1?", "answer": "2"},
}
CAPTURES = wire.queue_key(wire.Queue.CAPTURE)


@pytest.fixture
def broker(redis_url: str) -> Redis:
    found: Redis = Redis.from_url(redis_url)
    found.flushdb()
    return found


class Worker(threading.Thread):
    """Plays the ingesting worker: remembers what arrived and acknowledges it."""

    def __init__(self, broker: Redis, *, deaf_to: int = 0) -> None:
        super().__init__(daemon=True)
        self.broker, self.deaf_to = broker, deaf_to
        self.records: dict[str, Any] = {}
        self.batches: list[str] = []
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            found: Any = self.broker.brpop([CAPTURES], timeout=0.2)
            if found is None:
                continue
            _, arguments, _ = json.loads(base64.b64decode(json.loads(found[1])["body"]))
            self.batches.append(arguments["batch_id"])
            if len(self.batches) <= self.deaf_to:
                continue
            for record in json.loads(arguments["records"]):
                self.records[record["capture_id"]] = record
            self.broker.set(wire.acknowledgement_key(arguments["batch_id"]), "1")


@pytest.fixture
def worker(broker: Redis) -> Any:
    found = Worker(broker)
    found.start()
    yield found
    found.stopping = True
    found.join()


@pytest.mark.criterion("1.1")
def test_everything_captured_arrives_once_and_is_then_forgotten(
    redis_url: str, worker: Worker
) -> None:
    with CaptureClient(redis_url) as client:
        ids = [client.capture(**PROBLEM, metadata={"n": n}) for n in range(1000)]
        done = client.flush(10)
    assert done == (1000, 0, {})
    assert set(worker.records) == set(ids)
    assert len(worker.batches) < 100


@pytest.mark.criterion("1.5")
@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"x": math.nan}, "not_finite"),
        ({"x": object()}, "not_json"),
        ({"x": "\ud800"}, "surrogate"),
        ({"x": "y" * 300_000}, "too_large"),
    ],
)
def test_what_cannot_be_kept_is_counted_and_never_raised(
    redis_url: str, outputs: Any, reason: str
) -> None:
    with CaptureClient(redis_url) as client:
        assert client.capture(domain="d", inputs={}, outputs=outputs)
        assert client.stats().dropped == {reason: 1}


def test_a_cyclic_document_is_counted(redis_url: str) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with CaptureClient(redis_url) as client:
        client.capture(domain="d", inputs=loop, outputs={})
        assert client.stats().dropped == {"cyclic": 1}


def test_a_full_spool_drops_and_counts() -> None:
    client = CaptureClient("redis://127.0.0.1:1", spool=MemorySpool(limit=500))
    for _ in range(10):
        client.capture(**PROBLEM)
    stats = client.stats()
    assert stats.dropped["spool_full"] + stats.pending == 10
    assert stats.pending > 0


@pytest.mark.criterion("1.5")
def test_a_broker_that_is_away_neither_blocks_nor_raises_and_nothing_is_forgotten() -> None:
    client = CaptureClient("redis://127.0.0.1:1")
    for _ in range(100):
        client.capture(**PROBLEM)
    assert client.flush(0.3) == (0, 100, {})


def test_the_caller_may_change_the_document_afterwards(redis_url: str, worker: Worker) -> None:
    outputs = {"answer": "2"}
    with CaptureClient(redis_url) as client:
        capture_id = client.capture(domain="d", inputs={}, outputs=outputs)
        outputs["answer"] = "changed"
        client.flush(10)
    assert worker.records[capture_id]["outputs"] == {"answer": "2"}


def test_a_batch_nobody_acknowledged_is_sent_again_under_the_same_name(
    redis_url: str, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdsys.client.RESEND_SECONDS", 0.2)
    deaf = Worker(broker, deaf_to=1)
    deaf.start()
    with CaptureClient(redis_url) as client:
        client.capture(**PROBLEM)
        assert client.flush(10).committed == 1
    deaf.stopping = True
    deaf.join()
    assert len(deaf.batches) >= 2
    assert len(set(deaf.batches)) == 1


def test_a_forked_child_ships_its_own_captures_and_not_its_parents(
    redis_url: str, worker: Worker
) -> None:
    client = CaptureClient(redis_url)
    parent = client.capture(**PROBLEM)
    client.flush(10)
    if (child := os.fork()) == 0:
        client.capture(**PROBLEM, metadata={"from": "child"})
        os._exit(0 if client.flush(10).pending == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(worker.records) == 2
    assert parent in worker.records


def test_threads_may_share_a_client(redis_url: str, worker: Worker) -> None:
    with CaptureClient(redis_url) as client:
        threads = [
            threading.Thread(target=lambda: [client.capture(**PROBLEM) for _ in range(200)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(10).committed == 800
    assert len(worker.records) == 800


def test_importing_the_client_loads_nothing_but_the_standard_library() -> None:
    heavy = ("redis", "celery", "dspy", "sqlalchemy", "pydantic", "click")
    script = f"import sys, tdsys.client; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
