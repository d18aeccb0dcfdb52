"""A batch on a whole stack: real workers, a model over HTTP, and kill -9 in the middle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tdsys.core.policy import Policy
from tdsys.llm.judge import fenced
from tdsys.store import policies
from tdsys.wire import Task
from tests.factories import NOW
from tests.processes import wait_for
from tests.running import RunningStack
from tests.stub_provider import StubProvider

pytestmark = pytest.mark.xdist_group("stack")
WANTED = 300
SOLVED = (0, 1)
FENCE = re.compile(r"<<<DATA \w+")
TAKE = re.compile(r'"take": (\d{4,})')
COMMAND = (sys.executable, "-m", "tdsys")


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider() as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stub: StubProvider) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("synthesis")
    with RunningStack(
        folder / "home",
        TDSYS_LEASE_SECONDS="5",
        TDSYS_LM_THREADS="4",
        TDSYS_LM=stub.model,
        TDSYS_LM_API_BASE=stub.api_base,
        OPENAI_API_KEY="any text",
        DSPY_CACHEDIR=str(folder / "answers"),
    ) as running:
        yield running


def started(stack: RunningStack, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *words, "--json"],
        env=stack.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def recorded(stack: RunningStack) -> set[int]:
    """The numbers of all attempts that are kept."""
    with stack.runtime.store.begin() as tx:
        rows = tx.exec_driver_sql("SELECT cell_id * 1000 + number FROM batch_items").all()
    return {int(row[0]) for row in rows}


def recorded_calls(stack: RunningStack) -> set[str]:
    """How each solution and judgement that is kept was asked for: its data's fence names it."""
    with stack.runtime.store.begin() as tx:
        solved = tx.exec_driver_sql(
            "SELECT payload -> 'outputs' ->> 'problem' FROM batch_items "
            "JOIN example_bodies USING (example_id)"
        ).scalars().all()  # fmt: skip
        judged = tx.exec_driver_sql(
            "SELECT payload -> 'outputs' FROM judgements "
            "JOIN examples USING (fingerprint) JOIN example_bodies ON example_id = examples.id "
            "WHERE outcome = 'scored'"
        ).scalars().all()  # fmt: skip
    asked = [{"problem": problem, "take": take} for problem in solved for take in SOLVED]
    assert asked
    assert judged
    return {fenced(one).partition("\n")[0] for one in (*asked, *judged)}


def made_requests(stub: StubProvider, since: int) -> list[int]:
    """Which attempts a model was asked for since then."""
    said = [str(request["messages"]) for request in stub.requests[since:]]
    return [int(number) for text in said for number in TAKE.findall(text)]


def judgements(stack: RunningStack) -> int:
    with stack.runtime.store.begin() as tx:
        return int(tx.exec_driver_sql("SELECT count(*) FROM judgements").scalar_one())


def finished(stack: RunningStack, command: subprocess.Popen[str]) -> dict[str, Any]:
    def is_over() -> bool:
        stack.runtime.bells.ring(Task.GENERATE)
        return command.poll() is not None

    wait_for(is_over, "the batch ends", seconds=240)
    assert command.stdout
    found: dict[str, Any] = json.loads(command.stdout.read().splitlines()[-1])
    return found


@pytest.mark.criterion("10.1")
@pytest.mark.criterion("10.3")
def test_kill_9_of_every_worker_loses_doubles_and_pays_nothing_twice(
    stack: RunningStack, stub: StubProvider
) -> None:
    # Slow enough that judging begins long before all is made, on a busy machine, too.
    stub.behaviour.latency = 0.3
    with stack.runtime.store.begin() as tx:
        policies.ensure_domain(tx, domain="algebra", now=NOW)
        # The stub understands no story, so it solves none again.
        policies.put(tx, domain="algebra", policy=Policy(unsolved="judge"), author="a", now=NOW)
    words = ("--domain", "algebra", "--topics", "linear equations,number sequences")
    command = started(stack, "synthesize", *words, "--count", str(WANTED),
                      "--strategies", "persona,rationale-first")  # fmt: skip
    workers = stack.workers()
    wait_for(lambda: judgements(stack) >= 3, "some attempts are kept and judged", seconds=90)
    assert stack.kill_workers(workers)
    wait_for(lambda: not stub.running, "the provider has answered what was on its way")
    kept, paid, asked = recorded(stack), recorded_calls(stack), len(stub.requests)
    assert 0 < len(kept) < WANTED
    stub.behaviour.latency = 0.01
    result = finished(stack, command)
    again = made_requests(stub, asked)
    assert again, "the rest was made after the kill"
    assert not kept & set(again)
    assert not paid & set(FENCE.findall(str(stub.requests[asked:])))
    assert result["state"] == "finished", json.dumps(result)
    assert result["admitted"] == WANTED
    assert result["calls"] <= result["max_calls"]
    with stack.runtime.store.begin() as tx:
        counted = tx.exec_driver_sql(
            "SELECT count(*), count(DISTINCT fingerprint), count(*) FILTER "
            "(WHERE state = 'admitted') FROM examples WHERE source = 'synthetic'"
        ).one()
        reserved = tx.exec_driver_sql("SELECT reserved FROM batches").scalar()
    assert tuple(counted) == (result["made"], result["made"], WANTED)
    assert reserved == 0
