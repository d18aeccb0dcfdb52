"""A small world with something on every page: captured, judged, frozen, optimized and decided."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Sequence
from datetime import timedelta

from tdsys.core.alerting import Severity
from tdsys.core.attribution import Probed
from tdsys.core.policy import Policy
from tdsys.core.program import Item
from tdsys.llm.judge import ModelJudge
from tdsys.llm.session import Model
from tdsys.reference import DOMAINS, ReferenceGenerator
from tdsys.stages import (
    advising,
    attributing,
    browsing,
    capture,
    optimizing,
    planning,
    policies,
    scoring,
)
from tdsys.stages.attributing import Means
from tdsys.stages.scoring import Limits
from tdsys.store import Store, alerts
from tdsys.verify import EvidenceVerifier
from tests.attributed import MODEL, ScriptedProber
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
    _attribute(store, domain, clock)
    browsing.catch_up(store, clock=clock)


class _Planted(ScriptedProber):
    """A model that some demos help and some harm, by what their names begin with."""

    def value(self, held: set[str]) -> float:
        effects = {"0": -0.2, "1": -0.15, "a": 0.2, "b": 0.15, "c": 0.03}
        return 0.5 + sum(effects.get(uid[0], 0.0) for uid in held) / 2

    def _one(self, demos: Sequence[Item], items: Sequence[Item]) -> Probed:
        found = super()._one(demos, items)
        luck = (
            zlib.crc32("".join(one.uid for one in (*demos, *items)).encode()) % 1000 / 1000 - 0.5
        ) * 0.8
        scores = (s.model_copy(update={"value": (s.value or 0.0) + luck}) for s in found.scores)
        return found._replace(scores=tuple(scores))


def _attribute(store: Store, domain: str, clock: Clock) -> None:
    """What the examples contribute, what follows, and one recommendation that was followed."""
    plan = attributing.planned(store, domain=domain, budget=1000, model=MODEL)
    attributing.begin(store, plan, model=MODEL, simulated=True, actor="ann", clock=clock)
    means = Means(_Planted(), ScriptedVerifier())
    while attributing.work_due(store, means=means, clock=clock, lease=LEASE).more:
        pass
    advising.recommend(store, domain=domain, clock=clock)


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
