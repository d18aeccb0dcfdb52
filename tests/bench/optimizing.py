"""Optimizations in a process of their own: with our hooks and without, and many of them.

`python -m tests.bench.optimizing overhead ROUNDS DATABASE_URL`: the CPU seconds of each round.
`python -m tests.bench.optimizing memory RUNS DATABASE_URL`: the process's MB after each run.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import dspy
import pydantic
from dspy.adapters import utils

from tdsys.core.budget import plan
from tdsys.core.policy import Policy
from tdsys.core.program import Recipe
from tdsys.llm.generation import as_example, problem_program, produced_by
from tdsys.llm.methods import compiled
from tdsys.llm.optimizer import DspyOptimizer
from tdsys.llm.session import Model, quiet, using
from tdsys.reference import ReferenceGenerator
from tdsys.stages import optimizing, policies
from tdsys.stages.following import Follower
from tdsys.store import Store, runs
from tdsys.store.datasets import DatasetVersion
from tdsys.store.runs import Run
from tdsys.verify import EvidenceVerifier
from tests.factories import make_capture
from tests.small_world import SIGNATURE, grade, items
from tests.stored import admit, freeze

TRAIN, VAL = items(20, seed=1), items(48, seed=2)
THREADS = 2  # as many calls as a run of this size has under way
EXAMPLES = 54
PAGE = os.sysconf("SC_PAGE_SIZE")


def now() -> datetime:
    return datetime.now(UTC)


def plain(model: Model, recipe: Recipe) -> float:
    """MIPROv2 with the same data, metric, model and threads on DSPy as it comes; CPU."""
    ours, utils.TypeAdapter = utils.TypeAdapter, pydantic.TypeAdapter
    spent = unhooked(model, recipe)
    utils.TypeAdapter = ours
    return spent


def unhooked(model: Model, recipe: Recipe) -> float:
    """The same with our way to write and read a prompt, and nothing else of ours; CPU."""
    known = {one.uid: one for one in [*TRAIN, *VAL]}

    def metric(example: Any, prediction: Any, trace: Any = None) -> float:  # noqa: ARG001
        return grade(known[example.get("dspy_uid")], produced_by(prediction, SIGNATURE)).value

    began = time.process_time()
    with using(model.lm()), quiet():
        compiled(
            problem_program(SIGNATURE), metric,
            [as_example(one, SIGNATURE) for one in TRAIN],
            [as_example(one, SIGNATURE) for one in VAL],
            recipe=recipe, threads=THREADS,
        )  # fmt: skip
    return time.process_time() - began


def hooked(model: Model, recipe: Recipe, store: Store, run: Run) -> float:
    """As `unhooked` with evidence, budget and cancel, written to a database; CPU."""
    began = time.process_time()
    follower = Follower(store, run, now, 0.5)
    follower.begin(run.plan)
    DspyOptimizer(model, threads=THREADS).optimize(
        SIGNATURE, TRAIN, VAL, grader=grade, recipe=recipe, on_trial=follower.trial,
        on_progress=follower.spent, should_stop=follower.unwanted(lambda: False),
    )  # fmt: skip
    return time.process_time() - began


def overhead(rounds: int, store: Store) -> list[tuple[float, float, float]]:
    """CPU of hooked, unhooked and plain, in turns; no caches, so that each does all of the work."""
    version = frozen(store)
    run = claimed(store, version, seed=9)
    with using(Model().lm()):
        dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    found = []
    for number in range(rounds + 1):
        model, recipe = Model(seed=number + 1), Recipe(max_calls=5000, answers=10**6)
        ways = [partial(hooked, model, recipe, store, run), partial(unhooked, model, recipe),
                partial(plain, model, recipe)]  # fmt: skip
        spent = [0.0] * len(ways)
        for place in range(len(ways)):
            turn = (place + number) % len(ways)
            gc.collect()
            spent[turn] = ways[turn]()
        found.append((spent[0], spent[1], spent[2]))
    return found[1:]  # the first warms up


def memory(count: int, store: Store) -> list[float]:
    """MB of this process after each of so many whole runs of a worker."""
    version, verifier, held = frozen(store), EvidenceVerifier(), []
    optimizer = DspyOptimizer(Model(), threads=THREADS)
    for number in range(count):
        queued(store, version, seed=number + 1)
        (done,) = optimizing.run_due(
            store, optimizer=optimizer, verifier=verifier, clock=now, lease=timedelta(seconds=120)
        )
        assert done.state == "finished", done
        held.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6)
    verifier.close()
    return held


def frozen(store: Store) -> DatasetVersion:
    policies.put(store, domain="d", policy=Policy(), author="b", now=now())
    made = [
        make_capture(domain="d", inputs=p.inputs, outputs=p.outputs)
        for p in ReferenceGenerator(seed=5).stream(("arithmetic",), EXAMPLES)
    ]
    with store.begin() as tx:
        admit(tx, made)
        return freeze(tx, domain="d", now=now())


def queued(store: Store, version: DatasetVersion, *, seed: int) -> UUID:
    with store.begin() as tx:
        run_id = runs.enqueue(
            tx, domain="d", version_id=version.id, policy_version=1, seed=seed, auto="light",
            model="offline", plan=plan(len(TRAIN), len(VAL), "light"), now=now(),
        )  # fmt: skip
    assert run_id is not None
    return run_id


def claimed(store: Store, version: DatasetVersion, *, seed: int) -> Run:
    queued(store, version, seed=seed)
    with store.begin() as tx:
        found = runs.claim(tx, lease=timedelta(hours=1), now=now())
    assert found is not None
    return found


if __name__ == "__main__":
    what, count, url = sys.argv[1:]
    kept = Store(url)
    measured = {"overhead": overhead, "memory": memory}[what](int(count), kept)
    print(json.dumps(measured))
    kept.close()
