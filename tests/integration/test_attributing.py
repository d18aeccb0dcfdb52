"""Attribution on a real store: a budget that holds, work that is killed and goes on, evidence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from tdsys.core.attribution import Effect
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.program import DemoRef, ItemScore, Trial
from tdsys.errors import InvalidInput, ModelUnavailable, NotReady
from tdsys.stages import attributing
from tdsys.store import Store, attributions, examples, policies, runs
from tdsys.store.attributions import Asked
from tdsys.store.effect_schema import AttributionState
from tests.attributed import DOMAIN, MODEL, World
from tests.factories import NOW
from tests.stored import LEASE, enqueue, write_trial


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.mark.criterion("9.1")
def test_the_harmful_example_is_found_within_the_budget(world: World) -> None:
    world.begin(budget=600)
    assert world.work().finished == 1
    found = world.shown()
    assert found.whole.state is AttributionState.FINISHED
    assert found.whole.spent == world.prober.calls
    assert 596 <= world.prober.calls <= 600
    assert found.whole.reserved == 0
    worst = found.contributions[-1]
    assert worst.example == world.train[0].fingerprint
    assert worst.verdict is Effect.HARMFUL
    assert worst.value == pytest.approx(-0.6, abs=0.05)
    assert {one.example for one in found.contributions} == {e.fingerprint for e in world.train}


def test_a_killed_worker_leaves_its_prompts_to_others_and_the_budget_holds(world: World) -> None:
    begun = world.begin(budget=200)
    with world.store.begin() as tx:  # whoever takes these never comes back
        lost = attributions.claim(tx, id=begun, limit=48, lease=LEASE, now=world.clock())
    world.work()
    with world.store.begin() as tx:
        assert attributions.find(tx, id=begun).is_open
        assert attributions.find(tx, id=begun).reserved == 2 * len(lost)
    world.clock.forward(seconds=LEASE.total_seconds() + 1)
    world.work()
    found = world.shown()
    assert found.whole.state is AttributionState.FINISHED
    assert found.whole.spent == world.prober.calls <= 200
    with world.store.begin() as tx:  # and it may come back after all
        late = [Asked(one, [ItemScore(uid="x", value=1.0)], 1) for one in lost]
        assert attributions.record(tx, asked=late) == 0


def test_many_workers_together_try_each_prompt_once_and_pay_no_more_than_the_budget(
    world: World,
) -> None:
    world.begin(budget=300)
    with ThreadPoolExecutor(4) as pool:
        worked = [one.result() for one in [pool.submit(world.work) for _ in range(4)]]
    found = world.shown()
    if found.whole.is_open:  # all prompts of the last look were in other hands
        world.work()
        found = world.shown()
    assert found.counted.done == found.whole.spent == found.counted.scored
    assert sum(one.probes for one in worked) >= found.counted.done - 4
    assert 296 <= found.whole.spent <= 300


def test_an_answer_that_cannot_be_read_is_unscored_and_never_a_zero(world: World) -> None:
    world.prober.unreadable = {world.val[0]}
    world.begin(budget=600)
    world.work()
    found = world.shown()
    assert found.counted.unscored > 0
    assert found.whole.scores == found.counted.scored
    assert world.of(world.train[1].fingerprint).verdict is not Effect.HARMFUL


def test_a_model_that_is_away_costs_no_prompt_and_no_call(world: World) -> None:
    begun = world.begin(budget=100)
    world.prober.raises = ModelUnavailable("away", remedy="wait")
    assert not world.work().more
    with world.store.begin() as tx:
        waiting = attributions.find(tx, id=begun)
    assert waiting.is_open
    assert waiting.reason is not None
    world.prober.raises = None
    world.clock.forward(minutes=1)
    world.work()
    assert not world.shown().whole.is_open
    assert world.prober.calls >= 98


def test_a_prompt_that_kills_its_worker_again_and_again_is_unscored_with_the_reason(
    world: World,
) -> None:
    begun = world.begin(budget=20)
    for _ in range(attributing.MOST_DEATHS):
        with world.store.begin() as tx:
            assert attributions.claim(tx, id=begun, limit=9, lease=LEASE, now=world.clock())
        world.clock.forward(seconds=LEASE.total_seconds() + 1)
    while world.work().more:
        pass
    with world.store.begin() as tx:
        reasons = tx.execute(text("SELECT DISTINCT error FROM attribution_scores")).scalars().all()
    assert f"its worker died {attributing.MOST_DEATHS} times" in reasons


def test_scores_of_an_earlier_attribution_are_evidence_for_the_next(world: World) -> None:
    world.begin(budget=300)
    world.work()
    first = world.shown()
    plan = attributing.planned(world.store, domain=DOMAIN, budget=300, model=MODEL)
    assert plan.scores_before == first.counted.scored
    world.begin(budget=300)
    world.work()
    second = world.shown()
    assert second.whole.scores == first.counted.scored + second.counted.scored
    assert first.whole.error is not None
    assert second.whole.error is not None
    assert second.whole.error < first.whole.error
    assert world.prober.calls <= 600


def test_an_optimizers_trials_are_evidence_too(world: World) -> None:
    with world.store.begin() as tx:
        run_id = enqueue(tx, world.version)
        assert run_id is not None
        tx.execute(text("UPDATE runs SET model = :m"), {"m": MODEL})
        write_trial(
            tx,
            run_id,
            Trial(
                number=1,
                kind="full",
                score=0.2,
                instruction="Write.",
                demos=(
                    DemoRef(uid=world.train[0].fingerprint, role="labeled"),
                    DemoRef(uid=world.train[1].fingerprint, role="bootstrapped"),
                ),
                items=tuple(ItemScore(uid=uid, value=0.2) for uid in world.val),
                seconds=1,
                calls=len(world.val),
            ),
        )
    begun = world.begin(budget=100)
    with world.store.begin() as tx:
        rows = attributing.evidence(tx, attributions.find(tx, id=begun))
    assert len(rows) == len(world.val)
    bootstrapped = f"{world.train[1].fingerprint}, bootstrapped"
    assert rows[0].demos == (world.train[0].fingerprint, bootstrapped)
    theirs = Policy(program="theirs")
    with world.store.begin() as tx:
        policies.put(tx, domain=DOMAIN, author="ann", now=NOW, policy=theirs)
        tx.execute(text("UPDATE runs SET policy_version = (SELECT max(version) FROM policies)"))
        assert attributing.evidence(tx, attributions.find(tx, id=begun)) == []


def test_contributions_are_stale_as_soon_as_the_data_is_another(world: World) -> None:
    world.begin(budget=100)
    world.work()
    assert not world.shown().whole.stale
    with world.store.begin() as tx:
        examples.move(
            tx, example_id=world.train[3].id, move=Move.RETIRE, reason="x", detail="",
            actor="ann", policy_version=1, now=NOW,
        )  # fmt: skip
    assert world.shown().whole.stale


def test_what_would_be_stale_from_the_beginning_is_not_begun(world: World) -> None:
    plan = attributing.planned(world.store, domain=DOMAIN, budget=100, model=MODEL)
    with world.store.begin() as tx:
        examples.move(
            tx, example_id=world.train[3].id, move=Move.RETIRE, reason="x", detail="",
            actor="ann", policy_version=1, now=NOW,
        )  # fmt: skip
    with pytest.raises(NotReady, match="out of date"):
        attributing.begin(
            world.store, plan, model=MODEL, simulated=True, actor="ann", clock=world.clock
        )


def rule(world: World, **fields: Any) -> int:
    with world.store.begin() as tx:
        return policies.put(
            tx, domain=DOMAIN, policy=Policy(**fields), author="ann", now=world.clock()
        )


def test_scores_by_another_metric_are_no_evidence(world: World) -> None:
    world.begin(budget=100)
    rule(world, metric="theirs")
    assert world.work().finished == 1
    found = world.shown().whole
    assert found.state is AttributionState.FAILED
    assert "metric is another" in str(found.reason)
    assert world.prober.calls == 0


def test_trials_of_a_run_by_another_metric_are_no_evidence(world: World) -> None:
    number = rule(world, metric="theirs")
    rule(world)
    with world.store.begin() as tx:
        assert enqueue(tx, world.version)
        tx.execute(text("UPDATE runs SET model = :m, policy_version = :n"),
                   {"m": MODEL, "n": number})  # fmt: skip
        (run,) = runs.runs(tx, domain=DOMAIN, limit=1)
        items = tuple(ItemScore(uid=uid, value=0.2) for uid in world.val)
        trial = Trial(number=1, kind="full", score=0.2, instruction="Write.", demos=(),
                      items=items, seconds=1, calls=12)  # fmt: skip
        write_trial(tx, run.id, trial)
    begun = world.begin(budget=100)
    with world.store.begin() as tx:
        assert attributing.evidence(tx, attributions.find(tx, id=begun)) == []


@pytest.mark.parametrize("error", [InvalidInput("no metric", remedy=""), ValueError("a bug")])
def test_what_cannot_be_tried_fails_with_the_reason_and_keeps_nobody_else_waiting(
    world: World, error: Exception
) -> None:
    world.begin(budget=100)
    world.prober.raises = error
    assert world.work().finished == 1
    found = world.shown().whole
    assert found.state is AttributionState.FAILED
    assert str(error) in str(found.reason)


def test_a_domain_has_one_open_attribution_and_it_can_be_cancelled(world: World) -> None:
    world.begin(budget=100)
    with pytest.raises(NotReady, match="is open"):
        world.begin(budget=100)
    assert attributing.cancel(world.store, domain=DOMAIN, clock=world.clock)
    assert not attributing.cancel(world.store, domain=DOMAIN, clock=world.clock)
    assert world.work().probes == 0
    world.begin(budget=100)


def test_with_too_few_calls_it_says_that_the_evidence_is_not_enough(world: World) -> None:
    world.begin(budget=30)
    world.work()
    found = world.shown()
    assert found.whole.reason is not None
    assert "not enough evidence" in found.whole.reason
    assert {one.verdict for one in found.contributions} == {Effect.UNKNOWN}


def test_an_attribution_of_what_was_forgotten_meanwhile_fails_and_says_why(world: World) -> None:
    world.begin(budget=100)
    with world.store.begin() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        tx.execute(text("UPDATE dataset_members SET content = NULL WHERE position = 0"))
    assert world.work().finished == 1
    found = world.shown()
    assert found.whole.state is AttributionState.FAILED
    assert found.whole.reason is not None
    assert "they were forgotten" in found.whole.reason
    assert world.prober.calls == 0
