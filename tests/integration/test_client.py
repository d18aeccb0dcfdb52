"""The capture client against a real broker: nothing raised, nothing lost, nothing kept for ever."""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tdsys.client import CaptureClient, MemorySpool
from tdsys.client.shipping import LONGEST_CALM_SECONDS, TICK_SECONDS
from tests.ingesting import Worker
from tests.processes import wait_for

PROBLEM: dict[str, Any] = {
    "domain": "arithmetic",
    "inputs": {"topic": "sums"},
    "outputs": {"problem": "1 + 1?", "answer": "2"},
}
NOWHERE = "redis://:secret@127.0.0.1:1"


def nested(levels: int) -> Any:
    inner: Any = 1
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.criterion("1.1")
def test_everything_captured_arrives_once_and_is_then_forgotten(
    redis_url: str, worker: Worker
) -> None:
    with CaptureClient(redis_url) as client:
        ids = [client.capture(**PROBLEM, metadata={"n": n}) for n in range(1000)]
        done = client.flush(10)
    assert done == (1000, 0, {})
    assert set(worker.records) == set(ids)
    assert len(worker.batches) < 100


@pytest.mark.criterion("1.5")
@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"x": math.nan}, "not_finite"),
        ({"x": object()}, "not_json"),
        ({"x": "\ud800"}, "surrogate"),
        ({"x": "y" * 300_000}, "too_large"),
        ({"x": "a\x00b"}, "nul"),
        ({"x": nested(31)}, "too_deep"),
        ({"x": nested(950)}, "too_deep"),
        ({"x": nested(50_000)}, "too_deep"),
        ({"x": 10**5000}, "not_json"),
        ({"x": {1: 2}}, "key_not_text"),
        ([], "not_json"),
    ],
)
def test_what_cannot_be_kept_is_counted_and_never_raised(
    redis_url: str, outputs: Any, reason: str
) -> None:
    with CaptureClient(redis_url) as client:
        assert client.capture(domain="d", inputs={}, outputs=outputs)
        assert client.stats().dropped == {reason: 1}


def test_a_cyclic_document_is_counted(redis_url: str) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with CaptureClient(redis_url) as client:
        client.capture(domain="d", inputs=loop, outputs={})
        assert client.stats().dropped == {"cyclic": 1}


class Unruly(dict[str, Any]):
    """A mapping that breaks when it is read."""

    def items(self) -> Any:
        raise KeyError("gone")


def test_a_document_that_breaks_when_it_is_read_is_counted_and_not_raised(redis_url: str) -> None:
    with CaptureClient(redis_url) as client:
        assert client.capture(domain="d", inputs=Unruly(a=1), outputs={})
        assert client.stats().dropped == {"internal": 1}


@pytest.mark.usefixtures("worker")
def test_a_system_without_threads_to_spare_costs_nothing_but_time(redis_url: str) -> None:
    client = CaptureClient(redis_url)
    before = threading.stack_size(2**50)  # no system has that much room for a stack
    try:
        client.capture(**PROBLEM)
        assert client.flush(5) == (0, 1, {})
    finally:
        threading.stack_size(before)
    client.capture(**PROBLEM)
    assert client.flush(10) == (2, 0, {})


def test_a_full_spool_drops_and_counts() -> None:
    client = CaptureClient("redis://127.0.0.1:1", spool=MemorySpool(limit=500))
    for _ in range(10):
        client.capture(**PROBLEM)
    stats = client.stats()
    assert stats.dropped["spool_full"] + stats.pending == 10
    assert stats.pending > 0


@pytest.mark.criterion("1.5")
def test_a_broker_that_is_away_neither_blocks_nor_raises_and_nothing_is_forgotten() -> None:
    client = CaptureClient("redis://127.0.0.1:1")
    for _ in range(100):
        client.capture(**PROBLEM)
    assert client.flush(0.3) == (0, 100, {})


def test_the_caller_may_change_the_document_afterwards(redis_url: str, worker: Worker) -> None:
    outputs = {"answer": "2"}
    with CaptureClient(redis_url) as client:
        capture_id = client.capture(domain="d", inputs={}, outputs=outputs)
        outputs["answer"] = "changed"
        client.flush(10)
    assert worker.records[capture_id]["outputs"] == {"answer": "2"}


def test_a_forked_child_ships_its_own_captures_and_not_its_parents(
    redis_url: str, worker: Worker
) -> None:
    client = CaptureClient(redis_url)
    parent = client.capture(**PROBLEM)
    client.flush(10)
    if (child := os.fork()) == 0:
        client.capture(**PROBLEM, metadata={"from": "child"})
        os._exit(0 if client.flush(10).pending == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(worker.records) == 2
    assert parent in worker.records


def in_a_child(work: Callable[[], bool]) -> bool:
    """Whether `work` was true in a forked child, which is killed if it hangs."""
    if (child := os.fork()) == 0:
        signal.alarm(10)
        os._exit(0 if work() else 1)
    return os.waitpid(child, 0)[1] == 0


def test_a_forked_child_that_only_closes_does_not_wait_for_its_parents_records() -> None:
    client = CaptureClient(NOWHERE)
    client.capture(**PROBLEM)

    def closes_at_once() -> bool:
        begun = time.monotonic()
        return client.close() == (0, 0, {}) and time.monotonic() - begun < 0.5

    assert in_a_child(closes_at_once)


@pytest.mark.usefixtures("worker")
def test_a_fork_while_another_thread_holds_every_lock_harms_nobody(redis_url: str) -> None:
    spool = MemorySpool()
    client = CaptureClient(redis_url, spool=spool)
    client.capture(**PROBLEM)
    client.flush(10)
    held = [client._shipper._lock, spool._lock]
    for lock in held:
        lock.acquire()
    try:

        def ships() -> bool:
            client.capture(**PROBLEM, metadata={"from": "child"})
            return client.flush(8) == (1, 0, {})

        assert in_a_child(ships)
    finally:
        for lock in held:
            lock.release()


@pytest.mark.usefixtures("worker")
def test_a_child_forked_right_after_the_first_capture_ships(redis_url: str) -> None:
    script = f"""
import os, signal, time
from tdsys.client import CaptureClient
client = CaptureClient({redis_url!r})
client.capture(domain="d", inputs={{}}, outputs={{}})
time.sleep(DELAY)
if (child := os.fork()) == 0:
    signal.alarm(10)
    client.capture(domain="d", inputs={{}}, outputs={{}})
    os._exit(client.flush(5).pending)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    # while the parent's thread would be importing redis-py
    for late in (0.005, 0.01, 0.02, 0.04):
        delay = str(TICK_SECONDS + late)
        done = subprocess.run([sys.executable, "-c", script.replace("DELAY", delay)], check=False)
        assert done.returncode == 0


def test_a_fork_keeps_the_spools_limit() -> None:
    client = CaptureClient(NOWHERE, spool=MemorySpool(limit=500))

    def is_full() -> bool:
        for _ in range(10):
            client.capture(**PROBLEM)
        return client.stats().dropped["spool_full"] > 0

    assert in_a_child(is_full)


@pytest.mark.usefixtures("worker")
def test_a_capture_after_close_is_shipped_like_any_other(redis_url: str) -> None:
    client = CaptureClient(redis_url)
    for n in range(1, 4):
        client.capture(**PROBLEM)
        assert client.close() == (n, 0, {})
    wait_for(lambda: client._shipper._thread is None, "the thread ended")


def test_what_is_pending_at_close_is_shipped_as_soon_as_that_is_possible(
    redis_url: str, broker: Redis
) -> None:
    client = CaptureClient(redis_url)
    client.capture(**PROBLEM)
    assert client.close().pending == 1
    late = Worker(broker)
    late.start()
    wait_for(lambda: client.stats() == (1, 0, {}), "the worker's answer was heard")
    late.stop()


def test_a_client_nobody_holds_is_collected_and_its_thread_ends_when_all_is_committed(
    redis_url: str, worker: Worker
) -> None:
    client = CaptureClient(redis_url)
    capture_id = client.capture(**PROBLEM)
    gone, thread = weakref.ref(client), client._shipper._thread
    assert thread
    del client
    gc.collect()
    assert gone() is None
    thread.join(10)
    assert not thread.is_alive()
    assert capture_id in worker.records


def test_at_exit_every_client_that_was_not_closed_gets_two_seconds_in_all(
    redis_url: str, worker: Worker
) -> None:
    script = f"""
from tdsys.client import CaptureClient
clients = [CaptureClient(url) for url in ({NOWHERE!r}, {redis_url!r}, {NOWHERE!r}, {NOWHERE!r})]
for client in clients:
    client.capture(domain="d", inputs={{}}, outputs={{"answer": "2"}})
import time
print(time.time())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert time.time() - float(done.stdout) < 4
    assert len(worker.records) == 1


def switches(thread: threading.Thread) -> int:
    """How often a thread of this process has gone to sleep."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@pytest.mark.usefixtures("worker")
def test_a_thread_with_nothing_to_do_sleeps(redis_url: str) -> None:
    client = CaptureClient(redis_url)
    client.capture(**PROBLEM)
    assert client.flush(10).pending == 0
    thread = client._shipper._thread
    assert thread

    def is_still() -> bool:
        before = switches(thread)
        time.sleep(LONGEST_CALM_SECONDS + 0.5)
        return switches(thread) == before

    wait_for(is_still, "it sleeps for longer than between two looks", seconds=8)
    client.capture(**PROBLEM)
    assert client.flush(10).committed == 2


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def with_password(url: str, password: str) -> str:
    return "redis://:" + password + "@" + url.rpartition("@")[2].removeprefix("redis://")


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("", "set TDSYS_REDIS_URL"),
        ("localhost:6379", "set TDSYS_REDIS_URL"),
        ("redis://:secret@host:many", "set TDSYS_REDIS_URL"),
        (NOWHERE, "cannot be reached"),
        ("the broker, with another password", "refuses the password"),
    ],
)
def test_a_broker_that_cannot_be_used_is_said_once_without_its_password(
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    advice: str,
) -> None:
    url = with_password(redis_url, "secret") if " " in address else address
    monkeypatch.setenv("TDSYS_REDIS_URL", url)
    caplog.set_level(logging.DEBUG, logger="tdsys.client")
    client = CaptureClient()
    for _ in range(3):
        client.capture(**PROBLEM)
        client.flush(0.3)
    assert client.stats() == (0, 3, {})
    (warning,) = warnings(caplog)
    assert advice in warning
    assert f"tdsys spool ship {os.environ['TDSYS_SPOOL_DIR']}" in warning
    assert "secret" not in caplog.text


def test_threads_may_share_a_client(redis_url: str, worker: Worker) -> None:
    with CaptureClient(redis_url) as client:
        threads = [
            threading.Thread(target=lambda: [client.capture(**PROBLEM) for _ in range(200)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(10).committed == 800
    assert len(worker.records) == 800


def test_importing_the_client_loads_nothing_but_the_standard_library() -> None:
    heavy = ("redis", "celery", "dspy", "sqlalchemy", "pydantic", "click")
    script = f"import sys, tdsys.client; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
