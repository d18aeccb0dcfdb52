"""The message the client writes is one the pinned Celery and kombu read."""

from __future__ import annotations

import json
from typing import Any

from celery import Celery
from kombu import Queue
from redis import Redis

from tdsys import wire


def consumer(redis_url: str) -> Celery:
    app = Celery("reader", broker=redis_url)
    app.conf.broker_transport_options = {"global_keyprefix": wire.PREFIX}
    app.conf.task_queues = [Queue(q.value) for q in wire.Queue]
    return app


def test_kombu_reads_our_envelope_and_celery_finds_the_task(redis_url: str) -> None:
    broker: Redis = Redis.from_url(redis_url)
    broker.lpush(
        wire.queue_key(wire.Queue.CAPTURE),
        wire.envelope(wire.Task.INGEST),
    )
    seen: list[tuple[Any, Any]] = []

    def read(body: Any, message: Any) -> None:
        seen.append((body, message.headers))
        message.ack()

    with (
        consumer(redis_url).connection() as connection,
        connection.Consumer([Queue("capture")], accept=["json"], callbacks=[read]),
    ):
        connection.drain_events(timeout=5)
    (args, kwargs, embed), headers = seen[0]
    assert (args, kwargs) == ([], {})
    assert headers["task"] == "capture.ingest"
    assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}


def test_the_queue_key_is_where_celery_itself_sends(redis_url: str) -> None:
    broker: Redis = Redis.from_url(redis_url)
    broker.delete(wire.queue_key(wire.Queue.REPORTS))
    consumer(redis_url).send_task("reports.freshness", queue="reports")
    raw = broker.rpop(wire.queue_key(wire.Queue.REPORTS))
    assert isinstance(raw, bytes)
    theirs, ours = json.loads(raw), json.loads(wire.envelope(wire.Task.FRESHNESS))
    assert set(ours["properties"]) <= set(theirs["properties"]) | {"priority"}
    assert set(ours) == set(theirs)


def test_a_task_goes_to_the_queue_it_is_named_after() -> None:
    assert {t.queue for t in wire.Task} <= set(wire.Queue)
    assert wire.Task.OPTIMIZE.queue is wire.Queue.OPTIMIZATION
