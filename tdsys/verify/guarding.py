"""A child process that reads hostile text and can be killed.

One rule: the child is never trusted to stop. Silence, a crash and a strange reply all mean that
nothing is known, and the next request gets a fresh child.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
MAX_REPLY = 1 << 16
_PIECE = 4096


class GuardedChild:
    """One lazily started child for one program; safe in threads and after a fork.

    The program is run by path in isolated mode; it says "ready", then answers each line of JSON
    with one.
    """

    def __init__(self, program: Path, *, timeout: float, recycle_after: int) -> None:
        self._program = program
        self._timeout = timeout
        self._recycle_after = recycle_after
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        _CHILDREN.add(self)

    def ask(self, request: object) -> Any:
        """The reply; None when there is none in time, or no child."""
        with self._lock:
            if not self._is_ready():
                return None
            self._asked += 1
            reply = self._exchange(json.dumps(request), self._timeout)
            if reply is None or self._asked >= self._recycle_after:
                self._stop()
            return reply

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the child; a later request starts another."""
        with self._lock:
            self._stop()

    def _is_ready(self) -> bool:
        if self._process and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._start()
            if self._exchange("", START_SECONDS) != "ready":
                self._stop()
        return self._process is not None

    def _start(self) -> None:
        self._asked = 0
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(self._program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd="/",
            bufsize=0,
        )

    def _exchange(self, request: str, seconds: float) -> Any:
        """One reply line; None on silence, end or nonsense."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            if request:
                process.stdin.write(f"{request}\n".encode())
            return json.loads(_line(process.stdout.fileno(), time.monotonic() + seconds))
        except (OSError, ValueError):
            return None

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        _close_pipes(process)

    def _abandon(self) -> None:
        """After a fork the child belongs to the parent: let go of it, without killing it."""
        self._lock = threading.Lock()  # the old one may be held by a thread that is not here
        process, self._process = self._process, None
        if process is not None:
            _close_pipes(process)
            process.returncode = 0  # or Popen would warn that somebody else's child still runs


_CHILDREN: weakref.WeakSet[GuardedChild] = weakref.WeakSet()


def _abandon_all() -> None:
    for child in _CHILDREN:
        child._abandon()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_abandon_all)


def _line(pipe: int, deadline: float) -> bytes:
    """Read to the end of a line; ValueError when it does not come in time or is too long."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    read = b""
    while not read.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or len(read) > MAX_REPLY or not waiting.poll(left * 1000):
            raise ValueError("no line")
        if not (more := os.read(pipe, _PIECE)):
            raise ValueError("the pipe ended")
        read += more
    return read


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
