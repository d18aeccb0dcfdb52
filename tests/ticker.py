"""Says what a test run is doing whenever nothing else was said for a while.

The one rule: a line of its own, and only into a silence; what pytest prints stays as it is.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

import pytest

SILENCE = 2.0  # seconds; nobody should look at a silent terminal for more than 3
LONGEST_NAME = 60


class Terminal(io.TextIOWrapper):
    """Standard output, kept open while tests capture it, that knows when it was last used."""

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        copy = os.fdopen(os.dup(stream.fileno()), "wb")
        super().__init__(copy, encoding=stream.encoding, errors=stream.errors, write_through=True)
        self.used_at = time.monotonic()
        self._using = threading.RLock()
        self._column = 0  # where the line that was broken into goes on

    def write(self, text: str) -> int:
        with self._using:
            margin = "" if text.startswith(("\n", "\r")) else " " * self._column
            self._column = 0
            return self._say(margin + text)

    def break_silence(self, line: Callable[[], str], column: Callable[[], int]) -> None:
        """Write `line` if it is time; a line that was begun goes on below it, in its column."""
        with self._using:
            if time.monotonic() - self.used_at < SILENCE:
                return
            begun = column()
            self._say(("\n" if begun > self._column else "") + line() + "\n")
            self._column = begun

    def _say(self, text: str) -> int:
        written = super().write(text)
        self.flush()
        self.used_at = time.monotonic()
        return written


class Ticker:
    """What has been seen of this run, and the thread that tells it."""

    def __init__(self, config: pytest.Config, terminal: Terminal) -> None:
        self._config, self._terminal = config, terminal
        self._session: pytest.Session | None = None
        self._begun = time.monotonic()
        self._running: dict[str, float] = {}
        self._done = self._failed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="ticker", daemon=True)
        self._thread.start()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed += report.failed
        if report.when not in {"setup", "call"}:  # torn down, or its process has crashed
            self._running.pop(report.nodeid, None)
            self._done += 1

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self) -> Iterator[None]:
        yield
        self.stop()  # before the closing line

    def pytest_enter_pdb(self) -> None:
        self.stop()  # now somebody else writes there

    def pytest_unconfigure(self) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        writer = self._config.get_terminal_writer
        while not self._over.wait(max(0.05, self._terminal.used_at + SILENCE - time.monotonic())):
            self._terminal.break_silence(self._line, lambda: writer().width_of_current_line)

    def _line(self) -> str:
        now = time.monotonic()
        total = self._session.testscollected if self._session else 0
        running = ", ".join(
            f"{nodeid.rpartition('::')[2][:LONGEST_NAME]} ({now - since:.0f} s)"
            for nodeid, since in self._running.copy().items()
        )
        done = f"{self._done} of {total} tests done, {self._failed} failed"
        doing = running or f"the test processes {'end' if self._done else 'start'}"
        told = f"{done}; now {doing}" if total else "collecting the tests"
        return f"  {now - self._begun:.0f} s: {told}"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # one of xdist's processes: nobody reads what it prints
        return
    before, terminal = sys.stdout, Terminal(sys.stdout)
    sys.stdout = terminal  # before pytest's own reporter takes it
    config.add_cleanup(lambda: setattr(sys, "stdout", before))
    config.pluginmanager.register(Ticker(config, terminal), "ticker")
