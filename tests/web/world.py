"""A small world with something on every page: captured, judged, frozen, optimized and decided."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

from tdsys.core.alerting import Severity
from tdsys.core.batch import Kind
from tdsys.core.policy import Policy
from tdsys.core.sections import CellException, Cells
from tdsys.llm.judge import ModelJudge
from tdsys.llm.session import Model
from tdsys.llm.workshop import ModelWorkshop
from tdsys.reference import DOMAINS, ReferenceGenerator
from tdsys.stages import (
    browsing,
    capture,
    filling,
    optimizing,
    planning,
    policies,
    scoring,
    synthesizing,
)
from tdsys.stages.filling import Request
from tdsys.stages.scoring import Limits
from tdsys.stages.synthesizing import Means
from tdsys.store import Store, alerts
from tdsys.verify import EvidenceVerifier
from tdsys.verify.calculating import GuardedCalculator
from tests.factories import NOW
from tests.making import ScriptedSolver
from tests.scripted import Clock, ScriptedOptimizer, ScriptedVerifier
from tests.web.worth import attribute

LEASE = timedelta(seconds=60)
COUNT = 220
EXCEPTIONS = (
    CellException(topic="making change", difficulty="easy", min=10, max=25),
    CellException(topic="equal groups", difficulty="hard", min=30, max=80),
)


def build(store: Store) -> None:
    """Real problems, some of them faulty, through the real verifier and the offline judge."""
    clock = Clock()
    domain = next(iter(DOMAINS))
    policies.put(
        store,
        domain=domain,
        author="ann",
        now=NOW,
        policy=Policy(
            min_examples=40,
            settle_seconds=0,
            audit_share=0.1,
            cells=Cells(min=20, max=60, exceptions=EXCEPTIONS),
        ),
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
    _ask(store, domain)
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
    attribute(store, domain, clock)
    browsing.catch_up(store, clock=clock)


def _ask(store: Store, domain: str) -> None:
    """A batch that is half made: some of it is judged, the rest is on its way."""
    calculator = GuardedCalculator()
    workshop = ModelWorkshop(Model, threads=1, calculator=calculator, prices=lambda _: None)
    clock = Clock()
    asked = Request(
        kind=Kind.BOOTSTRAP, domain=domain, count=90, generator="reference", model="offline",
        price=0.0,
    )  # fmt: skip
    drafted = filling.draft(store, workshop, asked)
    filling.begin(store, drafted, actor="ann", clock=clock)
    means = Means(workshop, ScriptedVerifier(), ScriptedSolver())
    for _ in range(2):
        synthesizing.make_due(store, means=means, clock=clock, lease=LEASE, block=40)
        scoring.score_due(
            store,
            judge=ModelJudge(Model(), width=4),
            verifier=ScriptedVerifier(),
            clock=clock,
            limits=Limits(block=50, lease=LEASE, max_attempts=3),
        )


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
