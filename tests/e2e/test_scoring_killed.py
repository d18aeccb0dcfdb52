"""A scoring worker is killed while it judges: nothing is lost, nothing is paid for twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from tdsys.core.arrival import from_capture
from tdsys.core.example import Source
from tdsys.core.policy import Policy
from tdsys.core.sections import Judges
from tdsys.llm.judge import ModelJudge
from tdsys.llm.session import Model
from tdsys.reference import ReferenceGenerator
from tdsys.stages import auditing, monitoring, policies, scoring
from tdsys.stages.scoring import Limits
from tdsys.store import Store, examples
from tdsys.verify import EvidenceVerifier
from tdsys.wire import Task
from tests.desk import a_worker
from tests.factories import make_capture
from tests.processes import wait_for
from tests.stored import count
from tests.stub_provider import StubProvider

EXAMPLES = 48
WIDTH = 4
LEASE = timedelta(seconds=30)


def fill(store: Store) -> None:
    policy = Policy(audit_share=0, judges=Judges(canaries=0))
    policies.put(store, domain="d", policy=policy, author="t", now=datetime.now(UTC))
    made = [
        from_capture(make_capture(domain="d", inputs=p.inputs, outputs=p.outputs))
        for p in ReferenceGenerator(seed=5).stream(("arithmetic",), EXAMPLES)
    ]
    now = datetime.now(UTC)
    with store.begin() as tx:
        examples.add(tx, arrivals=made, source=Source.SYNTHETIC, due_at=now, now=now)


def judgements(store: Store) -> int:
    with store.begin() as tx:
        return count(tx, "judgements")


@pytest.mark.criterion("4.1")
def test_a_killed_worker_has_paid_for_nothing_but_what_was_on_its_way(
    store: Store,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Redis.from_url(redis_url).flushdb()
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    fill(store)
    with StubProvider() as stub:
        stub.behaviour.latency = 0.15
        theirs = {
            "TDSYS_JUDGE_LM": stub.model,
            "TDSYS_JUDGE_LM_API_BASE": stub.api_base,
            "TDSYS_LM_THREADS": str(WIDTH),
            "DSPY_CACHEDIR": str(tmp_path / "theirs"),
        }
        with a_worker(redis_url, database_url, tmp_path, queues="scoring", **theirs) as desk:
            desk.send(Task.SCORE)
            wait_for(lambda: judgements(store) >= EXAMPLES // 4, "it is in the middle of a block")
            desk.ends()
        wait_for(lambda: not stub.running, "the provider has answered what was on its way")
        kept, paid = judgements(store), len(stub.requests)
        assert kept < EXAMPLES
        assert paid - kept <= 2 * WIDTH
        # Another process with another cache: only the ledger can answer for the dead one.
        monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "ours"))
        verifier = EvidenceVerifier()
        scoring.score_due(
            store,
            judge=ModelJudge(Model(stub.model, api_base=stub.api_base), width=WIDTH),
            verifier=verifier,
            clock=lambda: datetime.now(UTC) + timedelta(minutes=10),
            limits=Limits(EXAMPLES, LEASE, 3),
        )
        verifier.close()
        assert len(stub.requests) - paid == EXAMPLES - kept
    assert monitoring.funnel(store).states == {"admitted": EXAMPLES}
    found = auditing.audit(store, lease=LEASE, now=datetime.now(UTC))
    assert [one for one in found if not one.holds] == []
