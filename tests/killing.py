"""An optimization that is killed -9 at a random call, started again, and held against one that
was left alone; a provider counts what it answered.

`python -m tests.killing API_BASE MODEL`: the run itself, in a process that can be killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tdsys.core.budget import in_flight, plan
from tdsys.core.program import Recipe, Trial
from tdsys.llm.optimizer import DspyOptimizer
from tdsys.llm.session import Model
from tests.small_world import SIGNATURE, grade, items
from tests.stub_provider import StubProvider

TRAIN, VAL = items(12, seed=1), items(18, seed=2)
PLANNED_IN_FLIGHT = in_flight(plan(len(TRAIN), len(VAL), "light"), 16)
LATENCY = 0.005
Scores = list[tuple[str, float, tuple[tuple[str, float | None], ...]]]


class Replayed(NamedTuple):
    """What both runs scored, and what the provider answered."""

    whole: Scores
    again: Scores
    undisturbed: int
    before_the_kill: int
    paid: int


def killed_and_undisturbed(*, seed: int) -> Replayed:
    """Kill the run at a call drawn by `seed`, start it again in this process, and compare."""
    with StubProvider() as alone, StubProvider() as killed:
        whole = optimized(Model(alone.model, api_base=alone.api_base, retries=0))
        at = random.Random(seed).randint(5, alone.answered - 5)
        killed.behaviour.latency = LATENCY
        with tempfile.TemporaryDirectory() as answers:
            _killed_after(killed, at, answers)
            before = killed.answered
            kept = os.environ["DSPY_CACHEDIR"]
            os.environ["DSPY_CACHEDIR"] = answers
            try:
                again = optimized(Model(killed.model, api_base=killed.api_base, retries=0))
            finally:
                os.environ["DSPY_CACHEDIR"] = kept
        return Replayed(whole, again, alone.answered, before, killed.answered)


def optimized(model: Model) -> Scores:
    """The trials of one run, as far as they must be the same each time."""
    trials: list[Trial] = []
    DspyOptimizer(model, threads=16).optimize(
        SIGNATURE, TRAIN, VAL, grader=grade, recipe=Recipe(in_flight=PLANNED_IN_FLIGHT),
        on_trial=trials.append, should_stop=lambda: False,
    )  # fmt: skip
    return [(t.kind, t.score, tuple((i.uid, i.value) for i in t.items)) for t in trials]


def _killed_after(stub: StubProvider, requests: int, answers: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.killing", stub.api_base, stub.model],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "DSPY_CACHEDIR": answers, "OPENAI_API_KEY": "any text"},
    )
    deadline = time.monotonic() + 60
    while len(stub.requests) < requests and child.poll() is None and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    child.kill()
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    while stub.running and time.monotonic() < deadline:
        threading.Event().wait(0.01)


if __name__ == "__main__":
    optimized(Model(sys.argv[2], api_base=sys.argv[1], retries=0))
