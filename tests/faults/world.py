"""The system under fault: real servers, workers and beat, a network between them, a generator.

The one rule: everything that waits does so through `until` or `lasts`, which look after the stack
as `tdsys up` does: what died is started again.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from redis import Redis
from sqlalchemy import text

from tdsys.core.conversion import ImportOptions
from tdsys.embedded.home import open_home, password
from tdsys.embedded.postgres import DATABASE, USER
from tdsys.embedded.programs import WORKER_ENVIRONMENT, WORKER_FLAGS, Program
from tdsys.embedded.stack import Stack
from tdsys.embedded.supervisor import State
from tdsys.errors import StoreUnavailable
from tdsys.settings import addresses
from tdsys.stages import auditing, importing, uploading
from tdsys.stages.auditing import Reconciled
from tdsys.store import examples
from tdsys.store.imports import Import
from tdsys.store.invariants import Finding
from tdsys.wire import Queue, Task
from tests.faults.proxy import Proxy
from tests.faults.quick import CLOCK, LEASE
from tests.processes import descendants, is_alive, wait_for
from tests.running import runtime_of

CONTROL_TABLE = "CREATE TABLE IF NOT EXISTS control (run text NOT NULL, n integer NOT NULL)"
GRACE = timedelta(seconds=10)
LONGEST_RECOVERY = 120.0
# Longer than the lease of a claim, of a message, and than the client waits for its answer.
OUTLASTS_LEASES = LEASE.total_seconds() + 1
LINES, BAD_LINES = 60, 3
Env = dict[str, str]
FILLER = "filler"
CELERY = ("-m", "celery", "-A", "tests.faults.app", "worker")


class Generator:
    """One process that sends, and its ledger; the same ledger goes on when it is started again."""

    def __init__(self, module: str, folder: Path, name: str, *more: str, env: Env) -> None:
        folder.mkdir(exist_ok=True)
        self.name, self.ledger, self._env = name, folder / f"{name}.ledger", env
        self.deaths = 0
        self._words = [sys.executable, "-m", module, str(self.ledger), *more]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._words, env={**os.environ, **self._env}, stdout=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """kill -9; one capture more than the ledger knows may have been accepted."""
        self.end()
        self.deaths += 1

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def numbers(self) -> set[int]:
        """The numbers of the sends that were accepted so far."""
        lines = self.ledger.read_bytes().splitlines() if self.ledger.exists() else []
        return {int(json.loads(line)["n"]) for line in lines}

    def refused(self) -> int:
        """How many sends before the last accepted one were not accepted."""
        numbers = self.numbers()
        return max(numbers) + 1 - len(numbers)

    def accepted(self) -> list[UUID]:
        """The captures that were accepted so far."""
        return list(auditing.ledger(self.ledger)) if self.ledger.exists() else []


class World:
    """A stack whose workers and generators reach the servers through a network we can cut."""

    def __init__(self, home: Path, *, control: bool = False) -> None:
        self.home, self.has_control = open_home(home), control
        self.to_valkey = Proxy(lambda: self._port("redis_url"))
        self.to_postgres = Proxy(lambda: self._port("database_url"))
        self.spools = self.home / "spools"
        self._has_small_disk = False
        self.stack = Stack(
            self.home, env={**os.environ, "COLUMNS": "200"}, run=self._programs(control=control)
        )
        self.team: list[Generator] = []
        self.controls: list[Generator] = []

    def __enter__(self) -> Self:
        self.spools.mkdir()
        self._has_small_disk = _mount(self.spools)
        self.stack.start()
        self.stack.wait_ready()
        self.runtime = runtime_of(self.home)
        self.broker: Redis = self.runtime.broker
        if self.has_control:
            with self.runtime.store.begin() as tx:
                tx.execute(text(CONTROL_TABLE))
        return self

    def __exit__(self, *_: object) -> None:
        self.disband()
        self.runtime.close()
        self.stack.stop()
        self.to_valkey.close()
        self.to_postgres.close()
        if self._has_small_disk:
            subprocess.run(["umount", str(self.spools)], check=False)

    # Who runs, and where

    def _port(self, name: str) -> int:
        return int(addresses(self.home)[name].rpartition(":")[2].partition("/")[0])

    @property
    def environment(self) -> dict[str, str]:
        """The servers as workers and generators see them: through the network."""
        valkey, postgres = password(self.home, "valkey"), password(self.home, "postgres")
        there = f"{USER}:{postgres}@127.0.0.1:{self.to_postgres.port}/{DATABASE}"
        return {
            "TDSYS_REDIS_URL": f"redis://:{valkey}@127.0.0.1:{self.to_valkey.port}/0",
            "TDSYS_DATABASE_URL": f"postgresql://{there}",
        }

    def _programs(self, *, control: bool) -> tuple[Program, ...]:
        env = tuple({**self.environment, **WORKER_ENVIRONMENT}.items())
        schedule = str(self.home / "beat" / "schedule")
        beat = ("-m", "celery", "-A", "tests.faults.quick_beat", "beat", "-s", schedule)
        programs = (
            _worker("capture", (Queue.CAPTURE,), env),
            _worker("rest", (Queue.SCORING, Queue.IMPORTS), env),
            Program("beat", (*beat, "--loglevel=INFO"), "beat: Starting...", env),
        )
        if not control:
            return programs
        theirs = ("-m", "celery", "-A", "tests.faults.control", "worker", *WORKER_FLAGS)
        return (*programs, Program("worker-control", theirs, " ready.", env))

    def pids(self, *names: str) -> list[int]:
        """The processes of the stack whose name starts with one of these."""
        lines = self.stack.state()
        return [one.pid for one in lines if one.pid and one.name.startswith(names)]

    def disband(self) -> None:
        """No generator is left of the last seed."""
        for one in self.senders():
            one.end()
        self.team, self.controls = [], []

    def senders(self) -> list[Generator]:
        """Ours and, in the long form, theirs."""
        return [*self.team, *self.controls]

    def start_generator(self, name: str, *, spool: str = "") -> Generator:
        """Ours: it hands its problems to the client."""
        folder = self.spools / (spool or name)
        one = self._generator("tests.faults.generator", name, name, str(folder))
        self.team.append(one)
        return one

    def start_control(self, run: str) -> Generator:
        """Theirs: it sends a task for each."""
        one = self._generator("tests.faults.control", f"control {run}", run)
        self.controls.append(one)
        return one

    def _generator(self, module: str, name: str, *more: str) -> Generator:
        return Generator(module, self.home / "generators", name, *more, env=self.environment)

    def upload(self, domain: str) -> UUID:
        """A file with some lines that are no records."""
        lines = [
            json.dumps({"problem": f"{domain}: {n} + 2?", "solution": "Add.", "answer": str(n + 2)})
            for n in range(LINES)
        ]
        found = uploading.receive(
            self.runtime.store,
            pieces=["\n".join(lines + ["{"] * BAD_LINES).encode()],
            filename=f"{domain}.jsonl",
            domain=domain,
            options=ImportOptions(),
            actor="importer",
            clock=self.runtime.now,
        )
        self.runtime.bells.ring(Task.PARSE)
        return found.import_id

    # What can be done to them

    def kill(self, *pids: int) -> None:
        """kill -9, and nobody has noticed yet when this returns."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            wait_for(lambda pid=pid: not is_alive(pid), f"{pid} is gone")  # type: ignore[misc]

    @contextmanager
    def frozen(self, *pids: int) -> Iterator[None]:
        """SIGSTOP these processes and all they started; SIGCONT at the end."""
        stopped = [p for pid in pids for p in (pid, *sorted(descendants(pid)))]
        _signal(stopped, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(stopped, signal.SIGCONT)

    @contextmanager
    def clock_wrong_by(self, seconds: float) -> Iterator[None]:
        """The workers' clock jumps, and in the end back."""
        (self.home / CLOCK).write_text(str(seconds))
        try:
            yield
        finally:
            (self.home / CLOCK).unlink()

    def fill_disk(self) -> None:
        """Nothing can be written where generators spool: the disk is full, or else forbidden."""
        if not self._has_small_disk:
            self._limit_files(0)
            return
        with contextlib.suppress(OSError), (self.spools / FILLER).open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free_disk(self) -> None:
        (self.spools / FILLER).unlink(missing_ok=True)
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        for one in self.team:
            hard = resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    # Waiting

    def until(self, look: Callable[[], Any], what: str, seconds: float = LONGEST_RECOVERY) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self.stack.tick()
            with contextlib.suppress(StoreUnavailable):
                if look():
                    return
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.logs()}"
            time.sleep(0.1)

    def finish(self, *some: Generator) -> None:
        """Tell generators that it is enough, and let them end in their own time."""
        for one in some:
            one.process.terminate()
        for one in some:
            self.until(lambda one=one: one.process.poll() is not None, f"{one.name} is done")  # type: ignore[misc]

    def lasts(self, seconds: float) -> None:
        """What is the case stays so for a while."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "time passes")

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n" + path.read_text(errors="replace")[-3000:]
            for path in sorted((self.home / "logs").glob("*.log"))
        )

    # What is seen

    def accepted(self) -> list[UUID]:
        """The captures that were accepted so far, of every generator."""
        return [id_ for one in self.team for id_ in one.accepted()]

    def reconciled(self, accepted: list[UUID]) -> Reconciled:
        return auditing.reconcile(self.runtime.store, accepted)

    def is_idle(self, import_id: UUID, *domains: str) -> bool:
        """Whether the import has ended and everything is decided."""
        store = self.runtime.store
        if importing.status(store, import_id=import_id).state not in {"finished", "failed"}:
            return False
        with store.begin() as tx:
            return not any(examples.pending(tx, domain=domain) for domain in domains)

    def imported(self, import_id: UUID) -> Import:
        return importing.status(self.runtime.store, import_id=import_id)

    def audit(self) -> list[Finding]:
        """The invariants that do not hold."""
        found = auditing.audit(self.runtime.store, lease=LEASE, now=self.runtime.now(), grace=GRACE)
        return [one for one in found if not one.holds]

    def stored(self, domain: str) -> int:
        """Captures of the domain that are there, as examples or as duplicates."""
        counted = self._ask(
            "SELECT (SELECT count(*) FROM examples WHERE domain = :name)"
            " + (SELECT count(*) FROM capture_duplicates WHERE domain = :name)",
            name=domain,
        )
        return int(counted[0][0])

    def control_rows(self, run: str) -> Counter[int]:
        """How many rows each of the control's numbers has."""
        query = "SELECT n, count(*) FROM control WHERE run = :name GROUP BY n"
        return Counter({int(n): int(rows) for n, rows in self._ask(query, name=run)})

    def renew_control(self) -> None:
        """What it is stuck with must not be counted twice."""
        self.kill(*self.pids("worker-control"))
        self.broker.delete(*self.broker.keys("control:*"))

    def is_whole(self) -> bool:
        """Whether every process of the stack has come up."""
        return all(line.state is State.RUNNING for line in self.stack.state())

    def control_waits(self) -> bool:
        """Whether any message of the control's is left; one just taken shows a moment later."""
        for _ in range(5):
            if self.broker.llen("control:celery") or self.broker.hlen("control:unacked"):
                return True
            self.lasts(0.1)
        return False

    def _ask(self, query: str, **given: str) -> Sequence[Any]:
        with self.runtime.store.begin() as tx:
            return tx.execute(text(query), given).all()


def _worker(name: str, queues: tuple[Queue, ...], env: tuple[tuple[str, str], ...]) -> Program:
    arguments = (*CELERY, "-n", f"{name}@%h", "-Q", ",".join(queues), *WORKER_FLAGS)
    return Program(f"worker-{name}", arguments, " ready.", env)


def _mount(folder: Path) -> bool:
    """A disk of two megabytes, where we may; whether it is there."""
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    return (
        os.geteuid() == 0 and not subprocess.run(words, check=False, capture_output=True).returncode
    )


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
