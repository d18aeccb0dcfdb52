"""What a generator imports: capture an example and go on; never slow, never raise, never block.

`capture` keeps the example in a bounded buffer and returns; a daemon thread ships batches and
forgets one only when a worker has acknowledged that its rows are committed.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
import uuid
from collections import Counter, deque
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from tdsys import wire

if TYPE_CHECKING:
    from redis import Redis

MAX_RECORD_BYTES = 256 * 1024
BATCH_RECORDS = 200
BATCH_BYTES = 400_000
IN_FLIGHT = 20
TICK_SECONDS = 0.05
RESEND_SECONDS = 6.0
CLOSE_SECONDS = 2.0

log = logging.getLogger("tdsys.client")


class Flushed(NamedTuple):
    """What became of everything captured so far."""

    committed: int
    pending: int
    dropped: dict[str, int]


class Batch(NamedTuple):
    """Records that travel together; the id makes sending them again harmless."""

    id: str
    records: tuple[bytes, ...]

    @property
    def message(self) -> bytes:
        """The task message that carries this batch."""
        records = "[" + b",".join(self.records).decode() + "]"
        return wire.envelope(wire.Task.INGEST, {"batch_id": self.id, "records": records})


class Spool(Protocol):
    """Where captures wait until they are committed."""

    def append(self, record: bytes) -> bool:
        """Keep a record; False when there is no room."""
        ...

    def take(self) -> Batch | None:
        """The next batch to send, or None when nothing waits."""
        ...

    def forget(self, batch: Batch) -> None:
        """The rows of `batch` are committed."""
        ...

    def waiting(self) -> int:
        """Records kept and not yet forgotten."""
        ...


class MemorySpool:
    """A spool in this process's memory, bounded in bytes."""

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._bytes = 0
        self._count = 0
        self._queue: deque[bytes] = deque()
        self._lock = threading.Lock()

    def append(self, record: bytes) -> bool:
        """Keep a record; False when the byte limit is reached."""
        with self._lock:
            if self._bytes + len(record) > self._limit:
                return False
            self._queue.append(record)
            self._bytes += len(record)
            self._count += 1
            return True

    def take(self) -> Batch | None:
        """The oldest records, at most a batch full."""
        taken: list[bytes] = []
        size = 0
        while self._queue and len(taken) < BATCH_RECORDS and size < BATCH_BYTES:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        return Batch(str(uuid.uuid4()), tuple(taken)) if taken else None

    def forget(self, batch: Batch) -> None:
        """Free the room of a committed batch."""
        with self._lock:
            self._bytes -= sum(map(len, batch.records))
            self._count -= len(batch.records)

    def waiting(self) -> int:
        """Records kept and not yet forgotten."""
        return self._count


class CaptureClient:
    """Hands examples to tdsys from inside a generator; thread-safe and fork-safe.

    `redis_url` defaults to TDSYS_REDIS_URL. What cannot be kept is counted by reason and
    logged once per reason; nothing is ever raised into the caller.
    """

    def __init__(self, redis_url: str | None = None, *, spool: Spool | None = None) -> None:
        self._url = redis_url or os.environ.get("TDSYS_REDIS_URL", "")
        self._spool = spool or MemorySpool()
        self._dropped: Counter[str] = Counter()
        self._committed = 0
        self._in_flight: dict[str, tuple[Batch, float]] = {}
        self._wake = threading.Event()
        self._closing = False
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        atexit.register(self.close)

    def capture(
        self,
        *,
        domain: str,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Keep one generated example and return its capture id at once."""
        if self._pid != os.getpid():
            self._forked()
        capture_id = str(uuid.uuid4())
        record = self._serialised(
            {
                "capture_id": capture_id,
                "domain": domain,
                "inputs": inputs,
                "outputs": outputs,
                "metadata": metadata or {},
                "captured_at": datetime.now(UTC).isoformat(),
            }
        )
        if record is not None and not self._spool.append(record):
            self._drop("spool_full")
        if self._thread is None:
            self._start()
        return capture_id

    def flush(self, timeout: float = 30.0) -> Flushed:
        """Wait until everything captured is committed, or `timeout` seconds have passed."""
        deadline = time.monotonic() + timeout
        if self._spool.waiting() and self._thread is None:
            self._start()
        while self._spool.waiting() and time.monotonic() < deadline:
            self._wake.set()
            time.sleep(TICK_SECONDS / 2)
        return self.stats()

    def stats(self) -> Flushed:
        """What is committed, pending and dropped right now."""
        return Flushed(self._committed, self._spool.waiting(), dict(self._dropped))

    def close(self) -> Flushed:
        """Flush for at most two seconds and stop the thread."""
        result = self.flush(CLOSE_SECONDS)
        self._closing = True
        self._wake.set()
        atexit.unregister(self.close)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _serialised(self, document: dict[str, Any]) -> bytes | None:
        try:
            record = json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            reason = "surrogate"
        except ValueError as bad:
            reason = "cyclic" if "ircular" in str(bad) else "not_finite"
        except RecursionError:
            reason = "too_deep"
        except TypeError:
            reason = "not_json"
        else:
            if len(record) <= MAX_RECORD_BYTES:
                return record
            reason = "too_large"
        self._drop(reason)
        return None

    def _drop(self, reason: str) -> None:
        if not self._dropped[reason]:
            log.warning("a capture was dropped (%s); more of the kind are only counted", reason)
        self._dropped[reason] += 1

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._ship, name="tdsys-capture", daemon=True
                )
                self._thread.start()

    def _forked(self) -> None:
        """Begin anew in a child; the parent still holds, and ships, what came before the fork."""
        self._pid, self._spool, self._in_flight = os.getpid(), MemorySpool(), {}
        self._committed, self._thread, self._start_lock = 0, None, threading.Lock()

    def _ship(self) -> None:
        broker: Redis | None = None
        while not (self._closing and not self._spool.waiting()):
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            try:
                broker = broker or _connect(self._url)
                self._confirm(broker)
                self._send(broker)
            except Exception as error:  # noqa: BLE001  # a generator must never see our network
                log.debug("shipping waits: %s", error)
                broker = None
                time.sleep(TICK_SECONDS)

    def _confirm(self, broker: Redis) -> None:
        if not self._in_flight:
            return
        ids = list(self._in_flight)
        answers: Any = broker.mget([wire.acknowledgement_key(i) for i in ids])
        for batch_id, answer in zip(ids, answers, strict=True):
            if answer is not None:
                batch, _ = self._in_flight.pop(batch_id)
                self._committed += len(batch.records)
                self._spool.forget(batch)

    def _send(self, broker: Redis) -> None:
        now = time.monotonic()
        for batch_id, (batch, sent_at) in list(self._in_flight.items()):
            if now - sent_at > RESEND_SECONDS:
                self._push(broker, batch)
                self._in_flight[batch_id] = (batch, now)
        while len(self._in_flight) < IN_FLIGHT and (fresh := self._spool.take()) is not None:
            # Registered first: if the push fails half-way, the batch is sent again, not lost.
            self._in_flight[fresh.id] = (fresh, float("-inf"))
            self._push(broker, fresh)
            self._in_flight[fresh.id] = (fresh, now)

    def _push(self, broker: Redis, batch: Batch) -> None:
        broker.lpush(wire.queue_key(wire.Queue.CAPTURE), batch.message)


def _connect(url: str) -> Redis:
    from redis import Redis  # noqa: PLC0415  # kept out of the generator's import time

    return Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2)
