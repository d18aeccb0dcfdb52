"""A worker that was told to end is gone soon, also when Celery's shutdown hangs.

Celery 5.7 shuts down inside its signal handler: what the signal interrupted may hold a lock that
the shutdown waits for, and then the process waits for itself for ever (met in the long run of
tests/faults). What it did is in Postgres, so it may as well be killed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from celery.apps.worker import REMAP_SIGTERM
from celery.signals import worker_ready

GRACE_SECONDS = 10.0
LAST_WORD = b"tdsys: the worker was told to end and hangs; it is killed\n"


def watch_over_leaving() -> None:
    """Have every worker of this process killed that lives on after it was told to end at once."""
    worker_ready.connect(_begin)


def _begin(**_: object) -> None:
    told, tell = os.pipe()
    threading.Thread(target=_wait, args=(told,), name="tdsys-leaving", daemon=True).start()
    _listen(signal.SIGQUIT, tell)
    if REMAP_SIGTERM == "SIGQUIT":
        _listen(signal.SIGTERM, tell)


def _listen(number: signal.Signals, tell: int) -> None:
    before = signal.getsignal(number)

    def handle(got: int, frame: FrameType | None) -> None:
        # A pipe, because a handler must not take a lock.
        os.write(tell, b".")
        if callable(before):
            before(got, frame)

    signal.signal(number, handle)


def _wait(told: int) -> None:
    os.read(told, 1)
    time.sleep(GRACE_SECONDS)
    os.write(2, LAST_WORD)
    os.kill(os.getpid(), signal.SIGKILL)
