"""What a generator imports: capture an example and go on; never slow, never raise, never block.

`capture` keeps the example in a bounded buffer and returns; a daemon thread ships batches and
forgets one only when a worker has acknowledged that its rows are committed.
"""

from __future__ import annotations

import atexit
import importlib
import json
import logging
import os
import re
import sys
import threading
import time
import uuid
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from tdsys import wire

if TYPE_CHECKING:
    from redis import Redis

# The worker's limits (tdsys.core.example), which the client may not import.
MAX_RECORD_BYTES = 256 * 1024
MAX_DEPTH = 32
BATCH_RECORDS = 200
BATCH_BYTES = 400_000
IN_FLIGHT = 20
TICK_SECONDS = 0.05
LONGEST_CALM_SECONDS = 1.0
LONGEST_FAILING_SECONDS = 5.0
RESEND_SECONDS = 6.0
LONGEST_RESEND_SECONDS = 300.0
CLOSE_SECONDS = 2.0
NEVER = float("-inf")
BELL = wire.bell_key(wire.Task.INGEST)

# By class name, because redis-py is not imported here; a subclass stands before its base.
ADVICE = {
    "AuthenticationError": "the broker refuses the password; mend it in TDSYS_REDIS_URL",
    "ConnectionError": "the broker cannot be reached; start it, or mend TDSYS_REDIS_URL",
    "TimeoutError": "the broker does not answer; it is tried again",
    "ImportError": "redis-py is missing; pip install redis",
    "ValueError": "the broker's address is missing or wrong; set TDSYS_REDIS_URL to "
    "redis://:PASSWORD@HOST:PORT/0",
}
# An escaped NUL in JSON text: a backslash that is not itself escaped, then u0000.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

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
    def fields(self) -> dict[bytes, bytes]:
        """The entry of the captures' stream that carries this batch."""
        records = b"[" + b",".join(self.records) + b"]"
        return {wire.BATCH_FIELD: self.id.encode(), wire.RECORDS_FIELD: records}


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

    def fresh(self) -> Spool:
        """An empty one of the same kind, for a forked child."""
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

    def fresh(self) -> MemorySpool:
        """An empty one with the same limit."""
        return MemorySpool(self._limit)


class _Unfit(Exception):
    """A document that is not kept; its text is the reason it is counted under."""


@dataclass
class _Sent:
    """A batch on its way; `at` is when it last reached the broker, `look` when to see about it."""

    batch: Batch
    at: float = NEVER
    look: float = NEVER
    delay: float = 0.0


class Shipper:
    """Moves a spool to the broker on a daemon thread; knows nothing of the client that owns it.

    So a client nobody uses any more can be collected while its captures are still on their way.
    """

    def __init__(
        self, url: str, spool: Spool, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._clock = clock
        self._warned: set[str] = set()
        self._begin(spool)
        _shippers.add(self)

    def _begin(self, spool: Spool) -> None:
        """All that a fork must not share: locks its threads may hold, and the parent's records."""
        self._spool = spool
        self._dropped: Counter[str] = Counter()
        self._committed = 0
        self._in_flight: dict[str, _Sent] = {}
        self._read_to = NEVER
        self._lock = threading.Lock()
        # The only way to wake a thread that may be taken from inside a garbage collection.
        self._news: SimpleQueue[None] = SimpleQueue()
        self._hurry = threading.Event()
        self._calm = self._linger = TICK_SECONDS
        self._ending = False
        self._thread: threading.Thread | None = None

    def forked(self) -> None:
        """Begin anew in a child; the parent still holds, and ships, what came before the fork."""
        self._begin(self._spool.fresh())

    def keep(self, record: bytes) -> None:
        """Take a record over; _Unfit when there is no room."""
        if not self._spool.append(record):
            raise _Unfit("spool_full")
        if self._thread is None or self._ending:
            self.start()
        if self._news.empty():
            self._news.put(None)

    def drop(self, reason: str) -> None:
        """Count a capture that is not kept."""
        with self._lock:
            self._dropped[reason] += 1
        self._warn_once(
            reason, f"a capture was dropped ({reason}); more of the kind are only counted"
        )

    def start(self) -> bool:
        """Have the thread run; False when this system has none to spare just now."""
        with self._lock:
            self._ending = False
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="tdsys-capture", daemon=True)
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread
            started = self._thread is not None
        if not started:
            self._warn_once("thread", "captures wait in memory: no thread can be started here")
        return started

    def stop(self) -> None:
        """Let the thread end once nothing waits; safe to call from a garbage collection."""
        self._ending = True
        self._news.put(None)

    def flush(self, deadline: float) -> Flushed:
        """Wait until nothing is pending, or until `deadline` on the monotonic clock."""
        while self._spool.waiting() and self.start() and time.monotonic() < deadline:
            self._hurry.set()
            self._news.put(None)
            time.sleep(TICK_SECONDS / 2)
        return self.stats()

    def stats(self) -> Flushed:
        """What is committed, pending and dropped right now."""
        with self._lock:
            return Flushed(self._committed, self._spool.waiting(), dict(self._dropped))

    def step(self, broker: Redis) -> bool:
        """Learn what is committed and send what is due; whether anything moved."""
        confirmed = self._confirm(broker)
        return self._send(broker) or confirmed

    def _warn_once(self, kind: str, sentence: str) -> None:
        if kind in self._warned:
            return
        self._warned.add(kind)
        # A logging filter is the caller's code: what it raises would reach the caller.
        with suppress(Exception):
            log.warning(sentence)

    def _run(self) -> None:
        broker: Redis | None = None
        while not self._ended():
            self._pause()
            try:
                broker = broker or _connect(self._url)
                moved = self.step(broker)
            except Exception as error:  # noqa: BLE001  # a generator must never see our network
                self._warn_once(*_advice(error))
                broker = None
                self._linger = min(LONGEST_FAILING_SECONDS, 2 * self._linger)
            else:
                self._linger = TICK_SECONDS
                self._calm = TICK_SECONDS if moved else min(LONGEST_CALM_SECONDS, 2 * self._calm)

    def _ended(self) -> bool:
        with self._lock:
            if self._ending and not self._spool.waiting():
                self._thread = None
            return self._thread is None

    def _pause(self) -> None:
        """Sleep until there is something to do, then a tick longer so that batches fill."""
        with suppress(Empty):
            self._news.get(timeout=self._calm if self._spool.waiting() else None)
        while not self._news.empty():
            self._news.get()
        self._hurry.wait(self._linger)
        self._hurry.clear()

    def _confirm(self, broker: Redis) -> bool:
        ids = list(self._in_flight)
        if not ids:
            return False
        answers: Any = broker.mget([wire.acknowledgement_key(i) for i in ids])
        done = [i for i, answer in zip(ids, answers, strict=True) if answer is not None]
        for batch_id in done:
            sent = self._in_flight.pop(batch_id)
            self._read_to = max(self._read_to, sent.at)
            self._committed += len(sent.batch.records)
            self._spool.forget(sent.batch)
        return bool(done)

    def _send(self, broker: Redis) -> bool:
        due = self._due(broker)
        for sent in due:
            self._push(broker, sent)
        while len(self._in_flight) < IN_FLIGHT and (fresh := self._spool.take()) is not None:
            # Registered first: if the push fails half-way, the batch is sent again, not lost.
            sent = self._in_flight[fresh.id] = _Sent(fresh)
            self._push(broker, sent)
            due.append(sent)
        return bool(due)

    def _due(self, broker: Redis) -> list[_Sent]:
        """What to send again: an entry still in the stream is late, not lost.

        The stream is read in order: what was sent before an acknowledged batch has left it.
        """
        now = self._clock()
        late = [sent for sent in self._in_flight.values() if sent.look <= now]
        unread = bool(late) and bool(broker.xlen(wire.CAPTURES))
        for sent in late:
            if unread and NEVER < sent.at >= self._read_to:
                sent.look = now + RESEND_SECONDS
        return [sent for sent in late if sent.look <= now]

    def _push(self, broker: Redis, sent: _Sent) -> None:
        with broker.pipeline(transaction=False) as pipe:
            pipe.xadd(wire.CAPTURES, sent.batch.fields)  # type: ignore[arg-type]  # bytes will do
            pipe.set(BELL, "1", nx=True, px=wire.BELL_MILLISECONDS)
            _, rung = pipe.execute()
        if rung:
            broker.lpush(wire.queue_key(wire.Queue.CAPTURE), wire.envelope(wire.Task.INGEST))
        sent.at = self._clock()
        sent.delay = min(LONGEST_RESEND_SECONDS, max(RESEND_SECONDS, 2 * sent.delay))
        sent.look = sent.at + sent.delay


class CaptureClient:
    """Hands examples to tdsys from inside a generator; thread-safe and fork-safe.

    `redis_url` defaults to TDSYS_REDIS_URL. What cannot be kept is counted by reason and
    logged once per reason; nothing is ever raised into the caller.
    """

    def __init__(self, redis_url: str | None = None, *, spool: Spool | None = None) -> None:
        url = redis_url or os.environ.get("TDSYS_REDIS_URL", "")
        _preload()
        self._shipper = Shipper(url, spool or MemorySpool())
        # At exit _close_all does more than this: it waits.
        weakref.finalize(self, self._shipper.stop).atexit = False

    def capture(
        self,
        *,
        domain: str,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Keep one generated example and return its capture id at once."""
        capture_id = str(uuid.uuid4())
        try:
            record = _serialised(
                {
                    "capture_id": capture_id,
                    "domain": domain,
                    "inputs": inputs,
                    "outputs": outputs,
                    "metadata": metadata or {},
                    "captured_at": datetime.now(UTC).isoformat(),
                }
            )
            self._shipper.keep(record)
        except _Unfit as unfit:
            self._shipper.drop(str(unfit))
        except Exception:  # noqa: BLE001  # documents are the caller's objects and may do anything
            self._shipper.drop("internal")
        return capture_id

    def flush(self, timeout: float = 30.0) -> Flushed:
        """Wait until everything captured is committed, or `timeout` seconds have passed."""
        return self._shipper.flush(time.monotonic() + timeout)

    def stats(self) -> Flushed:
        """What is committed, pending and dropped right now."""
        return self._shipper.stats()

    def close(self) -> Flushed:
        """Flush for at most two seconds; the thread ends when nothing is pending any more.

        A later capture is shipped like any other: it starts the thread again.
        """
        result = self.flush(CLOSE_SECONDS)
        self._shipper.stop()
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


def _serialised(document: dict[str, Any]) -> bytes:
    """The document as the worker will read it; _Unfit for what the worker would refuse."""
    try:
        record = json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Unfit("surrogate") from None
    except ValueError as bad:
        raise _Unfit(_reason(str(bad))) from None
    except RecursionError:
        raise _Unfit("too_deep") from None
    except TypeError:
        raise _Unfit("not_json") from None
    if len(record) > MAX_RECORD_BYTES:
        raise _Unfit("too_large")
    if _is_deep(record):
        raise _Unfit("too_deep")
    if b"\\u0000" in record and _NUL.search(record):
        raise _Unfit("nul")
    return record


def _reason(complaint: str) -> str:
    if "ircular" in complaint:
        return "cyclic"
    return "not_finite" if "JSON compliant" in complaint else "not_json"


def _is_deep(record: bytes) -> bool:
    """Whether a value lies below MAX_DEPTH levels; most records have too few brackets for that."""
    if record.count(b"[") + record.count(b"{") <= MAX_DEPTH:
        return False
    try:
        level = [json.loads(record)]
    except RecursionError:
        return True
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _preload() -> None:
    """Import what the thread needs before there is one.

    A process that forks while its thread imports gets a child that can never import the same.
    """
    with suppress(Exception):
        for name in ("redis", "encodings.idna"):
            importlib.import_module(name)


def _connect(url: str) -> Redis:
    from redis import Redis  # noqa: PLC0415  # kept out of the generator's import time

    return Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2)


def _advice(error: Exception) -> tuple[str, str]:
    """The kind of a failure, and what to tell people; never its text, which may hold a password."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    for kind, advice in ADVICE.items():
        if kind in kinds:
            return kind, f"captures wait in memory: {advice}"
    name = type(error).__name__
    return name, f"captures wait in memory: shipping failed with {name}; it is tried again"


_shippers: weakref.WeakSet[Shipper] = weakref.WeakSet()


def _close_all() -> None:
    deadline = time.monotonic() + CLOSE_SECONDS
    for shipper in list(_shippers):
        shipper.flush(deadline)


def _forked() -> None:
    for shipper in list(_shippers):
        shipper.forked()


atexit.register(_close_all)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)
