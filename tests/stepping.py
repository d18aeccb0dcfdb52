"""The stages one step at a time, with a scripted model: what is captured, scored, and run."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

from tdsys.core.policy import Policy
from tdsys.stages import (
    capture,
    monitoring,
    optimizing,
    planning,
    policies,
    scoring,
)
from tdsys.stages.scoring import Limits
from tdsys.store import Store, programs
from tests.factories import NOW, PROBLEM
from tests.scripted import Clock, ScriptedJudge, ScriptedOptimizer, ScriptedVerifier

LEASE = timedelta(seconds=60)
LIMITS = Limits(block=10, lease=LEASE, max_attempts=3)


def record(n: int, *, topic: str = "sums", difficulty: str = "easy", **over: Any) -> dict[str, Any]:
    words = ["apples", "boats", "clouds", "drums", "eagles", "ferns", "gates", "hills"]
    noun, verb = words[n % 8], words[n // 8 % 8]
    story = f"Number {n}: some {noun} met {verb} near {topic} {difficulty} {n * 7919 % 104729:x}?"
    return {
        "capture_id": str(uuid.uuid4()),
        "domain": "d",
        "captured_at": NOW.isoformat(),
        "inputs": {"topic": topic, "difficulty": difficulty},
        "outputs": {**PROBLEM, "problem": story},
        **over,
    }


def captured(store: Store, records: list[Any], *, batch: str = "b1") -> Any:
    return capture.ingest(store, batch_id=batch, records=json.dumps(records), now=NOW)


def score(
    store: Store,
    clock: Clock,
    judge: ScriptedJudge | None = None,
    verifier: ScriptedVerifier | None = None,
) -> scoring.Scored:
    return scoring.score_due(
        store,
        judge=judge or ScriptedJudge(),
        clock=clock,
        limits=LIMITS,
        verifier=verifier or ScriptedVerifier(),
    )


def states(store: Store) -> dict[str, int]:
    return monitoring.funnel(store).states


def ready(store: Store, count: int = 90, **policy: Any) -> Clock:
    """A domain with `count` admitted examples over nine cells."""
    policies.put(
        store,
        domain="d",
        author="test",
        now=NOW,
        policy=Policy(min_examples=40, settle_seconds=0, audit_share=0, **policy),
    )
    cells = [(t, d) for t in ("sums", "ratios", "angles") for d in ("easy", "medium", "hard")]
    captured(
        store, [record(n, topic=cells[n % 9][0], difficulty=cells[n % 9][1]) for n in range(count)]
    )
    clock = Clock()
    score(store, clock)
    return clock


def run(store: Store, optimizer: ScriptedOptimizer, clock: Clock) -> list[optimizing.Finished]:
    planning.plan_due(store, model="scripted/model", clock=clock)
    return optimizing.run_due(
        store, optimizer=optimizer, verifier=ScriptedVerifier(), clock=clock, lease=LEASE
    )


def program_of(store: Store) -> Any:
    with store.begin() as tx:
        return programs.incumbent(tx, domain="d")


def put(store: Store, **policy: Any) -> None:
    policies.put(store, domain="d", author="test", now=NOW,
                 policy=Policy(min_examples=40, settle_seconds=0, **policy))  # fmt: skip
