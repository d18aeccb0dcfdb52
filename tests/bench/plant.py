"""Workers on a database of their own, and whoever has them make something and follows it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple, Self
from uuid import UUID

from redis import Redis

from tdsys.core.batch import Kind
from tdsys.core.filling import Offer
from tdsys.core.policy import Policy
from tdsys.core.resolving import MOST_SOLUTIONS
from tdsys.core.sections import Judges
from tdsys.stages import auditing, filling, policies
from tdsys.stages.filling import Request
from tdsys.store import Store
from tdsys.store.invariants import Finding
from tdsys.wire import Task
from tests.desk import Desk, a_worker
from tests.factories import NOW
from tests.processes import descendants

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
# As the command follows a batch.
LOOK_EVERY = 0.4
TOPICS = ("linear equations", "number sequences")
# A customer's DSPy program; its prompt is a strategy's of ours, which the provider understands.
GENERATOR = """
import dspy
from tdsys.llm.judge import fenced
from tdsys.llm.prompting import strategies
from tdsys.llm.synthesis import _program

class Generator(dspy.Module):
    def __init__(self):
        super().__init__()
        self.write = _program(strategies()["persona"]).deepcopy()

    def forward(self, topic, difficulty, domain, index):
        wanted = {"domain": domain, "topic": topic, "difficulty": difficulty,
                  "strategy": "persona", "take": index}
        return self.write(request=fenced(wanted), material=fenced([]))

    signature = dspy.Signature("topic, difficulty, domain, index -> problem")
"""


class Made(NamedTuple):
    """What a batch came to, from its beginning to its end as its row says.

    `rate` of what was admitted, `judged` of all that was made and judged, for what is not admitted
    is made again. `cpu` in ms an item, of all workers and who follows it together; `servers`: of
    Postgres and Valkey, where they run here.
    """

    judged: float
    rate: float
    cpu: float
    servers: float
    calls: float


@contextmanager
def provider(
    latency: float, *, capacity: int = 0, refused: float = 0, say: str | None = None
) -> Iterator[str]:
    """A provider in a process of its own; its address. `say`: what it answers to everybody."""
    behaving = [str(one) for one in (latency, capacity, refused, say) if one is not None]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stub_provider", "0", *behaving],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Plant:
    """Real workers, each of one process, and a batch for them."""

    def __init__(self, url: str, redis_url: str, folder: Path, **env: str) -> None:
        self.store, self._broker, self._folder = Store(url), Redis.from_url(redis_url), folder
        self._url, self._redis_url = url, redis_url
        _install_generator(folder)
        self._env = {
            "OPENAI_API_KEY": "x", "TDSYS_LM": "openai/stub", "PYTHONPATH": str(folder),
            "DSPY_CACHEDIR": str(folder / "answers"), **env,
        }  # fmt: skip
        self.workers: list[Desk] = []
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self.store.upgrade()
        self._broker.flushdb()
        policy = Policy(
            audit_share=0, unsolved="judge", judges=Judges(canaries=0), optimization="hold"
        )
        for domain in ("warm", "algebra"):
            policies.put(self.store, domain=domain, policy=policy, author="t", now=NOW)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()
        self.store.close()

    def hire(self, queues: str) -> None:
        """Another worker."""
        place = Path(tempfile.mkdtemp(dir=self._folder))
        worker = a_worker(self._redis_url, self._url, place, queues=queues, **self._env)
        self.workers.append(self._exits.enter_context(worker))

    def make(self, count: int, *, domain: str = "algebra", **over: Any) -> Made:
        """As the command does it, its start left out: begin a batch and follow it to the end."""
        is_generated = "generator" in over
        request = Request(kind=Kind.BOOTSTRAP if is_generated else Kind.SYNTHESIS, domain=domain,
                          count=count, topics=TOPICS, model="openai/stub", **over)  # fmt: skip
        used, served, judged = self._ticks(), self._served(), self._judged()
        batch_id = filling.begin(
            self.store, filling.draft(self.store, Supply(), request), actor="bench", clock=now
        )
        self.workers[0].send(Task.GENERATE)
        looks = 0
        while filling.progress(self.store, batch_id=batch_id)[0].state == "open":
            sleep(LOOK_EVERY)
            looks += 1
            if looks % 15 == 0:  # as beat does, for what was put off
                self.workers[0].send(Task.SCORE)
                self.workers[0].send(Task.GENERATE)
        used, served = self._ticks() - used, self._served() - served
        report = filling.report(self.store, batch_id=batch_id)
        assert report.whole.admitted == count, filling.ended(report)
        judged = self._judged() - judged
        asked = report.batch.spent + judged
        each, seconds = 1e3 / TICKS / judged, self._seconds(batch_id)
        return Made(judged / seconds, count / seconds, used * each, served * each, asked / judged)

    def broken(self) -> list[Finding]:
        """The invariants that do not hold."""
        found = auditing.audit(self.store, lease=timedelta(seconds=120), now=now())
        return [one for one in found if not one.holds]

    def fire(self) -> None:
        """No worker any more."""
        self._exits.close()
        self.workers.clear()

    def _judged(self) -> int:
        with self.store.begin() as tx:
            return int(tx.exec_driver_sql("SELECT count(*) FROM judgements").scalar_one())

    def _seconds(self, batch_id: UUID) -> float:
        with self.store.begin() as tx:
            return float(tx.exec_driver_sql(
                "SELECT extract(epoch FROM finished_at - created_at) FROM batches WHERE id = %s",
                (batch_id,),
            ).scalar_one())  # fmt: skip

    def _served(self) -> float:
        """What Postgres, with all it has forked, and Valkey have used."""
        with self.store.begin() as tx:
            backend = int(tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        postmaster = int(_stat(backend)[1])
        running = sum(map(_used, descendants(postmaster)))
        valkey: Any = self._broker.info("cpu")
        theirs = valkey["used_cpu_user"] + valkey["used_cpu_sys"]
        return float(running + sum(map(int, _stat(postmaster)[11:15])) + theirs * TICKS)

    def _ticks(self) -> int:
        """What all workers and this process have used."""
        pids = {pid for desk in self.workers for pid in (desk.pid, *descendants(desk.pid))}
        ours = os.times()
        return sum(map(_used, pids)) + round(TICKS * (ours.user + ours.system))


class Supply:
    """What there is to make with, as far as a plan asks."""

    def offer(self, strategy: str) -> Offer:
        return Offer(strategy, 1 if strategy.startswith("generator:") else 1 + MOST_SOLUTIONS)

    def topics(self, generator: str, domain: str) -> list[str]:
        return []

    def strategies(self) -> list[str]:
        return []


def now() -> datetime:
    return datetime.now(UTC)


def _used(pid: int) -> int:
    return sum(map(int, _stat(pid)[11:13]))


def _stat(pid: int) -> list[str]:
    """From its state on: user and system time, then those of children that have ended."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()


def _install_generator(folder: Path) -> None:
    """A customer's generator: a DSPy program, found by its entry point."""
    about = folder / "bench_generator-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-generator\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[tdsys.generators]\nbench = bench_generator:Generator\n"
    )
    (folder / "bench_generator.py").write_text(GENERATOR)
