"""Keep a claim alive while slow work is done, whatever the work is waiting for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from tdsys.errors import StoreUnavailable

BEATS_PER_LEASE = 4
# Whoever cancels is heard within three seconds.
LOOK_EVERY = 1.0
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


def unwanted(lost: Callable[[], bool], is_ended: Callable[[], bool]) -> Callable[[], bool]:
    """Whether work should stop: its lease is `lost`, or, asked once a second, it is ended."""
    looked = -LOOK_EVERY

    def ask() -> bool:
        nonlocal looked
        if lost():
            return True
        if time.monotonic() - looked < LOOK_EVERY:
            return False
        looked = time.monotonic()
        try:
            return is_ended()
        except StoreUnavailable:
            return False  # the lease tells whether it is still ours

    return ask
