"""A world whose harmful example is known, and somebody who follows recommendations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue
from sqlalchemy import text

from tdsys.core.advising import Kind
from tdsys.core.filling import Offer
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Signature
from tdsys.core.program import Artefact, Item, ItemScore
from tdsys.stages import advising, impact
from tdsys.stages.following import OFFLINE
from tdsys.store import Store, datasets, examples, impacts, recommendations
from tdsys.store.effect_schema import AttributionState
from tdsys.store.recommendations import Recommendation
from tests.attributed import DOMAIN, World
from tests.scripted import Clock, ScriptedOptimizer, ScriptedVerifier
from tests.stored import LEASE

WORSE = "worse: 0.900 with them, 0.647 without; gain -0.253, 95 % between -0.395 and -0.114"
SEEDS = [9, 10]  # from the policy's on


class NoModel:
    """Makes nothing; offers one strategy."""

    def offer(self, strategy: str) -> Offer:
        return Offer(strategy, calls=2)

    def topics(self, generator: str, domain: str) -> list[str]:
        return []

    def strategies(self) -> list[str]:
        return ["rephrase"]


class Desk(World):
    """A world whose harmful example is known, and somebody who follows recommendations."""

    def recommended(self, kind: Kind = Kind.RETIRE) -> Recommendation:
        found = advising.recommend(self.store, domain=DOMAIN, clock=self.clock)
        return next(one for one in found if one.kind is kind)

    def apply(
        self,
        one: Recommendation,
        *,
        dry_run: bool = False,
        despite_impact: bool = False,
        model: str = OFFLINE,
    ) -> advising.Applied:
        self.clock.forward(minutes=1)
        return advising.apply(
            self.store, id=one.id, supply=NoModel, model=model, actor="ann",
            clock=self.clock, dry_run=dry_run, despite_impact=despite_impact,
        )  # fmt: skip

    def revert(self, one: Recommendation) -> Recommendation:
        self.clock.forward(minutes=1)
        return advising.revert(self.store, id=one.id, actor="ann", clock=self.clock)

    def measure(self, optimizer: ScriptedOptimizer) -> int:
        return impact.work_due(
            self.store, optimizer=optimizer, verifier=ScriptedVerifier(), clock=self.clock,
            lease=LEASE,
        )  # fmt: skip

    def latest(self) -> datasets.DatasetVersion:
        with self.store.begin() as tx:
            found = datasets.latest(tx, domain=DOMAIN)
        assert found is not None
        return found

    def members(self, version: datasets.DatasetVersion) -> set[int]:
        with self.store.begin() as tx:
            placed = datasets.placed(tx, version_id=version.id)
        return {one.example_id for one in placed.values()}

    def retire(self, example_id: int) -> None:
        with self.store.begin() as tx:
            examples.move(
                tx, example_id=example_id, move=Move.RETIRE, reason="by_hand", detail="",
                actor="bob", policy_version=1, now=self.clock(),
            )  # fmt: skip

    def state_of(self, example_id: int) -> tuple[str, str]:
        with self.store.begin() as tx:
            row = tx.execute(
                text("""SELECT state, (SELECT detail FROM transitions WHERE example_id = e.id
                        ORDER BY id DESC LIMIT 1) FROM examples e WHERE id = :id"""),
                {"id": example_id},
            ).one()
        return row[0], row[1]


def to_retire(desk: Desk) -> Recommendation:
    return advised(desk, "r", "retire", json.dumps({"examples": [desk.train[0].fingerprint]}))


class Choosy(ScriptedOptimizer):
    """Its programs are good unless the harmful example is among what they learned from."""

    model = f"{OFFLINE}/scripted"

    def __init__(self, harmful: str) -> None:
        super().__init__()
        self.harmful = harmful
        self.silent = 0  # of how many test items there is no answer

    def optimize(
        self, signature: Signature, train: Sequence[Item], val: Sequence[Item], **given: Any
    ) -> Artefact:
        self.after = 0.3 if self.harmful in {one.uid for one in train} else 0.9
        return super().optimize(signature, train, val, **given)

    def evaluate(
        self,
        signature: Signature,
        state: dict[str, JsonValue] | None,
        items: Sequence[Item],
        **given: Any,
    ) -> list[ItemScore]:
        scores = super().evaluate(signature, state, items, **given)
        none = [ItemScore(uid=one.uid, value=None, error="no answer") for one in items]
        return [*none[: self.silent], *scores[self.silent :]]


def advised(desk: Desk, key: str, kind: str, subject: str) -> Recommendation:
    """An open recommendation as a row."""
    with desk.store.begin() as tx:
        id_ = tx.execute(
            text("""INSERT INTO recommendations (domain, version_id, key, kind, state, title,
                    reason, subject, evidence, created_at) VALUES ('arithmetic', :v, :key,
                    :kind, 'open', 't', 'r', CAST(:subject AS json), '[]', now())
                    RETURNING id"""),
            {"v": desk.version.id, "key": key, "kind": kind, "subject": subject},
        ).scalar_one()
        return recommendations.find(tx, id=id_)


def measured_worse(store: Store, one: Recommendation, clock: Clock) -> int:
    """As if pairs of runs had been compared, and the verdict was: worse."""
    with store.begin() as tx:
        id_ = impacts.open_(
            tx, recommendation_id=one.id, seeds=SEEDS, model=OFFLINE, planned_calls=9, now=clock()
        )
        assert id_ is not None
        impacts.close(
            tx, impact_id=id_, state=AttributionState.FINISHED, reason=WORSE, now=clock(),
            outcome={"finding": "worse", "with": 0.9, "gain": -0.253, "simulated": True},
        )  # fmt: skip
    return id_
