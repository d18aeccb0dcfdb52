"""A frozen version and a stand-in for the model that attributes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from tdsys.core.attribution import Contribution, Probed
from tdsys.core.dataset import Split
from tdsys.core.example import Capture
from tdsys.core.policy import Signature
from tdsys.core.program import Grader, Item, ItemScore
from tdsys.stages import attributing
from tdsys.stages.attributing import Means, Worked
from tdsys.store import Store, datasets
from tests.factories import make_captures
from tests.scripted import Clock, ScriptedVerifier
from tests.stored import LEASE, admit, freeze

DOMAIN = "arithmetic"
COUNT = 36  # 12 of each split
MODEL = "scripted/model"


class ScriptedProber:
    """Scores a prompt by whether the first example of the pool is in it; counts the calls."""

    model = MODEL
    simulated = True

    def __init__(self) -> None:
        self.calls = 0
        self.harmful = ""
        self.raises: Exception | None = None
        self.unreadable: set[str] = set()
        self.meanwhile: Callable[[], object] = lambda: None

    def probe(
        self,
        signature: Signature,
        tries: Sequence[tuple[Sequence[Item], Sequence[Item]]],
        *,
        grader: Grader,
        should_stop: Callable[[], bool],
    ) -> list[Probed]:
        self.meanwhile()
        if self.raises:
            raise self.raises
        return [self._one(demos, items) for demos, items in tries]

    def value(self, held: set[str]) -> float:
        return 0.2 if self.harmful in held else 0.8

    def _one(self, demos: Sequence[Item], items: Sequence[Item]) -> Probed:
        self.calls += len(items)
        value = self.value({one.uid for one in demos})
        wobble = (self.calls % 7) / 70
        scores = [
            ItemScore(uid=one.uid, value=None, error="unparseable: {")
            if one.uid in self.unreadable
            else ItemScore(uid=one.uid, value=value + wobble)
            for one in items
        ]
        return Probed(tuple(scores), len(items))


class World:
    """A frozen version and what attributes it."""

    def __init__(self, store: Store, captures: Sequence[Capture] | None = None) -> None:
        self.store, self.clock, self.prober = store, Clock(), ScriptedProber()
        with store.begin() as tx:
            admit(tx, captures or make_captures(COUNT))
            self.version = freeze(tx)
            members = datasets.members(tx, version_id=self.version.id)
        self.train = [m.example for m in members if m.split is Split.TRAIN]
        self.val = [m.example.fingerprint for m in members if m.split is Split.VAL]
        self.prober.harmful = self.train[0].fingerprint

    def begin(self, budget: int = 600) -> UUID:
        self.clock.forward(minutes=1)
        plan = attributing.planned(self.store, domain=DOMAIN, budget=budget, model=MODEL)
        return attributing.begin(
            self.store, plan, model=MODEL, simulated=True, actor="ann", clock=self.clock
        )

    def work(self) -> Worked:
        means = Means(self.prober, ScriptedVerifier())
        return attributing.work_due(self.store, means=means, clock=self.clock, lease=LEASE)

    def shown(self) -> attributing.Shown:
        return attributing.shown(self.store, domain=DOMAIN)

    def of(self, example: str) -> Contribution:
        (found,) = [one for one in self.shown().contributions if one.example == example]
        return found
