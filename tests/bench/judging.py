"""Judging in a process of its own, as a bare loop or as the whole stage.

`python -m tests.bench.judging bare|stage COUNT API_BASE DATABASE_URL [WARM_UP]`: prints JSON. The
first examples warm the process up and are not counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dspy

from tdsys.core.arrival import from_capture
from tdsys.core.example import Candidate, Capture, Source
from tdsys.core.rubric import Question
from tdsys.core.sections import Member
from tdsys.llm import judge
from tdsys.llm.judge import ModelJudge
from tdsys.llm.session import Model
from tdsys.reference import ReferenceGenerator
from tdsys.stages.scoring import Limits, score_due
from tdsys.store import Store, examples
from tdsys.verify import EvidenceVerifier
from tests.factories import make_capture

DOMAIN = "word problems"
WIDTH = 32
WARM_UP = 64
LIMITS = Limits(block=50, lease=timedelta(seconds=120), max_attempts=5)


def captures(count: int, *, seed: int) -> list[Capture]:
    problems = ReferenceGenerator(seed=seed).stream(("arithmetic",), count)
    return [
        make_capture(domain=DOMAIN, inputs={**p.inputs, "number": n}, outputs=p.outputs)
        for n, p in enumerate(problems)
    ]


def bare(made: Sequence[Capture], api_base: str, _: str) -> Callable[[], None]:
    """What anybody would write: one program, as many threads, DSPy as it comes."""
    lm = dspy.LM("openai/gpt-4.1-mini", engine="lm15", api_base=api_base, timeout=90)
    dspy.configure(lm=lm, adapter=dspy.ChatAdapter())
    program, verifier = judge._program("v2"), EvidenceVerifier()
    shown = [
        judge._shown(Question(one, verifier.verify(DOMAIN, one.inputs, one.outputs), Member()))
        for one in map(_candidate, made)
    ]

    def run() -> None:
        with ThreadPoolExecutor(WIDTH) as pool:
            for done in [pool.submit(program, **one) for one in shown]:
                done.result()

    return run


def stage(made: Sequence[Capture], api_base: str, database_url: str) -> Callable[[], None]:
    """The candidates of a database, verified, judged and decided."""
    store, verifier, asked = worker(api_base, database_url)
    now = datetime.now(UTC)
    with store.begin() as tx:
        arrivals = list(map(from_capture, made))
        examples.add(tx, arrivals=arrivals, source=Source.CAPTURED, due_at=now, now=now)

    def run() -> None:
        decided = 0
        while decided < len(made):
            found = score_due(store, judge=asked, verifier=verifier,
                              clock=lambda: datetime.now(UTC), limits=LIMITS)  # fmt: skip
            assert found.decided, found
            decided += found.decided

    return run


@cache
def worker(api_base: str, database_url: str) -> tuple[Store, EvidenceVerifier, ModelJudge]:
    """What a scoring process has; its threads and connections are warm the second time."""
    asked = ModelJudge(Model("openai/gpt-4.1-mini", api_base=api_base), width=WIDTH)
    return Store(database_url), EvidenceVerifier(), asked


def _candidate(one: Capture) -> Candidate:
    return Candidate.model_validate(
        {"id": 1, "topic": "", "difficulty": "", "source": Source.CAPTURED, **one.model_dump()}
    )


WAYS = {"bare": bare, "stage": stage}


def memory() -> float:
    """Megabytes this process holds; files it has mapped are the system's to forget."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1e3


def main(
    way: str, count: str, api_base: str, database_url: str, warm_up: str = str(WARM_UP)
) -> None:
    WAYS[way](captures(int(warm_up), seed=1), api_base, database_url)()
    run = WAYS[way](captures(int(count), seed=2), api_base, database_url)
    held, used, began = memory(), os.times(), time.perf_counter()
    run()
    seconds, spent = time.perf_counter() - began, os.times()
    found: dict[str, Any] = {
        "rate": int(count) / seconds,
        "cpu": (spent.user + spent.system - used.user - used.system) * 1e3 / int(count),
        "memory": (held, memory()),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    # no exit handler of anybody's: it is not what is measured
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
