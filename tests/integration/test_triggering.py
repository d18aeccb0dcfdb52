"""What starts a run and what keeps it waiting, on a real store with a scripted model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from typing import Any

import pytest

from tdsys.core.alerting import Severity
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.sections import Trigger
from tdsys.core.trigger import Ruling
from tdsys.errors import Conflict
from tdsys.stages import curation, drifting, forgetting, planning, policies
from tdsys.store import Store, alerts, runs, triggers
from tests.commanding import Shell
from tests.factories import NOW, make_captures
from tests.scripted import Clock, ScriptedJudge, ScriptedOptimizer
from tests.stepping import captured, program_of, ready, record, run, score
from tests.stored import admit, enqueue, freeze

FEW = 42
MODEL = "scripted/model"


class World:
    """A domain that has run once, and the ways in which it changes."""

    def __init__(self, store: Store, **policy: Any) -> None:
        self.store = store
        self.clock = ready(store, FEW, **policy)
        self.optimizer = ScriptedOptimizer()
        self._captured = 500

    def run(self) -> None:
        (done,) = run(self.store, self.optimizer, self.clock)
        assert done.state == "finished"
        self.clock.forward(minutes=1)

    def arrive(self, count: int, judge: str = "scripted") -> None:
        records = [record(self._captured + n, topic="ratios") for n in range(count)]
        captured(self.store, records, batch=f"b{self._captured}")
        self._captured += count
        score(self.store, self.clock, Named(judge))
        self.clock.forward(minutes=1)

    def drift(self) -> None:
        with self.store.begin() as tx:
            alerts.fire(tx, key=drifting.key("d"), severity=Severity.WARNING, title="t",
                        detail="d", remedy="r", now=self.clock(), domain="d")  # fmt: skip
        self.clock.forward(minutes=1)

    def retire(self, fingerprint: str) -> None:
        found = self.named(fingerprint)
        curation.move(self.store, example_id=found, move=Move.RETIRE, reason="old",
                      actor="ann", now=self.clock())  # fmt: skip

    def forget(self, fingerprint: str) -> None:
        forgetting.forget(self.store, ids=[self.named(fingerprint)], actor="ann", reason="asked to",
                          now=self.clock())  # fmt: skip

    def named(self, fingerprint: str) -> int:
        with self.store.begin() as tx:
            return int(tx.exec_driver_sql(
                "SELECT id FROM examples WHERE fingerprint = %s", (bytes.fromhex(fingerprint),)
            ).scalar_one())  # fmt: skip

    def put(self, **policy: Any) -> None:
        rules = Policy(min_examples=40, settle_seconds=0, audit_share=0, **policy)
        policies.put(self.store, domain="d", author="ann", now=self.clock(), policy=rules)

    def weigh(self, model: str = MODEL, price: float | None = None) -> Ruling:
        return planning.weigh(
            self.store, domain="d", model=model, clock=self.clock, price=price
        )  # fmt: skip

    def codes(self, **on: Any) -> list[str]:
        return [one.code for one in self.weigh(**on).reasons]

    def causes(self) -> list[list[str]]:
        """Why each run began, the newest first."""
        with self.store.begin() as tx:
            found = [
                triggers.cause(tx, run_id=one.id) for one in runs.runs(tx, domain="d", limit=9)
            ]
        return [one.because for one in found if one]


class Named(ScriptedJudge):
    """A judge by another name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def juror(self, member: Any) -> Any:
        return super().juror(member).model_copy(update={"model": self._name})


@pytest.mark.criterion("7.3")
def test_what_happens_to_the_data_starts_a_run_that_says_why(store: Store) -> None:
    world = World(store, growth=0.5)
    assert world.codes() == ["first"]
    world.run()
    assert world.codes() == ["nothing_new"]
    world.drift()
    assert world.codes() == ["drift", "same"]
    world.arrive(3)
    assert world.codes() == ["drift"]
    world.run()
    assert world.codes() == ["nothing_new"]
    world.retire(str(program_of(store).envelope["demos"][0]["uid"]))
    assert world.codes() == ["demos"]
    world.run()
    world.arrive(2, judge="another")
    assert world.codes() == ["judge"]
    world.run()
    world.arrive(25, judge="another")
    assert world.codes() == ["growth"]
    world.run()
    assert [one[0].split(",")[0] for one in world.causes()][:1] == ["25 new examples"]
    assert "it would be the first run" in world.causes()[-1]
    assert world.causes()[-2] == ["the judge drifts since 2026-11-22 12:01 UTC"]


@pytest.mark.criterion("7.3")
def test_a_demo_that_is_forgotten_starts_a_run_that_answers_it(store: Store) -> None:
    world = World(store, growth=0.5)
    world.run()
    shown = [str(one["uid"]) for one in program_of(store).envelope["demos"]]
    with store.begin() as tx:
        others = tx.exec_driver_sql(
            "SELECT encode(fingerprint, 'hex') FROM examples WHERE fingerprint <> %s",
            (bytes.fromhex(shown[0]),),
        ).scalars()
        (another, *_) = list(others)
    world.forget(another)
    assert world.codes() == ["nothing_new"]
    world.forget(shown[0])
    assert world.codes() == ["demos"]
    assert world.weigh().pro == (
        "1 demos of the active program were edited, left or are forgotten",
    )
    world.optimizer.after = 0.1  # so the program that lost a demo stays the active one
    world.run()
    assert program_of(store).lost
    world.arrive(3)
    assert world.codes() == ["nothing_new"]


@pytest.mark.criterion("7.3")
def test_what_happens_to_the_rules_starts_a_run_and_limits_keep_it_waiting(store: Store) -> None:
    world = World(store)
    world.run()
    assert world.codes(model="openai/x") == ["model"]
    world.put(seed=3)
    assert world.codes() == ["rules"]
    world.put(seed=3, trigger=Trigger(cooldown_minutes=5))
    assert world.codes() == ["rules", "cooldown"]
    (considered,) = planning.plan_due(store, model=MODEL, clock=world.clock)
    assert (considered.run_id, considered.because[0][:12]) == (None, "the last run")
    world.put(seed=3, trigger=Trigger(max_cost=0.000_01))
    priced = world.weigh(price=0.5)
    assert [one.code for one in priced.reasons] == ["rules", "max_cost"]
    assert priced.cost
    assert priced.calls
    assert 100 < priced.cost / priced.calls / 0.5e-6 < 2000
    assert world.codes() == ["rules"]
    world.clock.forward(minutes=5)
    world.run()


class Overtaken(Clock):
    """While it is asked the second time, another planner does it all, and its run ends."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.at, self._world, self._asked = world.clock.at, world, 0

    def __call__(self) -> datetime:
        self._asked += 1
        if self._asked == 2:
            self._world.run()
        return super().__call__()


def test_a_planner_that_was_overtaken_queues_nothing_even_when_the_run_has_ended(
    store: Store,
) -> None:
    world = World(store)
    (late,) = planning.plan_due(store, model=MODEL, clock=Overtaken(world))
    assert (late.run_id, late.because) == (None, ("another run was queued meanwhile",))
    assert len(world.causes()) == world.optimizer.runs == 1


def test_a_policy_that_holds_optimization_is_heard_until_the_run_is_queued(store: Store) -> None:
    world = World(store)
    asked = []

    def clock() -> datetime:
        asked.append(1)
        if len(asked) == 2:  # read, drafted, and about to be queued
            world.put(optimization="hold")
        return world.clock()

    (considered,) = planning.plan_due(store, model=MODEL, clock=clock)
    assert len(asked) >= 2
    assert considered.run_id is None
    assert world.causes() == []


def test_of_planners_at_once_one_queues_the_run(store: Store) -> None:
    world = World(store)
    together = Barrier(3)

    def work(_: int) -> bool:
        together.wait()
        (found,) = planning.plan_due(store, model=MODEL, clock=world.clock)
        return found.run_id is not None

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(work, range(3))) == [False, False, True]
    assert world.codes() == ["first", "open"][1:]


def test_a_run_is_followed_by_at_most_one(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(6))
        version = freeze(tx)
        first = enqueue(tx, version)
        assert first
        triggers.explain(tx, run_id=first, domain="arithmetic", follows=None, because=[], judge="j")
        assert triggers.cause(tx, run_id=first) == ([], "j")
        runs.finish(tx, run_id=first, state="failed", reason="", outcome=None, now=NOW)
    for follows, is_refused in ((None, True), (first, False), (first, True)):
        with store.begin() as tx:
            run_id = enqueue(tx, version)
            assert run_id
            told: dict[str, Any] = {"domain": "arithmetic", "because": [], "judge": None}
            if is_refused:
                with pytest.raises(Conflict):
                    triggers.explain(tx, run_id=run_id, follows=follows, **told)
            else:
                triggers.explain(tx, run_id=run_id, follows=follows, **told)
            runs.finish(tx, run_id=run_id, state="failed", reason="", outcome=None, now=NOW)


@pytest.mark.criterion("1.4")
def test_the_plan_is_told_on_the_command_line_with_all_reasons(store: Store, tdsys: Shell) -> None:
    ready(store, 20)
    told = tdsys("optimize", "plan", "--domain", "d", "--json").document
    assert (told["domain"], told["would_run"]) == ("d", False)
    assert told["because"] == ["it would be the first run", "20 usable examples, 20 more needed"]
    assert [one["speaks"] for one in told["reasons"]] == ["for", "against"]
    assert (told["calls"] > 0, told["cost"]) == (True, 0.0)
    said = tdsys("optimize", "plan", "--domain", "d")
    assert said.code == 0
    assert said.out.splitlines()[0] == "d: no run now"
    assert "  against  20 usable examples, 20 more needed" in said.out
    assert tdsys("optimize", "plan", "--domain", "e").code == 2
