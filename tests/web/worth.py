"""Contributions, recommendations and problems for the pages to show."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import timedelta

from tdsys.core.attribution import Probed
from tdsys.core.program import Item
from tdsys.stages import advising, attributing
from tdsys.stages.attributing import Means
from tdsys.store import Store
from tests.attributed import MODEL, ScriptedProber
from tests.scripted import Clock, ScriptedVerifier

LEASE = timedelta(seconds=60)


class _Planted(ScriptedProber):
    """A model that some demos help and some harm, by what their names begin with."""

    def value(self, held: set[str]) -> float:
        effects = {"0": -0.2, "1": -0.15, "a": 0.2, "b": 0.15, "c": 0.03}
        return 0.5 + sum(effects.get(uid[0], 0.0) for uid in held) / 2

    def _one(self, demos: Sequence[Item], items: Sequence[Item]) -> Probed:
        found = super()._one(demos, items)
        asked = "".join(one.uid for one in (*demos, *items)).encode()
        luck = zlib.crc32(asked) % 1000 / 1250 - 0.4
        scores = (s.model_copy(update={"value": (s.value or 0.0) + luck}) for s in found.scores)
        return found._replace(scores=tuple(scores))


def attribute(store: Store, domain: str, clock: Clock) -> None:
    """What the examples contribute, and what follows."""
    plan = attributing.planned(store, domain=domain, budget=1000, model=MODEL)
    attributing.begin(store, plan, model=MODEL, simulated=True, actor="ann", clock=clock)
    means = Means(_Planted(), ScriptedVerifier())
    while attributing.work_due(store, means=means, clock=clock, lease=LEASE).more:
        pass
    advising.recommend(store, domain=domain, clock=clock)
