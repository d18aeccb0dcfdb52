"""Seeing, stopping and starting a stack from another process.

The one rule: what is running is decided by the lock, never by a file that may be left over.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tdsys.embedded import lock
from tdsys.embedded.home import open_home, read_json
from tdsys.embedded.programs import import_path
from tdsys.embedded.stack import STATE_FILE
from tdsys.embedded.supervisor import (
    OURS,
    Life,
    ProcessState,
    Report,
    State,
    failed,
    rotate,
    silent,
)
from tdsys.errors import TdsysError

LOOK_EVERY = 0.05
Process = subprocess.Popen[bytes]
AGAIN = (sys.executable, "-m", "tdsys", "up")


def status(home: Path) -> list[ProcessState] | None:
    """One line per process of the stack running in `home`; None if none runs."""
    home = home.expanduser().absolute()
    if lock.supervisor(home) is None:
        return None
    lines = read_json(home / STATE_FILE).get("processes")
    return [_line(line) for line in lines] if isinstance(lines, list) else []


def down(home: Path, *, timeout: float = 60.0, report: Report = silent) -> bool:
    """Stop the stack running in `home` and wait for its end; False if none ran."""
    home = home.expanduser().absolute()
    pid = lock.supervisor(home)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    begun = told = time.monotonic()
    while lock.is_taken(home):
        now = time.monotonic()
        if now - begun > timeout:
            raise TdsysError(
                f"process {pid} has not ended within {timeout:.0f} s",
                remedy=f"kill -9 {pid} ends it and all its processes; nothing is lost",
            )
        if now - told > 1:
            told = now
            report(f"waiting for the processes to end ({now - begun:.0f} s)")
        time.sleep(LOOK_EVERY)
    return True


def detach(
    home: Path,
    *,
    env: Mapping[str, str],
    argv: Sequence[str] = AGAIN,
    timeout: float = 120.0,
    report: Report = silent,
) -> int:
    """Start `argv` as a supervisor of its own and wait until it is ready; its pid."""
    home = open_home(home)
    log = home / "logs" / "up.log"
    rotate(log)
    with log.open("ab") as stream:
        log.chmod(0o600)
        life = Life(0, log, stream.tell())
        process = subprocess.Popen(
            argv,
            cwd=home,
            env={
                **env,
                "TDSYS_HOME": str(home),
                "PYTHONPATH": import_path(env),
                # what it says is read from its log while it says it
                "PYTHONUNBUFFERED": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _follow(process, life, timeout=timeout, report=report)
    process.returncode = 0  # it is on its own now; nobody is going to wait for it
    return process.pid


def _follow(process: Process, life: Life, *, timeout: float, report: Report) -> None:
    """Pass on what the new supervisor says until it is ready; TdsysError if it fails."""
    deadline = time.monotonic() + timeout
    told = 0
    while not _is_ready(process.pid, life.log.parent.parent):
        lines = life.said().splitlines()
        if process.poll() is not None:
            raise failed("tdsys up", life.log, life.said(), process.returncode)
        for line in lines[told:]:
            if not line.startswith(OURS):  # the error in the end is raised, not passed on
                report(line)
        told = len(lines)
        if time.monotonic() > deadline:
            process.terminate()
            process.wait()
            raise TdsysError(f"not ready within {timeout:.0f} s", remedy=f"read {life.log}")
        time.sleep(LOOK_EVERY)


def _is_ready(pid: int, home: Path) -> bool:
    found = read_json(home / STATE_FILE)
    return found.get("pid") == pid and found.get("ready") is True


def _line(fields: dict[str, object]) -> ProcessState:
    line = ProcessState(**fields)  # type: ignore[arg-type] # our own file
    return line._replace(state=State(line.state))
