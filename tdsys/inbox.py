"""The stream in Redis in which captures wait for a worker.

One rule: an entry leaves the stream only when its rows are committed. Who takes one has it for a
lease; what was not finished by then is handed out again, and counted, to whoever asks next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from tdsys import wire
from tdsys.errors import BrokerUnavailable

# One name for all workers: whoever asks gets what is overdue, and no dead worker's name stays.
READER = "worker"
BEGINNING = "0-0"
LAST_ENTRY = b"18446744073709551615-18446744073709551615"
# More than any client sends: a batch is some 1 MB, a name some 40 characters.
LARGEST_BYTES = 4 * 1024 * 1024
LONGEST_ID = 200


class Delivery(NamedTuple):
    """A batch as it was sent; `times` counts how often it was handed out, this one included."""

    entry: str
    batch_id: str
    records: str
    times: int


class Inbox:
    """Batches of captures, oldest first; any number of workers may share it.

    Every method raises BrokerUnavailable while Redis is away.
    """

    def __init__(self, broker: Redis, *, lease: timedelta) -> None:
        self._broker = broker
        self._lease = int(lease.total_seconds() * 1000)

    def deliveries(self) -> Iterator[Delivery]:
        """Everything that is due: first what some worker did not finish, then what is new."""
        while (late := self._overdue()) is not None:
            yield late
        while (fresh := self._fresh()) is not None:
            yield fresh
        self._begin_anew_if_used_up()

    def done(self, delivery: Delivery, *, stored: int, conflicting: int) -> None:
        """Its rows are committed: the client is told how many those are, and the entry goes."""
        with _in_our_words(), self._broker.pipeline(transaction=True) as pipe:
            key = wire.acknowledgement_key(delivery.batch_id)
            told = wire.acknowledgement(stored=stored, conflicting=conflicting)
            pipe.set(key, told, ex=wire.ACK_SECONDS)
            pipe.xack(wire.CAPTURES, wire.INGESTING, delivery.entry)
            pipe.xdel(wire.CAPTURES, delivery.entry)
            pipe.execute()

    def give_back(self, delivery: Delivery) -> None:
        """It could not be tried: the next who asks gets it, and this time does not count."""
        with _in_our_words():
            self._broker.xclaim(
                wire.CAPTURES,
                wire.INGESTING,
                READER,
                min_idle_time=0,
                message_ids=[delivery.entry],
                idle=self._lease,
                retrycount=delivery.times - 1,
                justid=True,
            )

    def waiting(self) -> int:
        """How many batches are not committed yet."""
        with _in_our_words():
            return int(self._broker.xlen(wire.CAPTURES))

    def _fresh(self) -> Delivery | None:
        found = self._asked(
            lambda: self._broker.xreadgroup(wire.INGESTING, READER, {wire.CAPTURES: ">"}, count=1)
        )
        if not found:
            return None
        ((_, ((entry, fields),)),) = found
        return _delivery(entry, fields, times=1)

    def _overdue(self) -> Delivery | None:
        start = BEGINNING
        while True:
            # One call looks at some ten entries only and says where to go on.
            cursor, found, *_ = self._asked(partial(self._claimed, start))
            if found:
                ((entry, fields),) = found
                return _delivery(entry, fields, times=self._times(entry))
            start = cursor.decode()
            if start == BEGINNING:
                return None

    def _begin_anew_if_used_up(self) -> None:
        """After an entry under the last id there is, which a producer may choose, none is taken."""
        with _in_our_words():
            found: Any = self._broker.xinfo_stream(wire.CAPTURES)
            if not found["length"] and found["last-generated-id"] == LAST_ENTRY:
                self._broker.delete(wire.CAPTURES)

    def _claimed(self, start: str) -> object:
        return self._broker.xautoclaim(
            wire.CAPTURES,
            wire.INGESTING,
            READER,
            min_idle_time=self._lease,
            start_id=start,
            count=1,
        )

    def _times(self, entry: bytes) -> int:
        with _in_our_words():
            found: Any = self._broker.xpending_range(wire.CAPTURES, wire.INGESTING, entry, entry, 1)
        return int(found[0]["times_delivered"]) if found else 1

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """The answer; the group of readers is made when Redis knows none, new or emptied."""
        with _in_our_words():
            try:
                return ask()
            except ResponseError as missing:
                if not str(missing).startswith("NOGROUP"):
                    raise
            try:
                self._broker.xgroup_create(wire.CAPTURES, wire.INGESTING, id="0", mkstream=True)
            except ResponseError as made:
                if not str(made).startswith("BUSYGROUP"):
                    raise
            return ask()


def _delivery(entry: bytes, fields: Mapping[bytes, bytes], *, times: int) -> Delivery:
    """What the client sent; whatever else a producer may have written is text that is no batch."""
    name = entry.decode()
    batch_id = fields.get(wire.BATCH_FIELD, b"").decode(errors="replace").replace("\0", "")
    # What is cut off is no JSON any more, and is refused for that.
    records = fields.get(wire.RECORDS_FIELD, b"")[:LARGEST_BYTES].decode(errors="replace")
    named = 0 < len(batch_id) <= LONGEST_ID
    return Delivery(name, batch_id if named else f"entry {name}", records, times)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except RedisError as away:
        raise BrokerUnavailable(
            f"Redis: {type(away).__name__}", remedy="it will be tried again"
        ) from away
