"""A generator behind gunicorn, whose workers are forked, replaced and killed: real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tdsys.client.folders import writers_in
from tests.ingesting import Worker
from tests.processes import children, wait_for

APP = """
import os
from tdsys.client import CaptureClient
client = CaptureClient(os.environ["BROKER"])
def app(environ, start):
    accepted = client.capture(domain="d", inputs={"path": environ["PATH_INFO"]}, outputs={})
    start("200 OK", [])
    return [accepted.encode()]
"""
Ask = Callable[[int], str]


@contextmanager
def gunicorn(folder: Path, redis_url: str, *options: str) -> Iterator[tuple[int, Ask]]:
    """Its pid, and what asks it for a problem and returns the id of the capture."""
    (folder / "app.py").write_text(APP)
    address = str(folder / "http")
    words = ["--chdir", str(folder), "--bind", f"unix:{address}", "--log-level", "error", *options]
    with subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *words, "app:app"],
        env={**os.environ, "BROKER": redis_url},
    ) as process:
        try:
            wait_for(lambda: Path(address).exists(), "gunicorn listens")
            yield process.pid, lambda number: asked(address, number)
        finally:
            process.terminate()


def asked(address: str, number: int) -> str:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20)
        line.connect(address)
        line.sendall(f"GET /{number} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head, head
    return body.decode()


@pytest.mark.criterion("1.5")
@pytest.mark.parametrize(
    "options",
    [
        "--workers 2",
        "--workers 2 --preload",
        "--workers 1 --threads 4 --preload",
        "--workers 2 --max-requests 5",
    ],
)
def test_every_answered_request_is_captured_once(
    redis_url: str, worker: Worker, spool_dir: Path, tmp_path: Path, options: str
) -> None:
    with gunicorn(tmp_path, redis_url, *options.split()) as (_, ask), ThreadPoolExecutor(4) as many:
        ids = list(many.map(ask, range(60)))
    assert len(set(ids)) == 60
    assert set(worker.records) == set(ids)
    assert not writers_in(str(spool_dir))


@pytest.mark.criterion("1.5")
def test_what_a_killed_worker_captured_is_shipped_by_the_one_that_takes_its_place(
    redis_url: str, worker: Worker, spool_dir: Path, tmp_path: Path
) -> None:
    with gunicorn(tmp_path, redis_url, "--workers", "1") as (pid, ask):
        before = [ask(number) for number in range(20)]
        (first,) = children(pid)
        os.kill(first, signal.SIGKILL)
        after = wait_for(lambda: children(pid) not in ([], [first]) and ask(20), "another works")
        wait_for(lambda: {*before, after} <= set(worker.records), "every capture arrived")
    assert set(worker.records) == {*before, after}
    assert not writers_in(str(spool_dir))
