"""Keep a claim alive while slow work is done, whatever the work is waiting for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from tdsys.errors import StoreUnavailable

BEATS_PER_LEASE = 4
Clock = Callable[[], datetime]


@contextmanager
def kept(extend: Callable[[], bool], *, lease: timedelta) -> Iterator[threading.Event]:
    """Call `extend` again and again in a thread of its own while the block runs.

    The event is set once `extend` says True: the work was cancelled or is somebody else's. A
    killed process keeps nothing alive: its thread dies with it.
    """
    stop, done = threading.Event(), threading.Event()

    def beat() -> None:
        while not done.wait(lease.total_seconds() / BEATS_PER_LEASE):
            try:
                if extend():
                    stop.set()
            except StoreUnavailable:
                continue  # the next beat may come through; if none does, the lease runs out

    keeper = threading.Thread(target=beat, name="tdsys-lease", daemon=True)
    keeper.start()
    try:
        yield stop
    finally:
        done.set()
        keeper.join()
