"""What becomes of captures when the generator, its disk or the broker fails: real processes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tdsys.client import CaptureClient
from tdsys.client.folders import writers_in
from tdsys.client.shipping import NEVER
from tdsys.embedded.valkey import EmbeddedValkey
from tests.ingesting import Worker
from tests.processes import wait_for

NOWHERE = "redis://:secret@127.0.0.1:1"
PROBLEM: dict[str, Any] = {"domain": "d", "inputs": {}, "outputs": {"answer": "2"}}
# Prints the id of each capture once it is accepted.
GENERATOR = """
import os, signal, sys, threading, time
from tdsys.client import CaptureClient
client = CaptureClient(sys.argv[1], **OPTIONS)
def capture(n=0):
    accepted = client.capture(domain="d", inputs={"n": n}, outputs={"answer": "x" * 500})
    os.write(1, accepted.encode() + b"\\n")
"""
ENDLESS = """
while True:
    capture()
"""


def generator(script: str, url: str, **options: Any) -> subprocess.Popen[str]:
    text = GENERATOR.replace("OPTIONS", repr(options)) + script
    return subprocess.Popen(
        [sys.executable, "-c", text, url], stdout=subprocess.PIPE, text=True, bufsize=1
    )


def accepted(process: subprocess.Popen[str]) -> list[str]:
    """Every id the generator was given until it ended."""
    assert process.stdout
    ids = process.stdout.read().split()
    process.wait()
    return ids


def killed(process: subprocess.Popen[str], after: int) -> list[str]:
    """kill -9 after so many captures, in the middle of another; what was accepted by then."""
    assert process.stdout
    ids = [process.stdout.readline().strip() for _ in range(after)]
    process.kill()
    # the last line may be torn
    return ids + [line for line in accepted(process) if len(line) == 36]


def adopts(client: CaptureClient) -> None:
    """A minute later, for a client: it looks for what the dead left."""
    client._shipper._adopt_at = NEVER
    client._shipper._news.put(None)


@contextmanager
def recovering(redis_url: str, root: Path) -> Iterator[CaptureClient]:
    """A client that comes after the dead one; in the end nothing is left of both."""
    with CaptureClient(redis_url) as client:
        yield client
        wait_for(lambda: not writers_in(str(root)), "nothing waits any more")


@pytest.mark.criterion("1.1")
@pytest.mark.parametrize("threads", [1, 4])
def test_what_a_killed_generator_captured_is_shipped_by_the_next_one(
    redis_url: str, worker: Worker, spool_dir: Path, threads: int
) -> None:
    script = f"""
for _ in range({threads} - 1):
    threading.Thread(target=lambda: [capture() for _ in iter(int, 1)], daemon=True).start()
"""
    ids = killed(generator(script + ENDLESS, NOWHERE), after=3000)
    assert worker.records == {}
    with recovering(redis_url, spool_dir):
        wait_for(lambda: set(ids) <= set(worker.records), "every accepted capture arrived")
    assert len(worker.records) - len(ids) <= threads


def test_a_generator_killed_while_its_captures_are_on_their_way_loses_and_doubles_none(
    redis_url: str, worker: Worker, spool_dir: Path
) -> None:
    ids = killed(generator(ENDLESS, redis_url), after=2000)
    with recovering(redis_url, spool_dir):
        wait_for(lambda: set(ids) <= set(worker.records), "every accepted capture arrived")
    # sent again under the same ids, which the service stores once
    assert len(set(worker.records) - set(ids)) <= 1


def test_of_two_generators_on_one_folder_the_survivor_ships_for_both(
    redis_url: str, worker: Worker, spool_dir: Path
) -> None:
    with recovering(redis_url, spool_dir) as survivor:
        mine = survivor.capture(**PROBLEM)
        ids = killed(generator(ENDLESS, NOWHERE), after=500)
        adopts(survivor)
        wait_for(lambda: {mine, *ids} <= set(worker.records), "both generators' captures arrived")
        assert survivor.flush(10).committed == 1
    assert worker.arrived == len(worker.records)


@pytest.mark.parametrize(
    "child",
    [
        "import multiprocessing as m; m.get_context('fork').Process(target=capture).start()",
        "import billiard; billiard.Process(target=capture).start()",
        "import billiard; billiard.Pool(1).map(capture, [1])",
        "os.fork() or (capture(), os._exit(0))",
        "os.fork() or (capture(), os.kill(os.getpid(), signal.SIGKILL))",
    ],
    ids=["multiprocessing", "billiard", "pool", "exit", "kill"],
)
def test_a_child_that_ends_without_a_word_leaves_its_captures_to_its_parent(
    redis_url: str, worker: Worker, spool_dir: Path, child: str
) -> None:
    script = f"""
from tdsys.client.shipping import NEVER
capture()
{child}
while len(open({str(spool_dir / "counted")!r}).read()) < 2:
    client._shipper._adopt_at = NEVER
    client._shipper._news.put(None)
    time.sleep(0.1)
client.close()
os._exit(0)
"""
    spool_dir.mkdir()
    (spool_dir / "counted").write_text("")
    process = generator(script, redis_url)
    try:
        wait_for(lambda: len(worker.records) == 2, "both captures arrived")
        (spool_dir / "counted").write_text("ok")
        assert set(accepted(process)) == set(worker.records)
    finally:
        process.kill()
        process.wait()


def test_a_signal_handler_may_capture_in_the_middle_of_a_capture(
    redis_url: str, worker: Worker
) -> None:
    script = """
signal.signal(signal.SIGALRM, lambda *_: capture())
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
for _ in range(2000):
    capture()
signal.setitimer(signal.ITIMER_REAL, 0)
assert client.flush(20).pending == 0
"""
    ids = accepted(generator(script, redis_url))
    assert len(ids) > 2000
    assert set(worker.records) == set(ids)


def test_a_signal_handler_may_raise_in_the_middle_of_a_capture(
    redis_url: str, worker: Worker
) -> None:
    script = """
def give_up(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, give_up)
for n in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + n / 1e5)
        for _ in range(100):
            capture()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeoutError:
        pass
result = client.flush(20)
assert result.pending == 0, result
print(result.dropped.get("internal", 0))
"""
    process = generator(script, redis_url)
    *ids, interrupted = accepted(process)
    assert process.returncode == 0
    assert len(ids) > 300
    # an interrupted one was taken or counted as dropped, and harmed no other
    assert len(set(ids) - set(worker.records)) <= int(interrupted)
    assert len(set(worker.records) - set(ids)) <= 300


@pytest.mark.usefixtures("worker")
def test_a_finalizer_may_capture(redis_url: str) -> None:
    class Problem:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            client.capture(**PROBLEM)

    with CaptureClient(redis_url) as client:
        for _ in range(3000):
            Problem()
            client.capture(**PROBLEM)
        gc.collect()
        assert client.flush(20) == (6000, 0, {})


def test_a_client_of_an_event_loop_holds_nobody_up(redis_url: str, worker: Worker) -> None:
    async def generate() -> int:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        turning = asyncio.create_task(turn())
        async with CaptureClient(redis_url) as client:
            client.capture(**PROBLEM)
            assert (await client.aflush(10)).committed == 1
        turning.cancel()
        return turns

    assert asyncio.run(generate()) > 5
    assert len(worker.records) == 1


def test_a_file_size_limit_only_makes_more_files(redis_url: str, worker: Worker) -> None:
    script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for _ in range(1000):
    capture()
result = client.flush(20)
assert result.pending == 0, result
assert set(result.dropped) <= {"disk_full"}, result
assert result.committed == 1000 - sum(result.dropped.values())
assert result.committed > 900
"""
    process = generator(script, redis_url)
    assert len(accepted(process)) == 1000
    assert process.returncode == 0
    assert worker.records


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "small"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def test_a_full_disk_drops_and_counts_and_what_was_accepted_is_shipped(
    redis_url: str, worker: Worker, small_disk: Path
) -> None:
    away = CaptureClient(NOWHERE, spool_dir=small_disk)
    results = {away.capture(**PROBLEM, metadata={"n": n, "x": "x" * 2000}) for n in range(300)}
    dropped = away.stats().dropped["disk_full"]
    assert 100 < dropped < 250
    assert len(results) == 300
    away._shipper._url = redis_url
    assert away.flush(10) == (300 - dropped, 0, {"disk_full": dropped})
    away.capture(**PROBLEM)
    assert away.flush(10).committed == 301 - dropped
    assert len(worker.records) == 301 - dropped


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "own")
    server.start()
    yield server
    server.stop()


@contextmanager
def frozen(server: EmbeddedValkey) -> Iterator[None]:
    assert server._running
    pid = server._running.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def slowest_capture(client: CaptureClient) -> float:
    """Seconds of the slowest of 200."""
    slowest = 0.0
    for _ in range(200):
        begun = time.perf_counter()
        client.capture(**PROBLEM)
        slowest = max(slowest, time.perf_counter() - begun)
        time.sleep(0.001)
    return slowest


def closes_in(client: CaptureClient) -> float:
    begun = time.monotonic()
    client.close()
    return time.monotonic() - begun


@pytest.mark.criterion("1.5")
def test_a_frozen_broker_holds_nobody_up_and_gets_everything_when_it_thaws(
    valkey: EmbeddedValkey,
) -> None:
    client = CaptureClient(valkey.url)
    client.capture(**PROBLEM)
    wait_for(lambda: client._shipper._in_flight, "the first capture was sent")
    with frozen(valkey):
        assert slowest_capture(client) < 0.5
        assert closes_in(client) < 2.5
    broker: Redis = Redis.from_url(valkey.url)
    late = Worker(broker)
    late.start()
    wait_for(lambda: client.stats() == (201, 0, {}), "everything is committed", seconds=40)
    late.stop()
    assert len(late.records) == 201
    broker.close()


@pytest.mark.criterion("1.5")
@pytest.mark.parametrize("backlog", [0, 8])
def test_a_black_hole_holds_nobody_up_and_everything_stays_on_the_disk(
    spool_dir: Path, backlog: int
) -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(backlog)
        client = CaptureClient(f"redis://127.0.0.1:{hole.getsockname()[1]}")
        assert slowest_capture(client) < 0.5
        assert closes_in(client) < 2.5
    kept = [path.read_bytes().count(b"\n") for path in spool_dir.rglob("*.jsonl")]
    assert sum(kept) == 200
    assert client.stats() == (0, 200, {})


def test_leaving_takes_two_seconds_at_most_whatever_the_broker_does(spool_dir: Path) -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(8)
        process = generator(
            "capture(); print(time.monotonic())", f"redis://127.0.0.1:{hole.getsockname()[1]}"
        )
        *_, left = accepted(process)
    assert time.monotonic() - float(left) < 3.5
    assert len(list(spool_dir.rglob("*.jsonl"))) == 1


def test_captures_in_memory_are_an_option(redis_url: str, worker: Worker, spool_dir: Path) -> None:
    with CaptureClient(redis_url, durability="memory") as client:
        client.capture(**PROBLEM)
        assert client.flush(10).committed == 1
    assert not spool_dir.exists()
    assert len(worker.records) == 1


@pytest.mark.parametrize("spool_dir", ["/proc/no such folder", None])
def test_without_a_disk_or_a_home_captures_wait_in_memory_with_one_warning(
    redis_url: str,
    worker: Worker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    spool_dir: str | None,
) -> None:
    monkeypatch.delenv("TDSYS_SPOOL_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    with CaptureClient(redis_url, spool_dir=spool_dir) as client:
        client.capture(**PROBLEM)
        client.capture(**PROBLEM)
        assert client.flush(10).committed == 2
    assert len([r for r in caplog.records if "TDSYS_SPOOL_DIR" in r.getMessage()]) == 1
    assert len(worker.records) == 2
