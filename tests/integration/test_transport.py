"""What our kombu channel does where kombu's own would end the worker, or leave it deaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kombu import Connection, Producer, Queue
from redis import Redis
from redis.exceptions import ConnectionError as BrokerGone
from redis.exceptions import TimeoutError as Silent

from tdsys import wire

OURS = "tdsys.worker.transport:Transport"
PAUSE_MILLISECONDS = 600


def test_a_channel_that_outlives_its_connection_says_the_broker_is_gone(redis_url: str) -> None:
    connection: Any = Connection(
        redis_url, transport=OURS, transport_options={"global_keyprefix": wire.PREFIX}
    )
    channel = connection.channel()
    connection.close()
    with pytest.raises(BrokerGone, match="closed"):
        channel._create_client()


@pytest.mark.parametrize("end", [lambda m: m.ack(), lambda m: m.reject(), lambda m: m.requeue()])
def test_a_broker_that_does_not_hear_the_end_of_a_message_leaves_the_worker_free_for_the_next(
    redis_url: str, end: Callable[[Any], None]
) -> None:
    broker: Redis = Redis.from_url(redis_url)
    options = {"socket_timeout": 0.2, "global_keyprefix": "paused:"}
    with Connection(redis_url, transport=OURS, transport_options=options) as connection:
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
