"""What an optimization costs a generator that goes on capturing: with one and without, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console
from rich.table import Table

from tdsys.client import CaptureClient
from tdsys.core.policy import Policy
from tdsys.reference import ReferenceGenerator
from tdsys.runtime import Runtime
from tdsys.stages import monitoring, planning, policies
from tdsys.wire import Task
from tests.processes import wait_for
from tests.running import RunningStack

pytestmark = pytest.mark.bench

DOMAIN = "arithmetic"
EXAMPLES, TURNS, CAPTURES = 400, 3, 500


class Cost(NamedTuple):
    """Of one turn: the caller's time for a capture, and the time until a batch is committed."""

    median_us: float
    p99_us: float
    committed_ms: float


def put(runtime: Runtime, **rules: object) -> None:
    policies.put(runtime.store, domain=DOMAIN, author="bench", now=runtime.now(),
                 policy=Policy.model_validate({"settle_seconds": 0, **rules}))  # fmt: skip


def fill(runtime: Runtime) -> None:
    put(runtime, optimization="hold")
    with CaptureClient(runtime.redis_url) as client:
        for one in ReferenceGenerator(seed=5).stream([DOMAIN], EXAMPLES):
            client.capture(domain=DOMAIN, inputs=dict(one.inputs), outputs=dict(one.outputs))
        assert client.flush(60).pending == 0
    wait_for(lambda: not monitoring.funnel(runtime.store).states.get("candidate"), "all decided",
             seconds=180)  # fmt: skip


def captured(client: CaptureClient) -> Cost:
    """A capture a millisecond, as of a generator that is busy with others."""
    costs, begun = [], time.monotonic()
    for number in range(CAPTURES):
        before = time.perf_counter()
        client.capture(domain="bystander", inputs={"n": number, "at": begun}, outputs={"x": "y"})
        costs.append((time.perf_counter() - before) * 1e6)
        time.sleep(0.001)
    asked = time.monotonic()
    assert client.flush(60).pending == 0
    costs.sort()
    return Cost(
        statistics.median(costs), costs[-len(costs) // 100], 1000 * (time.monotonic() - asked)
    )


def state(runtime: Runtime) -> tuple[str, bool]:
    (found,) = planning.status(runtime.store, domain=DOMAIN, clock=runtime.now)
    run = found.run
    return (run.state, bool(run.progress.get("trials"))) if run else ("none", False)


def middle(costs: list[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(map(of, costs))


def test_a_generator_captures_as_before_while_an_optimization_runs(tmp_path: Path) -> None:
    quiet, busy = [], []
    with RunningStack(tmp_path / "home") as stack:
        runtime = stack.runtime
        fill(runtime)
        policies.put(runtime.store, domain="bystander", author="bench", now=runtime.now(),
                     policy=Policy(collection="off"))  # fmt: skip
        with CaptureClient(runtime.redis_url) as client:
            captured(client)
            for turn in range(TURNS):
                quiet.append(captured(client))
                put(runtime, seed=20 + turn)
                runtime.bells.ring(Task.PLAN)
                wait_for(lambda: state(runtime) == ("running", True), "a run works", seconds=60)
                cost = captured(client)
                if state(runtime)[0] == "running":
                    busy.append(cost)
                wait_for(lambda: state(runtime)[0] in {"finished", "failed"}, "it ended",
                         seconds=180)  # fmt: skip
                put(runtime, seed=20 + turn, optimization="hold")
    assert busy, "no run lasted as long as the captures"
    table = Table("", "capture, median us", "capture, p99 us", "committed after, ms")
    for name, costs in (("without", quiet), ("with an optimization", busy)):
        table.add_row(name, *(f"{middle(costs, of):,.0f}" for of in (
            lambda c: c.median_us, lambda c: c.p99_us, lambda c: c.committed_ms)))  # fmt: skip
    Console().print(table)
    assert middle(busy, lambda c: c.median_us) <= 3 * middle(quiet, lambda c: c.median_us)
    assert middle(busy, lambda c: c.committed_ms) <= 3 * middle(quiet, lambda c: c.committed_ms)
