"""A scoring worker beside a bare loop of the very DSPy calls it makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tdsys.store import Store, policies
from tests.bench.judging import DOMAIN, WIDTH
from tests.factories import NOW

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
LATENCY = 0.2
COUNT = 480
ROUNDS = 3
LONG = 1200
Judging = Callable[..., dict[str, Any]]


@pytest.fixture
def slow_provider() -> Iterator[str]:
    """A provider in a process of its own that takes 200 ms for each answer; its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stub_provider", "0", str(LATENCY)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def judge_all(slow_provider: str, new_database: Callable[[], str], tmp_path: Path) -> Judging:
    """Judges so many new examples in one of two ways, with an empty cache each time."""
    turns = iter(range(100))

    def run(way: str, count: int, *also: int) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.judging", way, str(count), slow_provider,
             migrated(new_database()), *map(str, also)],
            env={**os.environ, "OPENAI_API_KEY": "x",
                 "DSPY_CACHEDIR": str(tmp_path / f"cache-{next(turns)}")},
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def migrated(url: str) -> str:
    store = Store(url)
    store.upgrade()
    with store.begin() as tx:
        policies.ensure_domain(tx, domain=DOMAIN, now=NOW)
    store.close()
    return url


def test_the_whole_stage_beside_a_bare_loop_of_the_same_calls(
    judge_all: Judging,
) -> None:
    rounds = []
    for _ in range(ROUNDS):
        loop, ours = judge_all("bare", COUNT), judge_all("stage", COUNT)
        rounds.append((ours["rate"] / loop["rate"], ours, loop))
    share, ours, loop = sorted(rounds, key=lambda one: one[0])[ROUNDS // 2]
    title = f"{COUNT} examples, {WIDTH} in flight, {LATENCY * 1e3:.0f} ms an answer"
    table = Table("judging", "per second", "of the loop", "CPU each",
                  title=f"{title}; the median of {ROUNDS} rounds")  # fmt: skip
    table.add_row("the whole stage, one process", f"{ours['rate']:.0f}", f"{share:.2f}",
                  f"{ours['cpu']:.1f} ms")  # fmt: skip
    table.add_row("baseline: the same calls in a bare loop", f"{loop['rate']:.0f}", "1",
                  f"{loop['cpu']:.1f} ms")  # fmt: skip
    table.add_row("no program at all: in flight / latency", f"{WIDTH / LATENCY:.0f}")
    Console().print(table)
    print("rounds:", ", ".join(f"{one:.2f}" for one, *_ in rounds), end="; ")
    print(f"bars: 0.85 {said(share >= 0.85)}, 8 ms {said(ours['cpu'] <= 8)}")
    assert share >= 0.85
    assert ours["cpu"] <= 8


def test_a_scoring_process_stays_as_small_as_it_was(
    judge_all: Judging,
) -> None:
    early, late = judge_all("stage", LONG, LONG)["memory"]
    print(f"\nscoring process: {early:.0f} MB after {LONG:,}, {late:.0f} MB after as many more")
    assert late < 1.1 * early


def said(holds: bool) -> str:  # noqa: FBT001  # one word for it
    return "met" if holds else "NOT MET"
