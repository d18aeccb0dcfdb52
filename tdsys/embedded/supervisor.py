"""Keeps children alive, and takes them along when it goes.

The one rule: spawn from the main thread. The kernel sends a child its death signal when the
*thread* that spawned it ends (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tdsys.embedded.account import Account
from tdsys.embedded.home import FULL, disk_errors, disk_full
from tdsys.embedded.ports import choose, is_free
from tdsys.errors import ConfigurationError, TdsysError

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
GOOD_LIFE = 60.0
LARGEST_LOG = 5 * 1024 * 1024
LAST_WORDS = 4096
POLL = 0.02
OURS = "tdsys: "  # how the command line begins an expected error
TELL_AFTER = 2.0  # seconds; nobody should look at a silent terminal for more than 3
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_LIBC = ctypes.CDLL(None)

Report = Callable[[str], None]


def silent(_line: str) -> None:
    """Report to nobody."""


class State(StrEnum):
    """What a child is doing."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    STOPPED = "stopped"


class ProcessState(NamedTuple):
    """One line of `tdsys status`."""

    name: str
    pid: int | None
    state: State
    restarts: int
    since: float
    address: str
    note: str


class Life(NamedTuple):
    """One run of a child: its pid, and what it has logged since it began."""

    pid: int
    log: Path
    offset: int

    def said(self) -> str:
        """What the child has logged in this run."""
        return self._read_from(self.offset)

    def last_words(self) -> str:
        """The end of what the child has logged in this run."""
        return self._read_from(max(self.offset, self.log.stat().st_size - LAST_WORDS))

    def _read_from(self, offset: int) -> str:
        with self.log.open("rb") as stream:
            stream.seek(offset)
            return stream.read().decode(errors="replace")


@dataclass(frozen=True, kw_only=True)
class Child:
    """What to run, and how to know, stop and lose it."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    address: str = ""
    account: Account | None = None
    ready: Callable[[Life], bool] = lambda _life: True
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    grace: float = 30.0


@dataclass(frozen=True, kw_only=True)
class ServerPlan:
    """How to start a server: descriptors it keeps, seconds to wait for it, whom to tell."""

    held: tuple[int, ...] = ()
    patience: float = 60.0
    report: Report = silent


@dataclass
class Supervised:
    """A child and its life so far; `held` file descriptors stay open in it.

    `note` is the line of its log that best tells why it ended last.
    """

    child: Child
    log: Path
    held: tuple[int, ...] = ()
    state: State = State.STOPPED
    restarts: int = 0
    since: float = field(default_factory=time.time)
    note: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _life: Life | None = None
    _failures: int = 0
    _born: float = 0.0
    _again_at: float = 0.0

    def shown(self) -> ProcessState:
        """The line that shows this child."""
        child = self.child
        return ProcessState(
            child.name,
            self.pid,
            self.state,
            self.restarts,
            self.since,
            child.address,
            "" if self.state is State.RUNNING else self.note,
        )

    @property
    def pid(self) -> int | None:
        """The process id while there is a process."""
        return self._process.pid if self._process else None

    def spawn(self) -> None:
        """Start the child; its output goes to the log."""
        rotate(self.log)
        with disk_errors(self.log), _open_log(self.log) as stream:
            offset = stream.tell()
            self._process = _popen(self.child, stream.fileno(), self.held)
        self._life = Life(self._process.pid, self.log, offset)
        self._born = time.monotonic()
        self._turn(State.STARTING)

    def tick(self) -> bool:
        """Look once: notice an end, a readiness, a due restart. True if the state changed."""
        before = (self.state, self.pid)
        if self._process and self._process.poll() is not None:
            self._ended()
        elif self.state is State.STARTING and self._life and self.child.ready(self._life):
            self._turn(State.RUNNING)
        elif self.state is State.BACKING_OFF and time.monotonic() >= self._again_at:
            self.restarts += 1
            self.spawn()
        return before != (self.state, self.pid)

    def signal_stop(self) -> None:
        """Ask the child to end; it is not restarted any more."""
        alive = self._process is not None and self._process.poll() is None
        self._turn(State.STOPPING if alive else State.STOPPED)
        if alive and self._process:
            self._process.send_signal(self.child.stop_signal)

    def gone(self) -> bool:
        """Whether no process is left."""
        if self._process and self._process.poll() is None:
            return False
        self._process = None
        self._turn(State.STOPPED)
        return True

    def kill(self) -> None:
        """End the child and what it started in its own process group, now."""
        if self._process and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_words(self) -> str:
        """The end of what this run logged."""
        return self._life.last_words() if self._life else ""

    def _ended(self) -> None:
        self._process = None
        self.note = telling_line(self.last_words().splitlines())
        self._failures = 1 if time.monotonic() - self._born >= GOOD_LIFE else self._failures + 1
        self._again_at = time.monotonic() + backoff(self._failures)
        self._turn(State.BACKING_OFF)

    def _turn(self, state: State) -> None:
        if state is not self.state:
            self.state, self.since = state, time.time()


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 0.5 doubling to 30."""
    return float(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 10)))


def await_ready(running: Supervised, *, timeout: float, report: Report = silent) -> None:
    """Wait until the child is ready; TdsysError with its last words if it ends before."""
    begun = told = time.monotonic()
    while running.state is not State.RUNNING:
        running.tick()
        if running.state is State.BACKING_OFF:
            raise ended_early(running.child.name, running.log, running.last_words())
        now = time.monotonic()
        if now - begun > timeout:
            running.kill()
            raise TdsysError(
                f"{running.child.name} was not ready after {timeout:.0f} s",
                remedy=f"read {running.log}",
            )
        if now - told > TELL_AFTER:
            told = now
            report(f"{running.child.name} is still starting ({now - begun:.0f} s)")
        time.sleep(POLL)


def run_once(child: Child, log: Path, *, given: bytes = b"", report: Report = silent) -> str:
    """Run a child to its end with `given` as its input; what it said. TdsysError if it failed."""
    rotate(log)
    begun = told = time.monotonic()
    with disk_errors(log), _open_log(log) as stream:
        offset = stream.tell()
        process = _popen(child, stream.fileno(), (), _filled_pipe(given))
    try:
        while process.poll() is None:
            if time.monotonic() - told > TELL_AFTER:
                told = time.monotonic()
                report(f"{child.name} is still running ({told - begun:.0f} s)")
            time.sleep(POLL)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    said = Life(process.pid, log, offset).said()
    if process.returncode != 0:
        raise failed(child.name, log, said, process.returncode)
    return said


def start_on_port(
    name: str, home: Path, build: Callable[[int], Child], *, asked: int | None, plan: ServerPlan
) -> Supervised:
    """Start a server on a port of its own; another port if somebody is quicker to take it."""
    while True:
        port = choose(home, name, asked)
        running = Supervised(build(port), home / "logs" / f"{name}.log", plan.held)
        running.spawn()
        try:
            await_ready(running, timeout=plan.patience, report=plan.report)
        except BaseException as failure:
            running.kill()
            if not isinstance(failure, ConfigurationError) or is_free(port):
                raise
            continue
        return running


def stop_all(running: Sequence[Supervised], report: Report = silent) -> None:
    """Stop in reverse order, waiting for all together; what outlives its grace is killed."""
    for one in reversed(running):
        one.signal_stop()
    begun = told = time.monotonic()
    while left := [one for one in running if not one.gone()]:
        waited = time.monotonic() - begun
        for one in left:
            if waited > one.child.grace:
                one.kill()
        if time.monotonic() - told > TELL_AFTER:
            told = time.monotonic()
            report(f"waiting for {', '.join(one.child.name for one in left)} ({waited:.0f} s)")
        time.sleep(POLL)


def ended_early(name: str, log: Path, words: str) -> TdsysError:
    """The error for a process that ended before it was of use: its last telling line."""
    if FULL in words:
        return disk_full(log.parent.parent)
    return ConfigurationError(
        f"{name} stopped while starting: {telling_line(words.splitlines())}",
        remedy=f"read {log}",
    )


def failed(name: str, log: Path, words: str, code: int = 1) -> TdsysError:
    """The error for a program that should have done its work and did not; its exit code."""
    if FULL in words:
        return disk_full(log.parent.parent)
    failure = TdsysError(f"{name} failed: {telling_line(words.splitlines())}", remedy=f"read {log}")
    failure.exit_code = code if code > 0 else 1
    return failure


def telling_line(lines: Iterable[str]) -> str:
    """The line a person should see first: the last error, else the last line."""
    said = [line.strip() for line in lines if line.strip()]
    loud = [line for line in said if any(w in line for w in ("FATAL", "PANIC", "rror", "***"))]
    return (loud or said or ["it said nothing"])[-1].removeprefix(OURS)[:300]


def rotate(log: Path) -> None:
    """Move a log that has grown large aside; one old one is kept."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))


def _open_log(log: Path) -> BinaryIO:
    stream = os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    stream.seek(0, os.SEEK_END)
    return stream


def _filled_pipe(given: bytes) -> BinaryIO:
    """The reading end of a pipe that holds `given` (less than its 64 KiB) and then ends."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        stream.write(given)
    return os.fdopen(reading, "rb")


def _popen(
    child: Child, output: int, held: tuple[int, ...], given: BinaryIO | int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    account = child.account
    return subprocess.Popen(
        child.argv,
        cwd=child.cwd,
        env=dict(child.env),
        stdin=given,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=held,
        umask=0o077,
        # Ctrl-C is for the supervisor, which then stops its children in order
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        preexec_fn=_die_with_parent(child.death_signal),  # noqa: PLW1509 - runs one system call
    )


def _die_with_parent(death: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def tie() -> None:
        _LIBC.prctl(_SET_DEATH_SIGNAL, int(death))
        if os.getppid() != parent:  # it died before the tie held
            os._exit(1)

    return tie
