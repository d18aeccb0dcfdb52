"""How the served program fares: measured again by each run, its demos by attribution."""

from __future__ import annotations

from typing import Any

import pytest

from tdsys.core.policy import Policy
from tdsys.core.program import ItemScore
from tdsys.stages import activating, alerting, policies
from tdsys.store import Store, alerts, measurements, runs
from tests.attributed import DOMAIN, World
from tests.commanding import Shell
from tests.factories import NOW, make_captures
from tests.scripted import Clock, ScriptedOptimizer
from tests.stepping import captured, program_of, ready, record, run, score
from tests.stored import admit, freeze, keep

MADE = 0.9


class Fading(ScriptedOptimizer):
    """The first program, whose model does worse by now; one item in fifteen has no answer."""

    def __init__(self, now: float) -> None:
        super().__init__(0.3)
        self.now = now

    def evaluate(self, *given: Any, **more: Any) -> list[ItemScore]:
        found = super().evaluate(*given, **more)
        if not given[1] or given[1]["score"] != MADE:
            return found
        return [one.model_copy(update={"value": self.now if n % 15 else None})
                for n, one in enumerate(found)]  # fmt: skip


def grown(store: Store, clock: Clock, optimizer: ScriptedOptimizer, first: int) -> None:
    """So many more examples that another run begins and ends."""
    clock.forward(minutes=1)
    captured(
        store, [record(n, topic="ratios") for n in range(first, first + 60)], batch=f"b{first}"
    )
    score(store, clock)
    (done,) = run(store, optimizer, clock)
    assert done.state == "finished"


def told(store: Store) -> dict[str, str]:
    alerting.evaluate(store, now=NOW)
    with store.begin() as tx:
        return {one.key: one.title for one in alerts.listed(tx)}


@pytest.mark.criterion("9.5")
def test_a_program_that_does_worse_than_when_it_was_made_is_told_of_until_it_does_not(
    store: Store, tdsys: Shell
) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(MADE), clock)
    assert told(store) == {}
    grown(store, clock, Fading(0.6), 300)
    assert program_of(store).comparison.after == pytest.approx(MADE)
    assert "worse than itself when it was made" in told(store)["regression: d"]
    with store.begin() as tx:
        last = runs.last_for(tx, domain="d")
        assert last is not None
        cells = measurements.slices(tx, run_id=last.id)
    assert sum(one.items for one in cells) > sum(one.before_scored for one in cells) > 0
    assert {round(one.before, 6) for one in cells if one.before_scored and one.before} == {0.6}
    assert {(one.after, one.after_scored == one.items) for one in cells} == {(0.3, True)}
    newest = tdsys("optimize", "history", "--domain", "d", "--json").document["runs"][0]
    assert [one["before_scored"] for one in newest["slices"]] == [c.before_scored for c in cells]
    assert "unscored" in tdsys("optimize", "history", "--domain", "d").out
    grown(store, clock, Fading(MADE), 400)
    assert told(store) == {}


@pytest.mark.criterion("9.5")
def test_going_back_to_a_program_that_was_measured_to_be_worse_is_told_of(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(0.5), clock)
    grown(store, clock, ScriptedOptimizer(0.8), 300)
    assert told(store) == {}
    activating.rollback(store, domain="d", actor="ann", reason="odd", now=NOW)
    assert "worse than the program that was active before it" in told(store)["regression: d"]
    activating.activate(store, domain="d", program_id=None, actor="ann", reason="oh", now=NOW)
    assert told(store) == {}


@pytest.mark.criterion("9.5")
def test_a_demo_that_does_harm_is_told_of_while_the_attribution_is_fresh(store: Store) -> None:
    world = World(store)
    policies.put(store, domain=DOMAIN, author="ann", now=NOW, policy=Policy())
    world.begin()
    world.work()
    bad, good = (one.fingerprint for one in world.train[:2])

    def served(*demos: tuple[str, str], program: str | None = None) -> dict[str, str]:
        shown = [{"uid": uid, "role": role, "predictor": "self"} for uid, role in demos]
        with store.begin() as tx:
            keep(tx, world.version, envelope={"demos": shown, "program": program})
        return told(store)

    assert served((bad, "bootstrapped"), (good, "labeled")) == {}
    assert served((bad, "labeled"), program="theirs") == {}
    assert set(served((bad, "labeled"), (good, "labeled"))) == {f"harmful_demos: {DOMAIN}"}
    with store.begin() as tx:
        admit(tx, make_captures(48))
        freeze(tx, now=world.clock())
    assert told(store) == {}
