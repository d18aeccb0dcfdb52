"""What the kernel knows about processes, for tests that count them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST_PAUSE = 0.15


def wait_for(seen: Callable[[], Any], what: str, *, seconds: float = 20) -> Any:
    """Wait for a state: the first truthy answer, or a failure that says what is missing.

    What takes long is looked at more rarely: looking takes what is waited for its processor.
    """
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (found := seen()):
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(pause)
        pause = min(pause * 1.1, LONGEST_PAUSE)
    return found


def descendants(pid: int) -> set[int]:
    """All living processes `pid` started, and those started by them."""
    parents = dict(filter(None, map(_parent, Path("/proc").glob("[0-9]*"))))
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= more
    return found


def children(pid: int, holding: bytes = b"") -> list[int]:
    """The living processes `pid` started whose command line holds those bytes."""
    started = (int(word) for task in Path("/proc", str(pid), "task").iterdir()
               for word in (task / "children").read_text().split())  # fmt: skip
    return [child for child in started if is_alive(child) and holding in command_line(child)]


def command_line(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    fields = _stat(Path("/proc", str(pid)))
    return bool(fields) and fields[0] not in "ZX"


def user_of(pid: int) -> int:
    return Path("/proc", str(pid)).stat().st_uid


def _parent(entry: Path) -> tuple[int, int] | None:
    fields = _stat(entry)
    return (int(entry.name), int(fields[1])) if fields else None


def _stat(entry: Path) -> list[str]:
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
