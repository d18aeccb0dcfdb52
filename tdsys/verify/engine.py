"""Algebra on untrusted text, in a child process that can be killed.

One rule: the child is never trusted to stop. Silence for three seconds, a crash, a strange reply
and an oversized text all mean UNKNOWN, never wrong, and the next question gets a fresh child.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import NamedTuple, Self

from tdsys.core.answers import Equality

CHILD = Path(__file__).with_name("child.py")
START_SECONDS = 60.0
MAX_CHARS = 400
MAX_DEPTH = 20
MAX_REPLY = 4096
_OVERSIZED = re.compile(r"[0-9]{65}|(?:\^|\*\*)\s*[({]*\s*[-+]?[0-9]{5}|[\x00-\x1f\x7f]")


class Ruling(NamedTuple):
    """What the engine says, and why it says nothing."""

    equality: Equality
    reason: str = ""


class SymbolicEngine:
    """Compares two expressions in one lazily started child; safe in threads and after a fork."""

    def __init__(self, *, timeout: float = 3.0, recycle_after: int = 2000) -> None:
        self._timeout = timeout
        self._recycle_after = recycle_after
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        _ENGINES.add(self)

    def compare(self, left: str, right: str) -> Ruling:
        """EQUAL or UNEQUAL where it is proved, otherwise UNKNOWN with the reason."""
        if reason := _refusal(left) or _refusal(right):
            return Ruling(Equality.UNKNOWN, reason)
        with self._lock:
            reply = self._ask(json.dumps([left, right]))
        if reply in (Equality.EQUAL, Equality.UNEQUAL):
            return Ruling(Equality(reply))
        return Ruling(Equality.UNKNOWN, reply)

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the child; a later question starts another."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _ask(self, request: str) -> str:
        if not self._is_ready():
            return "the engine did not start"
        self._asked += 1
        reply = self._exchange(request, self._timeout)
        if reply is None or self._asked >= self._recycle_after:
            self._stop()
        return "no answer in time, or the engine died" if reply is None else reply

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
            [sys.executable, "-I", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd="/",
            bufsize=0,
        )

    def _exchange(self, request: str, seconds: float) -> str | None:
        """One reply line; None on silence, end or nonsense."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            if request:
                process.stdin.write(f"{request}\n".encode())
            reply = json.loads(_line(process.stdout.fileno(), time.monotonic() + seconds))
        except (OSError, ValueError):
            return None
        return reply if isinstance(reply, str) else None

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


_ENGINES: weakref.WeakSet[SymbolicEngine] = weakref.WeakSet()


def _abandon_all() -> None:
    for engine in _ENGINES:
        engine._abandon()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_abandon_all)


def _refusal(text: str) -> str:
    """Why a text is not even shown to the child."""
    if len(text) > MAX_CHARS:
        return f"longer than {MAX_CHARS} characters"
    if _OVERSIZED.search(text):
        return "a number is too large"
    return "nested too deeply" if _depth(text) > MAX_DEPTH else ""


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _line(pipe: int, deadline: float) -> bytes:
    """Read to the end of a line; ValueError when it does not come in time or is too long."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    read = b""
    while not read.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or len(read) > MAX_REPLY or not waiting.poll(left * 1000):
            raise ValueError("no line")
        if not (more := os.read(pipe, MAX_REPLY)):
            raise ValueError("the pipe ended")
        read += more
    return read


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
