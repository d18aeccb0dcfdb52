"""A broker that stands still for a moment, as kombu meets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kombu import Connection, Producer, Queue
from redis import Redis
from redis.exceptions import TimeoutError as Silent

from tdsys.worker import transport

PAUSE_MILLISECONDS = 600


@pytest.mark.parametrize("end", [lambda m: m.ack(), lambda m: m.reject(), lambda m: m.requeue()])
def test_a_broker_that_does_not_hear_the_end_of_a_message_does_not_end_the_worker(
    redis_url: str, end: Callable[[Any], None]
) -> None:
    broker: Redis = Redis.from_url(redis_url)
    options = {"socket_timeout": 0.2, "global_keyprefix": "paused:"}
    kind = f"{transport.__name__}:Transport"
    with Connection(redis_url, transport=kind, transport_options=options) as connection:
        channel = connection.default_channel
        channel.basic_qos(prefetch_count=1)
        queue = Queue("q", channel=channel)
        queue.declare()
        Producer(channel).publish({}, routing_key="q")
        message = queue.get(no_ack=False)
        assert not channel.qos.can_consume()
        broker.client_pause(PAUSE_MILLISECONDS)
        with pytest.raises(Silent):
            end(message)
        assert channel.qos.can_consume()
        broker.ping()  # answered when the pause is over
    broker.delete(*broker.keys("paused:*"))
    broker.close()
