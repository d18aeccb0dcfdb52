"""The broker is killed under load, time and again: workers stay, captures flow, nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select

from tdsys import wire
from tdsys.broker import connect
from tdsys.embedded.ports import any_free, is_free
from tdsys.embedded.valkey import EmbeddedValkey
from tdsys.store import Store
from tdsys.store.schema import examples
from tests.desk import a_worker
from tests.factories import make_record
from tests.processes import wait_for

SEED = 20
SHORT, LONG = 6, 60
IN_FLIGHT = 10
RECORDS = 60
RESEND_SECONDS = 2.0
RESUMES_WITHIN = 5.0
BELL = wire.bell_key(wire.Task.INGEST)
BELLS = wire.queue_key(wire.Queue.CAPTURE)


@dataclass
class _Batch:
    fields: dict[Any, Any]
    born_at: float = field(default_factory=time.monotonic)
    sent_at: float = 0.0


class Producer(threading.Thread):
    """A client reduced to its promise: a batch is sent until it is acknowledged."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.broker: Redis = connect(url, socket_timeout=1, connect_timeout=1)
        self.sent = 0
        self.newest_committed = 0.0
        self.ending = threading.Event()
        self._open: dict[str, _Batch] = {}
        self._owes_ring = False

    def run(self) -> None:
        while self._open or not self.ending.is_set():
            try:
                self._step()
            except (RedisError, OSError):
                time.sleep(0.02)

    def _step(self) -> None:
        self._learn()
        for batch_id, batch in list(self._open.items()):
            if time.monotonic() - batch.sent_at > RESEND_SECONDS:
                self._push(batch_id, batch)
        while len(self._open) < IN_FLIGHT and not self.ending.is_set():
            batch_id = str(uuid.uuid4())
            records = json.dumps([make_record() for _ in range(RECORDS)])
            self.sent += RECORDS
            self._push(batch_id, _Batch({"batch": batch_id, "records": records}))

    def _learn(self) -> None:
        ids = list(self._open)
        answers: Any = self.broker.mget([wire.acknowledgement_key(i) for i in ids]) if ids else []
        for batch_id, answer in zip(ids, answers, strict=True):
            if answer is not None:
                born_at = self._open.pop(batch_id).born_at
                self.newest_committed = max(self.newest_committed, born_at)

    def _push(self, batch_id: str, batch: _Batch) -> None:
        self._open[batch_id] = batch
        batch.sent_at = time.monotonic()
        with self.broker.pipeline(transaction=False) as pipe:
            pipe.xadd(wire.CAPTURES, batch.fields)
            pipe.set(BELL, "1", nx=True, px=wire.BELL_MILLISECONDS)
            owed, self._owes_ring = self._owes_ring, True
            _, rung = pipe.execute()
        if rung or owed:
            self.broker.lpush(BELLS, wire.envelope(wire.Task.INGEST))
        self._owes_ring = False


def stored(store: Store) -> int:
    with store.begin() as tx:
        return int(tx.execute(select(func.count()).select_from(examples)).scalar_one())


class Server:
    """A Valkey with its append-only file, killed and started on the same port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._port = any_free()
        self.start()

    def start(self) -> None:
        self._valkey = EmbeddedValkey(self.home, port=self._port)
        self.pid = self._valkey.start().pid or 0
        self.url = self._valkey.url

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        wait_for(lambda: is_free(self._port), "the server is gone")

    def stop(self) -> None:
        self._valkey.stop()


def resumed(producer: Producer) -> float:
    """Seconds from now until a batch made from now on is committed."""
    now = time.monotonic()
    wait_for(lambda: producer.newest_committed > now, "captures flow again", seconds=60)
    return time.monotonic() - now


@pytest.mark.timeout(1800)
def test_a_broker_killed_under_load_ends_no_worker_and_loses_nothing(
    request: pytest.FixtureRequest, store: Store, database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    server = Server(tmp_path / "valkey")
    waits: list[float] = []
    with a_worker(server.url, database_url, tmp_path) as desk:
        pid = desk.pid
        producer = Producer(server.url)
        producer.start()
        for _ in range(LONG if request.config.getoption("--long") else SHORT):
            time.sleep(chance.uniform(0.1, 1.5))  # the moment is what is tried
            server.kill()
            time.sleep(chance.choice([0, 0, chance.uniform(0, 3)]))
            server.start()
            waits.append(resumed(producer))
            assert desk.is_running(), desk.log()[-3000:]
        producer.ending.set()
        wait_for(lambda: not producer.is_alive(), "all is acknowledged", seconds=60)
        assert desk.pid == pid
        assert "Unrecoverable" not in desk.log()
    server.stop()
    print(
        f"\n{len(waits)} restarts, resumed after median {statistics.median(waits):.2f} s, "
        f"longest {max(waits):.2f} s; {producer.sent} captures"
    )
    assert stored(store) == producer.sent
    assert max(waits) <= RESUMES_WITHIN, waits


def test_a_broker_that_is_full_for_a_while_ends_no_worker_and_loses_nothing(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    server = Server(tmp_path / "valkey")
    admin = connect(server.url)
    with a_worker(server.url, database_url, tmp_path) as desk:
        producer = Producer(server.url)
        producer.start()
        wait_for(lambda: producer.newest_committed, "captures flow")
        admin.config_set("maxmemory", "1")
        full_at = time.monotonic()
        wait_for(lambda: time.monotonic() > full_at + 2, "two seconds of it")
        admin.config_set("maxmemory", "0")
        waited = resumed(producer)
        assert desk.is_running(), desk.log()[-3000:]
        producer.ending.set()
        wait_for(lambda: not producer.is_alive(), "all is acknowledged", seconds=60)
    server.stop()
    admin.close()
    assert stored(store) == producer.sent
    assert waited <= RESUMES_WITHIN
