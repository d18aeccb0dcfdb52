"""A worker that is told to end is gone soon: real workers, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import wait_for

WORKER = """
from tdsys.worker.app import app
app.worker_main(["worker", "-Q", "reports", "-c", "1", "--without-mingle", "--without-gossip",
                 "-n", "leaving@%h", "-l", "INFO"])
"""
# As when the signal came while the main thread had the pool's lock.
HANGS = """
import threading
from celery.concurrency.prefork import TaskPool
from tdsys.worker import leaving
leaving.GRACE_SECONDS = 1.0
TaskPool.stop = lambda self: threading.Event().wait()
"""


@pytest.mark.parametrize("hangs", ["", HANGS])
def test_a_worker_that_is_told_to_end_ends_even_when_its_shutdown_hangs(
    redis_url: str, database_url: str, tmp_path: Path, hangs: str
) -> None:
    log = tmp_path / "log"
    settings = {"TDSYS_HOME": str(tmp_path), "TDSYS_REDIS_URL": redis_url,
                "TDSYS_DATABASE_URL": database_url, "REMAP_SIGTERM": "SIGQUIT"}  # fmt: skip
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-c", hangs + WORKER],
            env={**os.environ, **settings},
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: "ready." in log.read_text(), "the worker is up", seconds=40)
        worker.terminate()
        ended = worker.wait(30)
    finally:
        worker.kill()
    assert (ended == -signal.SIGKILL) is bool(hangs)
    assert ("it is killed" in log.read_text()) is bool(hangs)
