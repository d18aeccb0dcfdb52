"""A small world with something on every page: captured, judged, frozen, optimized and decided."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

from tdsys.core.alerting import Severity
from tdsys.core.policy import Policy
from tdsys.llm.judge import ModelJudge
from tdsys.llm.session import Model
from tdsys.reference import DOMAINS, ReferenceGenerator
from tdsys.stages import browsing, capture, optimizing, planning, policies, scoring
from tdsys.stages.scoring import Limits
from tdsys.store import Store, alerts
from tdsys.verify import EvidenceVerifier
from tests.factories import NOW
from tests.scripted import Clock, ScriptedOptimizer, ScriptedVerifier

LEASE = timedelta(seconds=60)
COUNT = 220


def build(store: Store) -> None:
    """Real problems, some of them faulty, through the real verifier and the offline judge."""
    clock = Clock()
    domain = next(iter(DOMAINS))
    policies.put(
        store,
        domain=domain,
        author="ann",
        now=NOW,
        policy=Policy(min_examples=40, settle_seconds=0, audit_share=0.1),
    )
    _capture(store, domain)
    verifier = EvidenceVerifier()
    try:
        scoring.score_due(
            store,
            judge=ModelJudge(Model(), width=4),
            verifier=verifier,
            clock=clock,
            limits=Limits(block=50, lease=LEASE, max_attempts=3),
        )
    finally:
        verifier.close()
    planning.plan_due(store, model="offline", clock=clock)
    optimizing.run_due(
        store,
        optimizer=ScriptedOptimizer(),
        verifier=ScriptedVerifier(),
        clock=clock,
        lease=LEASE,
    )
    with store.begin() as tx:
        alerts.fire(
            tx,
            key="backlog:algebra",
            severity=Severity.WARNING,
            title="more wait for a person than anybody reads",
            detail="1,204 examples, the oldest for 15 days",
            remedy="review, or narrow the band between the thresholds",
            now=NOW,
            domain=domain,
        )
    browsing.catch_up(store, clock=clock)


def _capture(store: Store, domain: str) -> None:
    made = ReferenceGenerator(seed=11, fault_rate=0.25).stream([domain], COUNT)
    records = [
        {
            "capture_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            "domain": one.domain,
            "captured_at": (NOW - timedelta(minutes=number)).isoformat(),
            "inputs": one.inputs,
            "outputs": one.outputs,
            "metadata": {"generator": "v7"},
        }
        for number, one in enumerate(made)
    ]
    capture.ingest(store, batch_id="pictures", records=json.dumps(records), now=NOW)
