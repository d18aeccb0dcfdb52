"""An optimization beside plain MIPROv2, killed and started again, and twenty in one process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdsys.store import Store
from tests.killing import killed_and_undisturbed

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
ROUNDS = 13
RUNS = 20
SEEDS = range(5)


@pytest.fixture
def measure(new_database: Callable[[], str], tmp_path: Path) -> Callable[..., Any]:
    """What `tests.bench.optimizing` prints, on a new database and with an empty cache."""

    def run(what: str, count: int) -> Any:
        url = new_database()
        kept = Store(url)
        kept.upgrade()
        kept.close()
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.optimizing", what, str(count), url],
            env={**os.environ, "DSPY_CACHEDIR": str(tmp_path / "answers")},
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_our_hooks_take_little_of_what_plain_mipro_takes(measure: Callable[..., Any]) -> None:
    rounds = measure("overhead", ROUNDS)
    ours, bare, theirs = (statistics.median(way) for way in zip(*rounds, strict=True))
    share = (ours - bare) / theirs
    print(f"\nMIPROv2 light, 48 val: {ours:.2f} s of CPU with our hooks, {bare:.2f} s without, "
          f"{theirs:.2f} s on DSPy as it comes")  # fmt: skip
    each = ", ".join(f"{(a - b) / c:+.1%}" for a, b, c in rounds)
    print(f"hooks: {share:+.1%} of plain MIPROv2 (bar 5 %), {ours / bare - 1:+.1%} of the same "
          f"without them, with all of ours {ours / theirs - 1:+.0%}; rounds: {each}")  # fmt: skip
    assert share <= 0.05


def test_a_worker_is_as_small_after_twenty_runs(measure: Callable[..., Any]) -> None:
    held = measure("memory", RUNS)
    early, late = held[RUNS // 4 - 1], held[-1]
    print(f"\noptimization worker: {early:.0f} MB after {RUNS // 4} runs, {late:.0f} after {RUNS}")
    assert late <= 1.05 * early


def test_runs_killed_at_random_calls_pay_one_percent_more_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    found = [killed_and_undisturbed(seed=seed) for seed in SEEDS]
    print()
    for one in found:
        more = one.paid / one.undisturbed - 1
        print(f"killed after {one.before_the_kill} of {one.undisturbed} calls: {more:+.2%}")
    assert all(one.again == one.whole for one in found)
    assert all(one.paid <= 1.01 * one.undisturbed for one in found)
