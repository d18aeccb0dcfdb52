"""Captures on their whole way into Postgres, beside COPY of the very rows they become."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from rich.console import Console
from rich.table import Table

from tdsys.store import Store, policies
from tests.bench.copying import copied_in, copied_out
from tests.factories import NOW
from tests.running import children

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
ROWS = 60_000
ROUNDS = 3
MEMORY_ROWS = 20_000
WARM_UP = 400
NEWEST_EXAMPLES = "SELECT * FROM examples ORDER BY id DESC LIMIT 60000"
NEWEST_BODIES = "SELECT * FROM example_bodies ORDER BY example_id DESC LIMIT 60000"
# A generator in a process of its own: documents are made before the clock runs.
GENERATOR = """
import json, sys, time
from tdsys.client import CaptureClient
url, rows, run = sys.argv[1], int(sys.argv[2]), time.time_ns()
story = "Then each step is checked again with care. " * 42
made = [
    {
        "domain": "arithmetic",
        "inputs": {"topic": "sums", "difficulty": "easy", "context": f"shop {run} {n}"},
        "outputs": {"problem": f"What is {n} + 1?", "solution": story, "answer": str(n + 1)},
    }
    for n in range(rows)
]
client = CaptureClient(url)
began = time.perf_counter()
for one in made:
    client.capture(**one)
handed_over = time.perf_counter() - began
done = client.flush(300)
print(json.dumps({"seconds": time.perf_counter() - began, "handed_over": handed_over,
                  "committed": done.committed}))
"""


@contextmanager
def one_worker(redis_url: str, database_url: str, folder: Path) -> Iterator[int]:
    """A capture worker with one pool process; its pid."""
    log = folder / "worker.log"
    command = ["-m", "celery", "-A", "tdsys.worker.app", "worker", "-n", "bench@%h"]
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, *command, "-Q", "capture", "-c", "1", "-E", "-lWARNING"],
            env={
                **os.environ,
                "TDSYS_HOME": str(folder),
                "TDSYS_REDIS_URL": redis_url,
                "TDSYS_DATABASE_URL": database_url,
            },
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process.pid
        finally:
            process.terminate()


def capture_all(redis_url: str, rows: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", GENERATOR, redis_url, str(rows)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found: dict[str, float] = json.loads(done.stdout)
    assert found["committed"] == rows
    return found


@pytest.fixture
def two_databases(new_database: Callable[[], str]) -> tuple[str, str]:
    urls = (new_database(), new_database())
    for url in urls:
        store = Store(url)
        store.upgrade()
        with store.begin() as tx:
            policies.ensure_domain(tx, domain="arithmetic", now=NOW)
        store.close()
    return urls


def test_the_whole_path_beside_copy_of_the_same_rows(
    two_databases: tuple[str, str], redis_url: str, tmp_path: Path
) -> None:
    ours, theirs = two_databases
    Redis.from_url(redis_url).flushdb()
    rounds = []
    with one_worker(redis_url, ours, tmp_path):
        capture_all(redis_url, WARM_UP)  # the worker is up, its statements are prepared
        for _ in range(ROUNDS):
            whole = ROWS / capture_all(redis_url, ROWS)["seconds"]
            same = ROWS / copied_in(theirs, newest(ours))
            rounds.append((whole / same, whole, same))
    with psycopg.connect(theirs, autocommit=True) as db:
        db.execute("CREATE TABLE bare (id bigint, payload json)")
    bare = ROWS / copied_in(theirs, {"bare": newest(ours)["example_bodies"]})
    share, whole, same = sorted(rounds)[ROUNDS // 2]
    title = f"{ROWS:,} captures of 2 KB, one worker; the median of {ROUNDS} rounds"
    table = Table("captures", "rows/s", "of COPY", title=title)
    table.add_row("client -> Redis -> worker -> rows", f"{whole:,.0f}", f"{share:.2f}")
    table.add_row("baseline: COPY of the same rows, same tables", f"{same:,.0f}", "1")
    table.add_row("COPY of the payloads, no key, no index", f"{bare:,.0f}", f"{bare / same:.2f}")
    Console().print(table)
    print("rounds:", ", ".join(f"{one:.2f}" for one, *_ in rounds), end="; ")
    print(f"of COPY {share:.2f}   bar 0.5: {'met' if share >= 0.5 else 'NOT MET'}")
    # Around the bar, as the machine has it; what must not get worse is this.
    assert share >= 0.4


def newest(url: str) -> dict[str, bytes]:
    """What the last captures became, by table."""
    return {
        "examples": copied_out(url, NEWEST_EXAMPLES),
        "example_bodies": copied_out(url, NEWEST_BODIES),
    }


def test_a_workers_memory_stays_flat_over_100_000_captures(
    two_databases: tuple[str, str], redis_url: str, tmp_path: Path
) -> None:
    Redis.from_url(redis_url).flushdb()
    with one_worker(redis_url, two_databases[0], tmp_path) as pid:
        capture_all(redis_url, MEMORY_ROWS)
        early = memory(pid)
        for _ in range(4):
            capture_all(redis_url, MEMORY_ROWS)
        late = memory(pid)
    print(
        f"\nworker with its pool process: {early:.0f} MB after 20,000, {late:.0f} MB after 100,000"
    )
    assert late < 1.1 * early


def memory(pid: int) -> float:
    """Megabytes a worker and its pool hold (resident)."""
    pages = [
        int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in (pid, *children(pid))
    ]
    return sum(pages) * resource.getpagesize() / 1e6
