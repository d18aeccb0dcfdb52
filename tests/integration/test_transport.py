"""What our kombu channel does where kombu's own would end the worker."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError as BrokerGone

from tdsys import wire


def test_a_channel_that_outlives_its_connection_says_the_broker_is_gone(redis_url: str) -> None:
    connection: Any = Connection(
        redis_url,
        transport="tdsys.worker.transport:Transport",
        transport_options={"global_keyprefix": wire.PREFIX},
    )
    channel = connection.channel()
    connection.close()
    with pytest.raises(BrokerGone, match="closed"):
        channel._create_client()
