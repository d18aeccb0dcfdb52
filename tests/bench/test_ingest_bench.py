"""Captures on their whole way into Postgres, beside COPY of the very rows they become."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from tdsys.store import Store, policies
from tests.factories import NOW

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
ROWS = 20_000
# A generator in a process of its own: documents are made before the clock runs.
GENERATOR = """
import json, sys, time
from tdsys.client import CaptureClient
url, rows = sys.argv[1], int(sys.argv[2])
story = "Then each step is checked again with care. " * 42
made = [
    {
        "domain": "arithmetic",
        "inputs": {"topic": "sums", "difficulty": "easy", "context": f"shop {n}"},
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


def copied_out(database_url: str, what: str) -> bytes:
    with psycopg.connect(database_url) as db, db.cursor() as cursor:
        with cursor.copy(f"COPY ({what}) TO STDOUT") as copy:
            return b"".join(map(bytes, copy))


def rows_per_second(database_url: str, *tables: tuple[str, bytes]) -> float:
    """COPY all of it in one transaction on one connection."""
    with psycopg.connect(database_url) as db, db.cursor() as cursor:
        began = time.perf_counter()
        for table, rows in tables:
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(rows)
        db.commit()
        return ROWS / (time.perf_counter() - began)


def test_the_whole_path_beside_copy_of_the_same_rows(
    new_database: Callable[[], str], redis_url: str, tmp_path: Path
) -> None:
    url, other = new_database(), new_database()
    for each in (url, other):
        store = Store(each)
        store.upgrade()
        with store.begin() as tx:
            policies.ensure_domain(tx, domain="arithmetic", now=NOW)
        store.close()
    Redis.from_url(redis_url).flushdb()
    with one_worker(redis_url, url, tmp_path):
        capture_all(redis_url, 400)  # the worker is up and its statements are prepared
        whole = capture_all(redis_url, ROWS)
    last = "ORDER BY id DESC LIMIT " + str(ROWS)
    narrow = copied_out(url, f"SELECT * FROM examples {last}")
    bodies = copied_out(url, f"SELECT * FROM example_bodies ORDER BY example_id DESC LIMIT {ROWS}")
    same = rows_per_second(other, ("examples", narrow), ("example_bodies", bodies))
    with psycopg.connect(other, autocommit=True) as db:
        db.execute("CREATE TABLE bare (id bigint, payload json)")
    bare = rows_per_second(other, ("bare", bodies))
    ours = ROWS / whole["seconds"]
    print(f"\nclient -> Redis -> worker -> rows   {ours:,.0f} rows/s")
    print(
        f"COPY into the same two tables       {same:,.0f} rows/s   ours is {ours / same:.2f} of it"
    )
    print(
        f"COPY of the bodies, no index, no key {bare:,.0f} rows/s   ours is {ours / bare:.2f} of it"
    )
    assert ours > 0.5 * same
