"""When the client sends a batch again, in simulated time on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as BrokerGone
from redis.exceptions import ResponseError

from tdsys import wire
from tdsys.client import BATCH_RECORDS, IN_FLIGHT, FileSpool, MemorySpool, Shipper
from tdsys.client.spool import Batch

HOUR = 3600


class Producer:
    """A client's shipper with the clock and the worker in the test's hands."""

    def __init__(self, broker: Redis) -> None:
        self.now = 0.0
        self.broker = broker
        self.spool = MemorySpool()
        self.shipper = Shipper("", self.spool, clock=lambda: self.now)

    def captures(self, batches: int) -> None:
        for _ in range(batches * BATCH_RECORDS):
            self.spool.append(b"{}")
        self.shipper.step(self.broker)

    def waits(self, seconds: float) -> None:
        self.now += seconds
        self.shipper.step(self.broker)

    def in_queue(self) -> int:
        return int(self.broker.xlen(wire.CAPTURES))

    def loses(self) -> str:
        """The oldest entry is gone, as when Redis lost it; its batch."""
        found: Any = self.broker.xrange(wire.CAPTURES, count=1)
        ((entry, fields),) = found
        self.broker.xdel(wire.CAPTURES, entry)
        batch: str = fields[b"batch"].decode()
        return batch

    def works(self) -> str:
        """A worker takes the oldest entry and acknowledges it."""
        batch = self.loses()
        self.broker.set(wire.acknowledgement_key(batch), "1")
        return batch


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    broker: Redis = Redis.from_url(redis_url)
    broker.flushdb()
    yield Producer(broker)
    broker.flushdb()
    broker.close()


def test_a_worker_that_is_away_for_an_hour_finds_every_batch_once(producer: Producer) -> None:
    producer.captures(3)
    for _ in range(HOUR):
        producer.waits(1)
    assert producer.in_queue() == 3
    assert len({producer.works() for _ in range(3)}) == 3
    producer.waits(1)
    assert producer.shipper.stats() == (3 * BATCH_RECORDS, 0, {})


def test_what_is_captured_while_a_batch_is_sent_travels_in_the_next_one(
    producer: Producer,
) -> None:
    class Busy(Redis):
        """A broker so slow that ten records are captured while it answers."""

        def pipeline(self, *args: Any, **kwargs: Any) -> Any:
            for _ in range(10):
                producer.spool.append(b"{}")
            return super().pipeline(*args, **kwargs)

    busy = Busy.from_pool(producer.broker.connection_pool)
    for _ in range(BATCH_RECORDS + 7):
        producer.spool.append(b"{}")
    producer.shipper.step(busy)
    assert [batch.size for batch in in_flight(producer)] == [BATCH_RECORDS, 17]
    producer.shipper.step(producer.broker)
    assert [batch.size for batch in in_flight(producer)] == [BATCH_RECORDS, 17, 10]


def test_a_generator_that_never_rests_ships_for_the_dead_too(
    producer: Producer, tmp_path: Path
) -> None:
    dead = FileSpool(tmp_path)
    dead.append(b"{}")
    dead.fresh()
    living = FileSpool(tmp_path)
    living.append(b"{}")
    living.adopt()
    shipper = Shipper("", living)
    shipper.step(producer.broker)
    living.append(b"{}")
    shipper.step(producer.broker)
    assert [sent.batch.own for sent in shipper._in_flight.values()] == [True, False, True]


def test_what_is_refused_of_a_dead_process_is_not_among_what_was_captured_here(
    producer: Producer, tmp_path: Path
) -> None:
    dead = FileSpool(tmp_path)
    for _ in range(3):
        dead.append(b"{}")
    dead.fresh()
    living = FileSpool(tmp_path)
    living.adopt()
    shipper = Shipper("", living)
    shipper.step(producer.broker)
    (left,) = shipper._in_flight
    told = wire.acknowledgement(stored=1, conflicting=0)
    producer.broker.set(wire.acknowledgement_key(left), told)
    shipper.step(producer.broker)
    assert shipper.stats() == (0, 0, {})
    counts = shipper.counts()
    assert (counts["recovered"], counts["dropped"]) == (1, {"refused": 2})


def in_flight(producer: Producer) -> list[Batch]:
    return [sent.batch for sent in producer.shipper._in_flight.values()]


def test_a_lost_batch_is_sent_again_under_its_name_six_seconds_later(producer: Producer) -> None:
    producer.captures(1)
    lost = producer.loses()
    producer.waits(5.9)
    assert producer.in_queue() == 0
    producer.waits(0.2)
    assert producer.works() == lost
    producer.waits(0.1)
    assert producer.shipper.stats().pending == 0


def test_a_batch_that_is_lost_time_and_again_is_sent_ever_more_rarely(producer: Producer) -> None:
    producer.captures(1)
    sent = []
    for second in range(HOUR):
        if producer.in_queue():
            producer.loses()
            sent.append(second)
        producer.waits(1)
    gaps = [after - before for before, after in pairwise(sent)]
    assert gaps[:8] == [6, 12, 24, 48, 96, 192, 300, 300]
    assert set(gaps[8:]) == {300}


def test_a_bell_whose_message_was_refused_is_sounded_by_the_next_batch(producer: Producer) -> None:
    queue = wire.queue_key(wire.Queue.CAPTURE)
    producer.broker.set(queue, "no list, so that LPUSH is refused after the bell is set")
    with pytest.raises(ResponseError):
        producer.captures(batches=1)
    producer.broker.delete(queue)
    producer.captures(batches=2)
    assert producer.broker.llen(queue) == 1


def test_everything_in_flight_is_sent_again_when_the_broker_was_emptied(producer: Producer) -> None:
    producer.captures(IN_FLIGHT)
    producer.broker.flushdb()
    producer.waits(6.1)
    assert producer.in_queue() == IN_FLIGHT


def test_a_batch_lost_from_a_busy_queue_is_sent_again_within_twelve_seconds(
    producer: Producer,
) -> None:
    producer.captures(2)
    lost = producer.loses()
    producer.waits(6.1)
    assert producer.in_queue() == 1
    assert producer.works() != lost
    producer.waits(5.9)
    producer.waits(0.2)
    assert producer.works() == lost


def test_an_acknowledgement_shows_that_older_batches_have_left_the_queue(
    producer: Producer,
) -> None:
    producer.captures(1)
    lost = producer.loses()
    producer.now = 1
    producer.captures(1)
    assert producer.works() != lost
    producer.now = 2
    producer.captures(1)
    producer.waits(4.1)
    assert producer.in_queue() == 2
    assert producer.works() != lost
    assert producer.works() == lost


def test_a_batch_the_broker_may_not_have_got_is_sent_even_behind_others(
    producer: Producer,
) -> None:
    away: Redis = Redis.from_url("redis://127.0.0.1:1")
    producer.spool.append(b"{}")
    with pytest.raises(BrokerGone):
        producer.shipper.step(away)
    producer.broker.xadd(wire.CAPTURES, {"somebody": "else's"})
    producer.waits(0.1)
    assert producer.in_queue() == 2
