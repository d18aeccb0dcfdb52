"""One supervisor per home.

The one rule: children inherit the lock. After a kill -9 it stays taken until the last of them is
gone, so the next supervisor never meets a database that is still shutting down.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from tdsys.embedded.home import PRIVATE_FILE, disk_errors
from tdsys.embedded.supervisor import POLL, TELL_AFTER, Report, silent
from tdsys.errors import Conflict

LOCK_FILE = "lock"
LONGEST_ENDING = 60.0  # seconds; a database with much to write out takes its time


def take(home: Path, report: Report = silent) -> int:
    """The descriptor of the lock on `home`, held until closed everywhere; Conflict if running."""
    with disk_errors(home):
        lock = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    begun = told = time.monotonic()
    while not _try(lock, fcntl.LOCK_EX):
        if pid := supervisor(home):
            os.close(lock)
            raise already_running(home, pid)
        now = time.monotonic()
        if now - begun > LONGEST_ENDING:
            os.close(lock)
            raise Conflict(f"processes of an earlier start still use {home}", remedy="end them")
        if now - told > TELL_AFTER:
            told = now
            report("waiting for processes of an earlier start to end")
        time.sleep(POLL)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def is_taken(home: Path) -> bool:
    """Whether a supervisor, or what a killed one left, holds `home`."""
    try:
        lock = os.open(home / LOCK_FILE, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _try(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def supervisor(home: Path) -> int | None:
    """The pid of the living supervisor of `home`."""
    try:
        pid = int((home / LOCK_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return pid if is_taken(home) and _lives(pid) else None


def already_running(home: Path, pid: int) -> Conflict:
    """The error for a second start in the same home."""
    return Conflict(
        f"already running, pid {pid}, in {home}", remedy="see tdsys status, or stop it: tdsys down"
    )


def _try(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        # "pid (name) state ...": a killed process nobody has waited for yet is a Z
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
