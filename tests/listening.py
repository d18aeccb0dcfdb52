"""What a process says and when, for tests that no command is silent for long."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path

LONGEST_SILENCE = 3.0  # seconds
BUSY = 4.0  # processes that want each processor; beyond it every promise takes longer


class Heard:
    """A command in a process of its own, heard through a pipe or a terminal as it speaks."""

    def __init__(
        self,
        argv: list[str],
        *,
        cwd: Path,
        env: dict[str, str],
        terminal: bool = False,
        result: Path | None = None,
    ) -> None:
        """With `result` only standard error is heard, standard output goes to that file."""
        self._ear, mouth = pty.openpty() if terminal else os.pipe()
        with contextlib.ExitStack() as opened:
            out = opened.enter_context(result.open("wb")) if result else mouth
            self._process = subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=mouth
            )
        os.close(mouth)
        self._parts: list[tuple[float, bytes]] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def end(self, seconds: float = 280) -> int:
        """Wait until everything is said; the exit code."""
        self._listener.join(seconds)
        code = self._process.wait(10)
        os.close(self._ear)
        return code

    @property
    def text(self) -> str:
        """All it said, without colours."""
        said = b"".join(part for _, part in self._parts).decode()
        return re.sub(r"\x1b\[[\d;]*m", "", said).replace("\r\n", "\n")

    @property
    def silences(self) -> list[str]:
        """Every time it said nothing for too long once it had begun, with its next words."""
        longest = LONGEST_SILENCE * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / BUSY)
        return [
            f"{later - at:.1f} s before {words[:200]!r}"
            for (at, _), (later, words) in pairwise(self._parts)
            if later - at > longest
        ]

    def _listen(self) -> None:
        # a terminal whose other end was closed raises an error instead of ending
        with contextlib.suppress(OSError):
            while part := os.read(self._ear, 65536):
                self._parts.append((time.monotonic(), part))
