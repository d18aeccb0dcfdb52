"""Moves a spool to the broker, and forgets a batch only when a worker says its rows are committed.

Redis commands used, and no others: XADD and XLEN on `tdsys:captures`, SET on the bell
`tdsys:bell:capture.ingest` and LPUSH on `tdsys:capture` to ring it, MGET on `tdsys:ack:*`, SET on
`tdsys:producer:*`; redis-py adds HELLO or AUTH, SELECT and CLIENT SETINFO.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
import time
from collections import Counter, namedtuple
from contextlib import suppress
from queue import Empty, SimpleQueue

from tdsys import wire
from tdsys.client.folders import BATCH_BYTES, BATCH_RECORDS
from tdsys.client.record import MAX_RECORD_BYTES
from tdsys.client.spool import Batch, Lost, Spool

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from redis import Redis

    from tdsys.client.folders import Text

IN_FLIGHT = 20
# Batches fill so long: each look at the broker takes CPU from the generator.
TICK_SECONDS = 0.5
FLUSHING_SECONDS = 0.02
LONGEST_CALM_SECONDS = 1.0
LONGEST_FAILING_SECONDS = 5.0
RESEND_SECONDS = 6.0
LONGEST_RESEND_SECONDS = 300.0
IDLE_SECONDS = 5.0
ADOPT_SECONDS = 60.0
REPORT_SECONDS = 5.0
NEVER = float("-inf")
THREAD = "tdsys-capture"
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

# What to do about a reason that only its text would leave open.
REMEDIES = {
    "not_a_domain": "a domain is 1 to 100 characters on one line, without blanks at the ends",
    wire.REFUSED: "by the service; `tdsys quarantine captures` shows what and why",
    wire.CONFLICTING: "the service has another one under its id; give each an id of its own",
}

# What is imported when the thread connects, by redis-py too.
_WHEN_CONNECTING = (
    "tdsys.broker",
    "redis.sentinel",
    "email.parser",
    "encodings.idna",
    "importlib.metadata._adapters",
    "secrets",
    "shlex",
)


class Flushed(namedtuple("Flushed", ("committed", "pending", "dropped"))):  # noqa: PYI024
    """What became of everything captured so far; `dropped` counts by reason.

    What the service refused is dropped, not committed.
    """

    __slots__ = ()
    committed: int
    pending: int
    dropped: dict[str, int]


class _Sent:
    """A batch on its way; `at` is when it last reached the broker, `look` when to see about it."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.at = NEVER
        self.look = NEVER
        self.delay = 0.0


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

    def _begin(self, spool: Spool) -> None:
        """All that a fork must not share: locks its threads may hold, and the parent's records."""
        self.spool = spool
        self.spool.warn = self._warn_once
        self.name = f"{wire.host()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._begun_at = time.time()
        # Re-entrant: a signal handler or a finalizer may capture while a capture is counted.
        self._lock = threading.RLock()
        self._dropped: Counter[str] = Counter()
        # Of what dead processes left: `flush` speaks of what was captured here.
        self._recovered_dropped: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._committed = self._recovered = 0
        self._report_at, self._reachable = NEVER, True
        self._reported = self.counts()
        self._owes_ring = False
        self._in_flight: dict[str, _Sent] = {}
        self._read_to = NEVER
        # The only way to wake a thread that signal handlers and finalizers may take, too.
        self._news: SimpleQueue[None] = SimpleQueue()
        self._hurry: SimpleQueue[None] = SimpleQueue()
        self._hurried = False
        self.sleeps = True
        self._calm = self._linger = TICK_SECONDS
        self._adopt_at = NEVER
        self._rests = False
        self._ending = self._starting = False
        self._thread: threading.Thread | None = None

    def forked(self) -> None:
        """Begin anew in a child; the parent still holds, and ships, what came before the fork."""
        self._begin(self.spool.fresh())

    def recover(self) -> None:
        """Ship what dead processes left, also if nothing is captured here for a while."""
        self.spool.adopt()
        if self.spool.backlog():
            self.start()

    def wake(self) -> None:
        """Something waits: have the thread run and look."""
        if self._ending or not self._is_running():
            self.start()
        self._news.put(None)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count captures that are not kept."""
        with self._lock:
            self._dropped[reason] += count
        self._warn_dropped(reason)
        self.wake()

    def say_left(self, folder: str) -> None:
        """Tell people of captures that nobody takes over by themselves."""
        self._warn_once(
            "nowhere",
            f"captures of clients without TDSYS_REDIS_URL were left in {folder}; if they are meant "
            f"for this broker: {_command(folder)}",
        )

    def skip(self, reason: str) -> None:
        """Count a capture that is not wanted."""
        with self._lock:
            self._skipped[reason] += 1

    def start(self) -> bool:
        """Have the thread run; False when this system has none to spare just now."""
        with self._lock:
            self._ending = False
            if not (self._starting or self._is_running()):
                self._starting = True
                self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None
                finally:
                    self._starting = False
            started = self._thread is not None
        if not started:
            self._warn_once("thread", "captures wait: no thread can be started here")
        return started

    def stop(self) -> None:
        """Let the thread end once nothing waits; safe to call from a garbage collection."""
        self._ending = self.sleeps = True
        self._news.put(None)

    def flush(self, deadline: float) -> Flushed:
        """Wait until nothing is pending, or until `deadline` on the monotonic clock."""
        while self._is_unsettled() and self.start() and time.monotonic() < deadline:
            self._hurry.put(None)
            self._news.put(None)
            time.sleep(FLUSHING_SECONDS)
        if not self.spool.waiting():
            self.spool.tidy()
        return self.stats()

    def stats(self) -> Flushed:
        """What is committed, pending and dropped right now."""
        with self._lock:
            return Flushed(self._committed, self.spool.waiting(), dict(self._dropped))

    def counts(self) -> dict[str, Any]:
        """What the service is told; `recovered` are records that dead processes had left."""
        with self._lock:
            return {
                "committed": self._committed,
                "pending": self.spool.waiting(),
                "recovered": self._recovered,
                "dropped": dict(self._dropped + self._recovered_dropped),
                "skipped": dict(self._skipped),
            }

    def step(self, broker: Redis) -> bool:
        """Learn what is committed and send what is due; whether anything moved."""
        confirmed = self._confirm(broker)
        return self._send(broker) or confirmed

    def _is_running(self) -> bool:
        """Whether there is a thread: a signal handler that raises may end one at its birth."""
        return self._thread is not None and self._thread.is_alive()

    def _is_unsettled(self) -> bool:
        """Whether there is something to wait for: captures, or counts that can be told."""
        return self.spool.waiting() > 0 or (self._reachable and self.counts() != self._reported)

    def _warn_once(self, kind: str, sentence: str) -> None:
        if kind in self._warned:
            return
        self._warned.add(kind)
        # A logging filter is the caller's code: what it raises would reach the caller.
        with suppress(Exception):
            import logging  # noqa: PLC0415  # kept out of the generator's import time

            logging.getLogger("tdsys.client").warning(sentence)

    def _warn_dropped(self, reason: str) -> None:
        known = REMEDIES.get(reason)
        why = f"{reason}: {known}" if known else reason
        self._warn_once(reason, f"a capture was dropped ({why}); more of the kind are only counted")

    def _run(self) -> None:
        broker: Redis | None = None
        while not self._ended():
            self._pause()
            if self._ended():
                break
            try:
                self._look_after_spool()
                if self.spool.backlog() or self.counts() != self._reported:
                    broker = broker or _connect(self._url)
                    self._ship(broker)
            except Exception as error:  # noqa: BLE001  # a generator must never see our network
                self._warn_once(*_advice(error, getattr(self.spool, "root", "")))
                broker = None
                self._reachable = False
                self._linger = min(LONGEST_FAILING_SECONDS, 2 * self._linger)
        self.spool.tidy()

    def _ship(self, broker: Redis) -> None:
        moved = self.step(broker)
        self._report(broker)
        self._reachable = True
        self._linger = TICK_SECONDS
        self._calm = TICK_SECONDS if moved else min(LONGEST_CALM_SECONDS, 2 * self._calm)

    def _ended(self) -> bool:
        with self._lock:
            if self._ending:
                self.sleeps = True
                if not self.spool.backlog():
                    self._thread = None
            return self._thread is not threading.current_thread()

    def _pause(self) -> None:
        """Sleep until there is something to do, then a tick longer so that batches fill."""
        # Said before it looks, so that who appends meanwhile wakes it.
        self.sleeps = True
        if self.spool.backlog():
            longest = self._calm
        else:
            longest = ADOPT_SECONDS if self._rests else IDLE_SECONDS
        news = _heard(self._news, longest)
        self.sleeps = self._ending
        self._rests = not (news or self.spool.backlog())
        self._hurried = _heard(self._hurry, self._linger)

    def _look_after_spool(self) -> None:
        if self._rests:
            self.spool.tidy()
        if (now := self._clock()) >= self._adopt_at:
            self._adopt_at = now + ADOPT_SECONDS
            self.spool.adopt()

    def _confirm(self, broker: Redis) -> bool:
        ids = list(self._in_flight)
        if not ids:
            return False
        answers: Any = broker.mget([wire.acknowledgement_key(i) for i in ids])
        done = [(i, answer) for i, answer in zip(ids, answers, strict=True) if answer is not None]
        for batch_id, answer in done:
            sent = self._in_flight.pop(batch_id)
            self._read_to = max(self._read_to, sent.at)
            self._settle(sent.batch, wire.unstored(answer, sent.batch.size))
        return bool(done)

    def _settle(self, batch: Batch, unstored: dict[str, int]) -> None:
        """The rows of a batch are committed, but for what the service did not take of it."""
        stored = batch.size - sum(unstored.values())
        with self._lock:
            if batch.own:
                self._committed += stored
                self._dropped.update(unstored)
            else:
                self._recovered += stored
                self._recovered_dropped.update(unstored)
            self.spool.forget(batch)
        for reason in unstored:
            self._warn_dropped(reason)

    def _send(self, broker: Redis) -> bool:
        due = self._due(broker)
        for sent in due:
            try:
                self._push(broker, sent, self.spool.again(sent.batch))
            except Lost as lost:
                self._in_flight.pop(sent.batch.id)
                self.spool.forget(sent.batch)
                self.drop("spool_lost", lost.count)
        moved, own = bool(due), True
        while len(self._in_flight) < IN_FLIGHT and (fresh := self._take(own=own)) is not None:
            batch, records = fresh
            # Registered first: if the push fails half-way, the batch is sent again, not lost.
            sent = self._in_flight[batch.id] = _Sent(batch)
            self._push(broker, sent, records)
            moved = True
            # What is captured while one is sent would travel in batches of a few records.
            own = own and (_is_full(batch, records) or not batch.own)
        return moved

    def _take(self, *, own: bool) -> tuple[Batch, Text] | None:
        try:
            return self.spool.take(own=own)
        except Lost as lost:
            self.drop("spool_lost", lost.count)
            return None

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

    def _push(self, broker: Redis, sent: _Sent, records: Text) -> None:
        fields = {wire.BATCH_FIELD: sent.batch.id.encode(), wire.RECORDS_FIELD: records}
        with broker.pipeline(transaction=False) as pipe:
            pipe.xadd(wire.CAPTURES, fields)  # type: ignore[arg-type]  # bytes will do
            pipe.set(BELL, "1", nx=True, px=wire.BELL_MILLISECONDS)
            # A bell set by a call that failed half-way would be silent until it expires.
            owed, self._owes_ring = self._owes_ring, True
            _, rung = pipe.execute()
        if rung or owed:
            broker.lpush(wire.queue_key(wire.Queue.CAPTURE), wire.envelope(wire.Task.INGEST))
        self._owes_ring = False
        sent.at = self._clock()
        sent.delay = min(LONGEST_RESEND_SECONDS, max(RESEND_SECONDS, 2 * sent.delay))
        sent.look = sent.at + sent.delay

    def _report(self, broker: Redis) -> None:
        """Tell the service what is counted, when it has changed; it matters less than shipping."""
        counts, now = self.counts(), self._clock()
        if counts == self._reported or not (self._hurried or now >= self._report_at):
            return
        text = _report_text(self.name, self._begun_at, counts)
        try:
            broker.set(wire.producer_key(self.name), text, ex=wire.PRODUCER_SECONDS)
        except Exception as error:
            if "ResponseError" not in _kinds(error):
                raise
            # such as an access list without SET
            self._warn_once("report", f"counts cannot be reported: {type(error).__name__}")
        self._reported, self._report_at = counts, now + REPORT_SECONDS


def _heard(bell: SimpleQueue[None], timeout: float) -> bool:
    """Whether it rings within `timeout` seconds; several rings are one."""
    try:
        bell.get(timeout=timeout)
    except Empty:
        return False
    while not bell.empty():
        bell.get()
    return True


def _is_full(batch: Batch, records: Text) -> bool:
    """Whether another record may not have found room in it."""
    return batch.size >= BATCH_RECORDS or len(records) >= BATCH_BYTES - MAX_RECORD_BYTES


def preload() -> None:
    """Import what the thread needs before there is one.

    A process that forks while its thread imports gets a child that can never import the same.
    """
    for name in _WHEN_CONNECTING:
        with suppress(Exception):
            importlib.import_module(name)


def _report_text(name: str, begun_at: float, counts: dict[str, Any]) -> str:
    host, pid, _ = name.rsplit(":", 2)
    told = {
        "producer": name,
        "host": host,
        "pid": int(pid),
        "started_at": begun_at,
        "at": time.time(),
        **counts,
    }
    return json.dumps(told)


def _connect(url: str) -> Redis:
    from tdsys.broker import connect  # noqa: PLC0415  # kept out of the generator's import time

    return connect(url, socket_timeout=5, connect_timeout=2)


def _advice(error: Exception, folder: str) -> tuple[str, str]:
    """The kind of a failure, and what to tell people; never its text, which may hold a password."""
    kinds = _kinds(error)
    name = type(error).__name__
    unknown = (name, f"shipping failed with {name}; it is tried again")
    kind, advice = next(((k, ADVICE[k]) for k in ADVICE if k in kinds), unknown)
    if folder:
        advice += f". What is left in {folder} when this process ends: {_command(folder)}"
    return kind, f"captures wait: {advice}"


def _command(folder: str) -> str:
    """How a person ships what dead processes left there."""
    from shlex import quote  # noqa: PLC0415  # kept out of the generator's import time

    return f"tdsys spool ship {quote(folder)}"


def _kinds(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
