"""Versions and runs on a real database, a scripted optimizer: when they begin, how they end."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tdsys.core import budget
from tdsys.core.dataset import Admitted
from tdsys.core.following import Progress
from tdsys.core.policy import Policy, Signature
from tdsys.core.program import Grade, Spent
from tdsys.core.sections import AlertRules, Cells, Lifecycle
from tdsys.errors import Cancelled, Conflict, ModelUnavailable, NotReady
from tdsys.stages import (
    capture,
    datasets,
    exporting,
    optimizing,
    planning,
    policies,
)
from tdsys.stages.following import Follower
from tdsys.store import Store, runs
from tdsys.store import datasets as dataset_rows
from tdsys.store import policies as policy_rows
from tests.factories import NOW, PROBLEM
from tests.processes import wait_for
from tests.scripted import ScriptedOptimizer, ScriptedVerifier
from tests.stepping import (
    LEASE,
    captured,
    program_of,
    put,
    ready,
    record,
    run,
    score,
)
from tests.stored import waits


@pytest.mark.criterion("1.4")
@pytest.mark.criterion("7.1")
def test_enough_examples_start_a_run_by_themselves_and_the_better_program_is_kept(
    store: Store,
) -> None:
    clock = ready(store)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"
    kept = program_of(store)
    assert (kept.comparison.before, kept.comparison.after) == pytest.approx((0.2, 0.9))
    assert kept.envelope["compared_with"] == "unoptimized"
    assert kept.envelope["dataset_fingerprint"]
    with store.begin() as tx:
        (one,) = runs.runs(tx, domain="d", limit=5)
        assert (one.progress["phase"], one.progress["trials"]) == ("testing", 2)
        spent = {name: one.progress[name] for name in ("calls", "tokens")}
        assert (
            spent == {name: kept.envelope[name] for name in spent} == {"calls": 20, "tokens": 100}
        )
        assert [t.number for t in runs.trials(tx, run_id=one.id)] == [1, 2]
    assert run(store, ScriptedOptimizer(), clock) == []


def test_the_policy_says_which_optimizer_program_and_metric_a_run_takes(store: Store) -> None:
    named: dict[str, Any] = {"optimizer": "gepa", "program": "theirs", "metric": "own"}
    clock = ready(store, **named, failed_share=0.25, max_calls=9000)
    optimizer = ScriptedOptimizer()
    (refused,) = run(store, optimizer, clock)
    assert (refused.state, "'own'" in refused.reason) == ("failed", True)
    clock.forward(hours=2)
    optimizer.metrics["own"] = lambda _item, _produced: Grade(value=0.5, parts={})
    (done,) = run(store, optimizer, clock)
    assert done.state == "finished"
    recipe = optimizer.recipe
    assert (recipe.method, recipe.program, recipe.failed_share) == ("gepa", "theirs", 0.25)
    assert recipe.max_calls == 9000
    envelope = program_of(store).envelope
    assert {k: envelope[k] for k in named} == named
    with store.begin() as tx:
        found = runs.last_for(tx, domain="d")
        assert found is not None
        one_prompt = budget.planned(Policy(optimizer="gepa"), found.plan.validated_on, 9)
    assert found.plan.method == "gepa"
    assert found.plan.evaluation_calls > one_prompt.evaluation_calls, "it has two prompts"


@pytest.mark.criterion("7.2")
@pytest.mark.criterion("7.3")
@pytest.mark.criterion("7.4")
def test_growth_starts_the_next_run_and_only_a_better_program_replaces_the_incumbent(
    store: Store,
) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(0.6), clock)
    clock.forward(minutes=1)
    captured(store, [record(n) for n in range(200, 205)], batch="few")
    score(store, clock)
    assert run(store, ScriptedOptimizer(0.9), clock) == []
    captured(store, [record(n, topic="ratios") for n in range(300, 340)], batch="many")
    score(store, clock)
    (worse,) = run(store, ScriptedOptimizer(0.5), clock)
    assert "not activated" in worse.reason
    assert program_of(store).comparison.after == pytest.approx(0.6)
    assert program_of(store).stale
    clock.forward(minutes=1)
    captured(store, [record(n, topic="angles") for n in range(400, 460)], batch="more")
    score(store, clock)
    (better,) = run(store, ScriptedOptimizer(0.9), clock)
    assert "0.600 (incumbent) -> 0.900" in better.reason


@pytest.mark.criterion("3.1")
def test_too_few_examples_say_how_many_more(store: Store) -> None:
    clock = ready(store, 30)
    (found,) = planning.plan_due(store, model="m", clock=clock)
    assert found.run_id is None
    assert found.because[0] == "30 usable examples, 10 more needed"
    (shown,) = planning.status(store, domain="d", clock=clock)
    assert shown.because == found.because


@pytest.mark.criterion("3.1")
def test_a_cell_below_its_minimum_keeps_the_first_version_waiting_and_no_later_one(
    store: Store,
) -> None:
    wanted: dict[str, Any] = {"topics": ("sums", "ratios", "angles"),
                              "difficulties": ("easy", "medium", "hard")}  # fmt: skip
    clock = ready(store, 85, **wanted, cells=Cells(min=10))
    (found,) = planning.plan_due(store, model="m", clock=clock)
    short = [("ratios", "medium"), ("ratios", "hard")] + [
        ("angles", difficulty) for difficulty in ("easy", "medium", "hard")
    ]
    assert found.run_id is None
    assert list(found.because) == [f"{t}, {d}: 9 of at least 10" for t, d in short]
    (shown,) = planning.status(store, domain="d", clock=clock)
    assert shown.because == found.because
    captured(store, [record(100 + n, topic=t, difficulty=d) for n, (t, d) in enumerate(short)],
             batch="missing")  # fmt: skip
    score(store, clock)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"
    put(store, **wanted, cells=Cells(min=20))
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"


@pytest.mark.criterion("3.5")
def test_another_policy_starts_one_run_if_a_run_would_come_out_otherwise_and_none_if_not(
    store: Store,
) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    put(store, growth=0.3, alerts=AlertRules(parked=3), lifecycle=Lifecycle(max_admitted=500))
    assert run(store, ScriptedOptimizer(), clock) == []
    put(store, seed=11)
    clock.forward(minutes=1)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"
    assert run(store, ScriptedOptimizer(), clock) == []
    with store.begin() as tx:
        (newest, first) = runs.runs(tx, domain="d", limit=5)
    assert (newest.seed, newest.policy_version) == (11, 4)
    assert (first.policy_version, first.version_id) == (2, newest.version_id)


@pytest.mark.criterion("3.1")
def test_a_version_that_caps_keep_too_small_says_so(store: Store) -> None:
    clock = ready(store, 90, cells=Cells(max=4))
    (found,) = planning.plan_due(store, model="m", clock=clock)
    short, capped = found.because
    assert short == "36 usable examples, 4 more needed"
    assert capped.startswith("54 stay out by cells.max, cluster_cap or synthetic_share")


def frozen(store: Store) -> list[Admitted]:
    """What the newest version holds."""
    with store.begin() as tx:
        latest = dataset_rows.latest(tx, domain="d")
        assert latest
        return [m.example for m in dataset_rows.members(tx, version_id=latest.id)]


@pytest.mark.criterion("3.1")
def test_a_version_holds_no_more_of_a_cell_or_of_near_duplicates_than_the_policy_says(
    store: Store,
) -> None:
    clock = ready(store, 90, cells=Cells(max=6))
    run(store, ScriptedOptimizer(), clock)
    assert set(Counter(e.cell for e in frozen(store)).values()) == {6}
    twins = [
        record(n, outputs={**PROBLEM, "problem": f"A shop sells {n} red hats at {n + 5} coins."})
        for n in range(200, 230)
    ]
    captured(store, twins, batch="twins")
    score(store, clock)
    put(store, cluster_cap=2)
    run(store, ScriptedOptimizer(), clock)
    hats = [e for e in frozen(store) if "red hats" in str(e.outputs["problem"])]
    assert len(hats) == 2 < len(frozen(store))


@pytest.mark.criterion("3.1")
def test_a_run_beyond_the_days_calls_waits_for_the_next_day(store: Store) -> None:
    clock = ready(store, max_daily_calls=5000)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"
    with store.begin() as tx:
        (first,) = runs.runs(tx, domain="d", limit=5)
    least = first.plan.calls_at_most
    put(store, seed=11, max_calls=2 * least - 1, max_daily_calls=2 * least - 1)
    (found,) = planning.plan_due(store, model="m", clock=clock)
    assert f"those of the last 24 hours {least}" in found.because[0]
    with pytest.raises(NotReady, match="max_daily_calls is"):
        planning.retry(store, domain="d", model="m", clock=clock)
    clock.forward(hours=25)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"


def test_two_who_plan_at_once_stay_within_the_days_calls(store: Store) -> None:
    clock = ready(store)
    run(store, ScriptedOptimizer(), clock)
    with store.begin() as tx:
        (first,) = runs.runs(tx, domain="d", limit=5)
    least = first.plan.calls_at_most
    put(store, seed=11, max_calls=least, max_daily_calls=2 * least)
    with ThreadPoolExecutor(1) as threads:
        with store.begin() as tx:
            policy_rows.hold(tx, domain="d")
            other = threads.submit(planning.retry, store, domain="d", model="m", clock=clock)
            wait_for(lambda: waits(store), "the other one waits for this one")
            given = first.model_dump(
                include={"domain", "version_id", "policy_version", "seed", "auto", "model"}
            )
            run_id = runs.enqueue(tx, **given, plan=first.plan, now=clock())
            assert run_id
            assert runs.claim(tx, lease=LEASE, now=clock())
            runs.finish(tx, run_id=run_id, state="failed", reason="", outcome=None, now=clock())
        with pytest.raises(NotReady, match=f"last 24 hours {2 * least}"):
            other.result(timeout=30)


@pytest.mark.parametrize(
    ("policy", "because"),
    [
        ({"optimization": "hold"}, "the policy holds optimization"),
        ({"max_calls": 10}, "the policy allows 10"),
    ],
)
def test_a_policy_can_keep_a_ready_domain_from_running(
    store: Store, policy: dict[str, Any], because: str
) -> None:
    clock = ready(store, **policy)
    (found,) = planning.plan_due(store, model="m", clock=clock)
    assert found.run_id is None
    assert because in found.because[0]


def test_a_model_that_is_away_puts_the_run_off_and_never_scores_it(store: Store) -> None:
    clock = ready(store)
    optimizer = ScriptedOptimizer()
    optimizer.raises = ModelUnavailable("429")
    (waiting,) = run(store, optimizer, clock)
    assert waiting.state == "due"
    for _ in range(8):
        clock.forward(minutes=20)
        (waiting,) = run(store, optimizer, clock)
        assert waiting.state == "due"
    assert program_of(store) is None
    optimizer.raises = None
    clock.forward(minutes=20)
    (done,) = run(store, optimizer, clock)
    assert done.state == "finished"


def test_test_items_without_an_answer_end_the_run_and_a_person_may_try_again(store: Store) -> None:
    clock = ready(store)
    optimizer = ScriptedOptimizer()
    optimizer.fails_test = True
    (failed,) = run(store, optimizer, clock)
    assert failed.state == "failed"
    assert "got no usable answer: no answer" in failed.reason
    assert program_of(store) is None
    optimizer.fails_test = False
    assert run(store, optimizer, clock) == []
    planning.retry(store, domain="d", model="m", clock=clock)
    (done,) = run(store, optimizer, clock)
    assert done.state == "finished"
    with pytest.raises(NotReady, match="no dataset version"):
        planning.retry(store, domain=other(store), model="m", clock=clock)


def other(store: Store) -> str:
    policies.put(store, domain="other", author="test", now=NOW, policy=Policy())
    return "other"


def test_a_failed_run_is_tried_again_by_itself_after_an_hour(store: Store) -> None:
    clock = ready(store)
    optimizer = ScriptedOptimizer()
    optimizer.raises = ZeroDivisionError("a bug")
    (failed,) = run(store, optimizer, clock)
    assert failed == ("d", "failed", "ZeroDivisionError: a bug")
    clock.forward(minutes=59)
    assert run(store, optimizer, clock) == []
    optimizer.raises = None
    clock.forward(minutes=2)
    (done,) = run(store, optimizer, clock)
    assert done.state == "finished"


def test_a_run_whose_worker_dies_every_time_ends_as_failed(store: Store) -> None:
    clock = ready(store)
    planning.plan_due(store, model="m", clock=clock)
    for _ in range(5):
        with store.begin() as tx:
            assert runs.claim(tx, lease=LEASE, now=clock())
        clock.forward(seconds=61)
    (failed,) = run(store, ScriptedOptimizer(), clock)
    assert failed == ("d", "failed", "its worker died 5 times")


def test_a_slow_worker_that_lost_its_run_writes_nothing(store: Store) -> None:
    clock = ready(store)

    class Slow(ScriptedOptimizer):
        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            clock.forward(seconds=61)
            with store.begin() as tx:
                runs.claim(tx, lease=LEASE, now=clock())
            return super().evaluate(*args, **kwargs)

    with pytest.raises(Conflict):
        run(store, Slow(), clock)
    assert program_of(store) is None
    clock.forward(seconds=61)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"


def test_a_cancel_is_heard_even_while_the_test_split_is_scored(store: Store) -> None:
    clock = ready(store)

    class Asked(ScriptedOptimizer):
        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            planning.cancel(store, domain="d")
            return super().evaluate(*args, **kwargs)

    (cancelled,) = run(store, Asked(), clock)
    assert cancelled.state == "cancelled"
    assert program_of(store) is None
    assert not planning.cancel(store, domain="d")


def test_other_instructions_do_not_let_a_worse_program_win(store: Store) -> None:
    fields = {"inputs": {"topic": "text", "difficulty": "text"},
              "outputs": {"problem": "text", "answer": "text"}}  # fmt: skip
    clock = ready(store, signature=Signature(instructions="Write.", **fields))
    run(store, ScriptedOptimizer(0.9), clock)
    changed = Policy(min_examples=40, settle_seconds=0, audit_share=0,
                     signature=Signature(instructions="Write better.", **fields))  # fmt: skip
    policies.put(store, domain="d", author="test", now=NOW, policy=changed)
    (done,) = run(store, ScriptedOptimizer(0.4), clock)
    assert "0.900 (incumbent) -> 0.400" in done.reason
    assert program_of(store).comparison.after == pytest.approx(0.9)


def test_a_domain_at_its_cap_still_goes_on_when_enough_is_new(store: Store) -> None:
    clock = ready(store, 90, max_examples=90)
    run(store, ScriptedOptimizer(0.5), clock)
    clock.forward(minutes=1)
    captured(store, [record(n, topic="ratios") for n in range(300, 330)], batch="more")
    score(store, clock)
    (again,) = run(store, ScriptedOptimizer(0.9), clock)
    assert "activated" in again.reason


def test_a_steady_stream_does_not_put_the_first_run_off_for_ever(store: Store) -> None:
    clock = ready(store)
    policies.put(store, domain="d", author="test", now=NOW,
                 policy=Policy(min_examples=40, settle_seconds=60, audit_share=0))  # fmt: skip
    assert run(store, ScriptedOptimizer(), clock) == []
    clock.forward(minutes=11)
    capture.ingest(store, batch_id="late", records=json.dumps([record(500)]), now=clock())
    score(store, clock)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"


def test_a_blocked_or_cancelled_run_ends_with_the_reason(store: Store) -> None:
    clock = ready(store)
    optimizer = ScriptedOptimizer()
    optimizer.blocked = ["val[0] has no field topic"]
    (failed,) = run(store, optimizer, clock)
    assert (failed.state, failed.reason) == ("failed", "val[0] has no field topic")
    clock.forward(minutes=1)
    captured(store, [record(n) for n in range(300, 340)], batch="b2")
    score(store, clock)
    optimizer.blocked, optimizer.raises = [], Cancelled("asked to stop")
    (cancelled,) = run(store, optimizer, clock)
    assert cancelled.state == "cancelled"


def test_a_run_whose_worker_died_is_claimed_again(store: Store) -> None:
    clock = ready(store)
    planning.plan_due(store, model="m", clock=clock)
    with store.begin() as tx:
        assert runs.claim(tx, lease=LEASE, now=clock())
    assert run(store, ScriptedOptimizer(), clock) == []
    clock.forward(seconds=61)
    (done,) = run(store, ScriptedOptimizer(), clock)
    assert done.state == "finished"


def test_what_killed_attempts_paid_is_in_the_progress_of_those_that_follow(store: Store) -> None:
    clock = ready(store)
    planning.plan_due(store, model="m", clock=clock)
    for _ in range(2):
        with store.begin() as tx:
            killed = runs.claim(tx, lease=LEASE, now=clock())
        assert killed
        Follower(store, killed, clock, 2.0).spent(Spent("optimizing", 30, 15, 400, 1))
        clock.forward(seconds=61)
    (done,) = optimizing.run_due(
        store, optimizer=ScriptedOptimizer(), verifier=ScriptedVerifier(), clock=clock,
        lease=LEASE, price=2.0,
    )  # fmt: skip
    assert done.state == "finished"
    with store.begin() as tx:
        (one,) = runs.runs(tx, domain="d", limit=5)
    told = Progress.read(one.progress)
    assert (told.calls, told.paid, told.failed) == (20, 15 + 15 + 20, 0)
    assert (told.tokens, told.cost) == (400 + 400 + 100, 900 * 2 / 1e6)


def exported(store: Store, form: str) -> bytes:
    version = datasets.found(store, domain="d", version=None)
    return b"".join(exporting.pieces(exporting.described(store, version=version), form=form))


@pytest.mark.criterion("5.1")
def test_the_same_version_exports_the_same_bytes(store: Store) -> None:
    clock = ready(store)
    with pytest.raises(NotReady, match="no dataset version"):
        exported(store, "jsonl")
    run(store, ScriptedOptimizer(), clock)
    assert exported(store, "jsonl") == exported(store, "jsonl")
    document = json.loads(exported(store, "dspy"))
    assert set(document["train"][0]) == {
        "topic",
        "difficulty",
        "problem",
        "solution",
        "answer",
        "dspy_uid",
    }
    uids = [e["dspy_uid"] for s in ("train", "val", "test") for e in document[s]]
    assert len(set(uids)) == len(uids) == 90
