"""A person stops a run while a real worker waits for a slow model."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from redis import Redis

from tdsys.core.budget import plan
from tdsys.core.following import Progress
from tdsys.core.policy import Policy
from tdsys.reference import ReferenceGenerator
from tdsys.stages import archive, policies
from tdsys.store import Store, runs
from tdsys.store.runs import Run
from tdsys.wire import Task
from tests.desk import a_worker
from tests.factories import make_capture
from tests.processes import wait_for
from tests.stored import admit, freeze
from tests.stub_provider import StubProvider

EXAMPLES = 54
SLOW = 30.0


def queued(store: Store, model: str) -> UUID:
    """A run of real problems, in a domain of its own."""
    now = datetime.now(UTC)
    policies.put(store, domain="d", policy=Policy(), author="t", now=now)
    made = [
        make_capture(domain="d", inputs=p.inputs, outputs=p.outputs)
        for p in ReferenceGenerator(seed=5).stream(("arithmetic",), EXAMPLES)
    ]
    with store.begin() as tx:
        admit(tx, made)
        version = freeze(tx, domain="d", now=now)
        run_id = runs.enqueue(
            tx, domain="d", version_id=version.id, policy_version=1, seed=9, auto="light",
            model=model, plan=plan(18, 18, "light"), now=now,
        )  # fmt: skip
    assert run_id is not None
    return run_id


def seen(store: Store, run_id: UUID) -> Run:
    with store.begin() as tx:
        found = runs.run(tx, run_id=run_id)
    assert found is not None
    return found


def has_paid(store: Store, run_id: UUID) -> bool:
    """Whether it is written down that a trial is done and what was paid: not in one moment."""
    told = Progress.read(seen(store, run_id).progress)
    return told.trials > 0 and told.paid > 0


def test_a_run_that_waits_for_a_slow_model_stops_within_three_seconds_of_the_wish(
    store: Store,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Redis.from_url(redis_url).flushdb()
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    with StubProvider() as stub:
        run_id = queued(store, stub.model)
        theirs = {
            "TDSYS_LM": stub.model,
            "TDSYS_LM_API_BASE": stub.api_base,
            "DSPY_CACHEDIR": str(tmp_path / "theirs"),
        }
        with a_worker(redis_url, database_url, tmp_path, queues="optimization", **theirs) as desk:
            desk.send(Task.OPTIMIZE)
            wait_for(lambda: has_paid(store, run_id), "a trial", seconds=40)
            stub.behaviour.latency = SLOW
            asked = wait_for(
                lambda: stub.running and len(stub.requests), "a slow call is under way"
            )
            wished = time.monotonic()
            archive.cancel(store, run_id=run_id, domains=None)
            wait_for(lambda: not seen(store, run_id).is_open, "the run has ended")
            took = time.monotonic() - wished
            ended = seen(store, run_id)
            assert (ended.state, took < 3) == ("cancelled", True), took
            assert desk.is_running()
            assert len(stub.requests) <= asked + 1, "a call followed the wish"
        told = Progress.read(ended.progress)
        assert told.calls >= told.paid > 0
        with store.begin() as tx:
            assert len(runs.trials(tx, run_id=run_id)) >= told.trials >= 1
