"""A million examples of 2 KB: how long a plan takes, and pruning, while captures come in."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import NamedTuple

import pytest

from tdsys.core.policy import Policy
from tdsys.core.sections import Lifecycle
from tdsys.stages import capture, policies, pruning, trending
from tdsys.store import Store
from tests.factories import NOW, make_record
from tests.many import fill

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
ROWS = int(os.environ.get("TDSYS_BENCH_ROWS", "1_000_000"))
RETIRED = ROWS // 10
DOMAIN = "domain 0"
PLAN_SECONDS = 10
PRUNE_SECONDS = 20
INGEST_TIMES = 2
REPORT_MS = 100
ALONE_SECONDS = 25  # about as long as pruning: a longer look sees more of a machine's hiccups
START_SECONDS = 3  # of the process that ingests
WARM_UP = 20
RECORDS = 50
ROUNDS = 3


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    found = new_database()
    store = Store(found)
    store.upgrade()
    began = time.perf_counter()
    fill(store, ROWS, domains=1, scored_each=50, padding=1664)
    print(f"\n{ROWS:,} examples filled in {time.perf_counter() - began:.0f} s")
    store.close()
    return found


@pytest.fixture
def full(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


def ingest_until(url: str, over: Event, told: Connection) -> None:
    """Batches of captures, one after the other; how many ms each took."""
    store, times = Store(url), []
    while not over.is_set():
        records = json.dumps([make_record(domain=DOMAIN) for _ in range(RECORDS)])
        began = time.perf_counter()
        capture.ingest(store, batch_id=uuid.uuid4().hex, records=records, now=NOW)
        times.append((time.perf_counter() - began) * 1000)
        time.sleep(0.01)
    told.send(times[WARM_UP:])


@contextmanager
def ingesting(url: str) -> Iterator[list[float]]:
    """A process of its own takes captures in meanwhile; its times are there in the end."""
    own = multiprocessing.get_context("spawn")
    over, (ours, theirs), times = own.Event(), own.Pipe(), list[float]()
    process = own.Process(target=ingest_until, args=(url, over, theirs))
    process.start()
    yield times
    over.set()
    times += ours.recv()
    process.join()


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[-1]


def told(what: str, measured: float, bar: float, unit: str) -> None:
    verdict = "met" if measured <= bar else "NOT MET"
    print(f"{what:<56} {measured:>9.2f} {unit}   bar {bar:g}: {verdict}")


class Round(NamedTuple):
    """One time the fullest cells are levelled: seconds; ms of ingest (p99) without and with it."""

    planned: float
    pruned: float
    retired: float
    before: float
    during: float

    @property
    def times(self) -> float:
        return self.during / self.before


def round_of(full: Store, url: str) -> Round:
    """RETIRED examples more than the policy allows are planned, then pruned beside ingest."""
    with full.begin() as tx:
        held = tx.exec_driver_sql("SELECT count(*) FROM examples WHERE state = 'admitted'").scalar()
    policy = Policy(lifecycle=Lifecycle(max_admitted=int(held or 0) - RETIRED))
    policies.put(full, domain=DOMAIN, author="bench", policy=policy, now=NOW)
    began = time.perf_counter()
    plan = pruning.foreseen(full, domain=DOMAIN, clock=lambda: NOW)
    planned = time.perf_counter() - began
    assert len(plan.leaving) == min(RETIRED, pruning.MOST)
    with ingesting(url) as before:
        time.sleep(ALONE_SECONDS)
    with ingesting(url) as during:
        time.sleep(START_SECONDS)
        began, first = time.perf_counter(), list[float]()
        done = pruning.prune(full, domain=DOMAIN, actor="bench", clock=lambda: NOW,
                             tell=lambda *_: first.append(time.perf_counter()))  # fmt: skip
        ended = time.perf_counter()
    assert sum(cut.n for cut in done.cuts) == len(plan.leaving)
    return Round(planned, ended - began, ended - first[0], p99(before), p99(during))


def test_a_million_examples_are_planned_and_pruned_while_captures_come_in(
    full: Store, url: str
) -> None:
    rounds = [round_of(full, url) for _ in range(ROUNDS)]
    reports = []
    for _ in range(5):
        began = time.perf_counter()
        trending.trends(full, domains=None, now=NOW)
        reports.append((time.perf_counter() - began) * 1000)

    def middle(of: Callable[[Round], float]) -> float:
        return statistics.median(map(of, rounds))

    print(f"medians of {ROUNDS} rounds; p99 of ingest beside pruning and before, ms: "
          + ", ".join(f"{one.during:.1f} and {one.before:.1f}" for one in rounds))  # fmt: skip
    told(f"plan of {RETIRED:,} among {ROWS:,}", middle(lambda one: one.planned), PLAN_SECONDS, "s")
    whole = middle(lambda one: one.pruned)
    told(f"{RETIRED:,} retired after planning ({whole:.1f} s with it)",
         middle(lambda one: one.retired), PRUNE_SECONDS, "s")  # fmt: skip
    told("p99 of ingest beside it, before it 1", middle(lambda one: one.times), INGEST_TIMES, "x")
    told("freshness report, median of 5", statistics.median(reports), REPORT_MS, "ms")
