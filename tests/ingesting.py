"""Who plays the ingesting worker for the tests of the capture client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tdsys import wire


class Worker(threading.Thread):
    """Remembers what arrived and acknowledges it."""

    def __init__(self, broker: Redis) -> None:
        super().__init__(daemon=True)
        self.broker = broker
        self.records: dict[str, Any] = {}
        self.arrived = 0
        self.batches: list[str] = []
        self.answer = "1"
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            found: Any = self.broker.xread({wire.CAPTURES: "0"}, count=1, block=200)
            for entry, fields in found[0][1] if found else ():
                self.batches.append(fields[wire.BATCH_FIELD].decode())
                self.receive(fields[wire.RECORDS_FIELD])
                self.broker.set(wire.acknowledgement_key(self.batches[-1]), self.answer)
                self.broker.xdel(wire.CAPTURES, entry)

    def receive(self, records: bytes) -> None:
        """One batch, as the client sent it."""
        for record in json.loads(records):
            self.records[record["capture_id"]] = record
            self.arrived += 1

    def stop(self) -> None:
        self.stopping = True
        self.join()


@pytest.fixture
def broker(redis_url: str) -> Iterator[Redis]:
    """The broker, empty."""
    found: Redis = Redis.from_url(redis_url)
    found.flushdb()
    yield found
    found.close()


@pytest.fixture
def worker(broker: Redis) -> Iterator[Worker]:
    """A worker at work."""
    found = Worker(broker)
    found.start()
    yield found
    found.stop()
