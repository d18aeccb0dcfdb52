"""kombu's Redis transport, made fit for a broker that restarts and for messages that are not ours.

The one rule: whatever comes out of a queue, and whenever the broker goes, the worker stays.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from queue import Empty
from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from kombu.utils.encoding import bytes_to_str
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as BrokerGone
from redis.exceptions import RedisError
from redis.retry import Retry

from tdsys import quarantine, runtime
from tdsys.wire import Queue

log = logging.getLogger("tdsys.worker")

QUEUES = {queue.value for queue in Queue}
# kombu waits 2, 4, 6, ... 30 s between two tries; captures should flow 5 s after a restart.
SHORTEST_WAIT = 0.2
WAIT_STEP = 0.2
LONGEST_WAIT = 1.0


class _Client(redis.PrefixedStrictRedis):  # type: ignore[misc]  # kombu is not typed
    """The connection that waits for messages; what is none of ours it does not hand on."""

    sep = redis.Channel.sep

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        found = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not found:
            return found
        key, raw = found
        name = bytes_to_str(key).rsplit(self.sep, 1)[0]
        # Queues that are not ours carry Celery's own replies, which producers cannot write to.
        wrong = quarantine.fault(raw, Queue(name)) if name in QUEUES else None
        if wrong is None:
            return found
        _put_away(raw, name, wrong)
        return None  # as if nothing had come


def _put_away(raw: bytes, queue: str, reason: str) -> None:
    try:
        number = quarantine.keep(runtime.current().broker, raw, queue=queue, reason=reason)
    except RedisError as gone:
        log.warning("a message in %s is lost, %s: %s", queue, type(gone).__name__, reason)
    else:
        log.warning("a message in %s is in quarantine as %s: %s", queue, number, reason)


class _QoS(redis.QoS):  # type: ignore[misc]
    """Which messages this worker holds and has not acknowledged."""

    def ack(self, delivery_tag: Any) -> None:
        """Kombu 5.7.0 counts a message as held for ever when the broker does not hear its end.

        A worker that may hold one then takes none any more, although it lives. What was not
        heard is handed out again later, and a bell too many is harmless.
        """
        with self._given_up(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        """As `ack`."""
        with self._given_up(delivery_tag):
            super().reject(delivery_tag, requeue)

    @contextlib.contextmanager
    def _given_up(self, delivery_tag: Any) -> Iterator[None]:
        try:
            yield
        except RedisError:
            virtual.QoS.ack(self, delivery_tag)
            raise


class _Steady:
    """What both kinds of channel have in common."""

    QoS = _QoS
    connection: Any

    def _get_client(self) -> Any:
        found = super()._get_client()  # type: ignore[misc]
        return functools.partial(_Client, **found.keywords)

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:
        """Celery/kombu 5.7.0 asks a closed transport for these when Redis restarts under load.

        It then dies of an AttributeError instead of reconnecting (17 % of restarts measured); a
        ConnectionError takes the normal retry path. Drop this when upstream raises one itself.
        """
        if self.connection is None or self.connection.client is None:
            raise BrokerGone("the broker connection is closed")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]

    def _receive(self) -> Any:
        """An order for the worker itself that nobody understands is dropped."""
        try:
            return super()._receive()  # type: ignore[misc]
        except (Empty, RedisError, OSError):
            raise
        except Exception:
            log.exception("a remote-control message is not understood")
            return False


class Channel(_Steady, redis.Channel):  # type: ignore[misc]
    """A channel to one server."""


class SentinelChannel(_Steady, redis.SentinelChannel):  # type: ignore[misc]
    """A channel to the master that sentinels name."""

    sentinel_kwargs: dict[str, Any]

    def _sentinel_managed_pool(self, *args: Any, **kwargs: Any) -> Any:
        """One sentinel that is away is passed over; redis-py would try it again for seconds."""
        self.sentinel_kwargs = {**self.sentinel_kwargs, "retry": Retry(NoBackoff(), 0)}
        return super()._sentinel_managed_pool(*args, **kwargs)


class Transport(redis.Transport):  # type: ignore[misc]
    """For redis://, rediss:// and redis+socket://."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):  # type: ignore[misc]
    """For sentinel://."""

    Channel = SentinelChannel


class PatientConnection(Connection):  # type: ignore[misc]
    """A connection that is tried again soon, for as long as it takes."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As kombu's, with shorter waits between two tries."""
        waits = {
            "interval_start": SHORTEST_WAIT,
            "interval_step": WAIT_STEP,
            "interval_max": LONGEST_WAIT,
        }
        return super().ensure_connection(*args, **{**waits, **kwargs})


class Messages(AMQP):  # type: ignore[misc]
    """How the Celery application talks to the broker."""

    Connection = PatientConnection


def register() -> None:
    """Have kombu use these transports in this process."""
    ours = f"{__name__}:Transport"
    TRANSPORT_ALIASES.update(redis=ours, rediss=ours, sentinel=f"{__name__}:SentinelTransport")
