"""Everything that works on batches, one step at a time, and a batch for it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from tdsys.core.batch import BatchState, Kind
from tdsys.core.rubric import Unscored
from tdsys.stages import filling, scoring, synthesizing
from tdsys.stages.filling import Report, Request
from tdsys.stages.scoring import Limits
from tdsys.stages.synthesizing import Means
from tdsys.store import Store
from tests.making import ScriptedSolver, ScriptedWorkshop
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier

LEASE = timedelta(seconds=60)
AWAY = Unscored(reason="model_unavailable", transient=True)
LIMITS = Limits(block=100, lease=LEASE, max_attempts=3)


class Line:
    """Everything that works on batches, one step at a time."""

    def __init__(self, store: Store, workshop: ScriptedWorkshop | None = None) -> None:
        self.store, self.clock = store, Clock()
        self.workshop = workshop or ScriptedWorkshop()
        self.judge, self.verifier = ScriptedJudge(), ScriptedVerifier()
        self.solver = ScriptedSolver()
        self.told: list[None] = []

    def ask(self, count: int, kind: Kind = Kind.BOOTSTRAP, **over: object) -> UUID:
        given = {"topics": ("sums", "areas"), "difficulties": ("easy", "hard"), "generator": "g"}
        request = Request.model_validate(
            {"kind": kind, "domain": "d", "count": count, **given, **over}
        )
        drafted_ = filling.draft(self.store, self.workshop, request)
        return filling.begin(self.store, drafted_, actor="ann", clock=self.clock)

    def make(self, *, is_alone: bool = False, block: int = 16) -> synthesizing.Worked:
        return synthesizing.make_due(
            self.store,
            means=Means(self.workshop, self.verifier, self.solver),
            clock=self.clock,
            lease=LEASE,
            block=block,
            is_alone=is_alone,
        )

    def score(self) -> scoring.Scored:
        return scoring.score_due(
            self.store,
            judge=self.judge,
            verifier=self.verifier,
            clock=self.clock,
            limits=LIMITS,
            tell=lambda: self.told.append(None),
        )

    def run(self, batch_id: UUID) -> Report:
        """Until the batch has ended, or it has had more than an hour."""
        report = filling.report(self.store, batch_id=batch_id)
        for _ in range(200):
            while self.make().more:
                pass
            self.score()
            report = filling.report(self.store, batch_id=batch_id)
            if report.batch.state is not BatchState.OPEN:
                return report
            self.clock.forward(seconds=20)
        raise AssertionError(filling.ended(report))


@pytest.fixture
def line(store: Store) -> Line:
    return Line(store)
