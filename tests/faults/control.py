"""What the design is measured against: plain Celery, one task a row, acked late, tried again.

`celery -A tests.faults.control worker`, and `python -m tests.faults.control LEDGER RUN` for a
generator that sends with `apply_async` until SIGTERM and notes what was accepted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psycopg
from celery import Celery

from tests.faults.generator import PER_SECOND, noted

PREFIX = "control:"
RETRY_SECONDS = 1
GAP = 1000
WORK_SECONDS = 0.02

app = Celery("control", broker=os.environ.get("TDSYS_REDIS_URL"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # As quick as ours to give up a silent connection and to hand out again what was not acked.
    broker_transport_options={
        "global_keyprefix": PREFIX,
        "visibility_timeout": 2,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
    },
)
_connections: list[psycopg.Connection] = []


@app.task(  # type: ignore[untyped-decorator]
    name="control.store",
    autoretry_for=(psycopg.Error,),
    max_retries=None,
    default_retry_delay=RETRY_SECONDS,
)
def store(run: str, n: int) -> None:
    """One task, one row, and as busy as a worker that has something to do."""
    time.sleep(WORK_SECONDS)
    if not _connections:
        url = os.environ["TDSYS_DATABASE_URL"]
        _connections.append(psycopg.connect(url, autocommit=True, connect_timeout=5))
    try:
        _connections[0].execute("INSERT INTO control VALUES (%s, %s)", (run, n))
    except psycopg.Error:
        _connections.pop().close()
        raise


def main(ledger: Path, run: str) -> None:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    # After a kill its last numbers may be on their way without a note: none is sent twice by us.
    n = noted(ledger) + GAP
    with ledger.open("ab", buffering=0) as notes:
        while not told.wait(1 / PER_SECOND):
            # What raises was not accepted, and the caller knows it.
            with contextlib.suppress(Exception):
                store.apply_async((run, n))
                notes.write(json.dumps({"n": n}).encode() + b"\n")
            n += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
