"""Scoring on a real database with a scripted model: claim, think, record."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import pytest

from tdsys.core.example import Candidate
from tdsys.core.lifecycle import Move, State
from tdsys.core.policy import Policy
from tdsys.core.rubric import Assessment, Judgement, Question, Unscored, drawn
from tdsys.errors import Conflict
from tdsys.stages import (
    curation,
    monitoring,
    policies,
    replaying,
    scoring,
)
from tdsys.stages.scoring import Limits
from tdsys.store import Store
from tests.factories import NOW, make_assessment, make_verdict
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier
from tests.stepping import (
    captured,
    put,
    record,
    score,
    states,
)


@pytest.mark.criterion("1.2")
@pytest.mark.criterion("1.3")
def test_a_bad_record_never_sinks_its_batch(store: Store) -> None:
    good = [record(n) for n in range(3)]
    bad = [
        {**record(8), "outputs": {"x": "\x00"}},
        {"domain": "d"},
        7,
        {**record(9), "capture_id": "not a uuid"},
    ]
    outcome = captured(store, [good[0], *bad, *good[1:]])
    assert (outcome.new, outcome.refused) == (3, 4)
    assert captured(store, [good[0], *bad, *good[1:]]).repeated
    assert states(store) == {"candidate": 3}


@pytest.mark.criterion("4.1")
@pytest.mark.criterion("4.2")
def test_everything_due_is_verified_judged_and_decided_once(store: Store) -> None:
    captured(store, [record(n) for n in range(25)])
    judge, clock = ScriptedJudge(), Clock()
    assert score(store, clock, judge) == (25, 0, False)
    assert states(store) == {"admitted": 25}
    assert len({i for i, _ in judge.asked}) == len(judge.asked) == 25
    assert score(store, clock, judge) == (0, 0, False)


@pytest.mark.criterion("4.3")
def test_what_the_evidence_refutes_is_rejected_with_its_reason(store: Store) -> None:
    captured(store, [record(1)])
    score(store, Clock(), verifier=ScriptedVerifier(make_verdict(steps="failed")))
    (reason,) = monitoring.funnel(store).reasons
    assert (reason.state, reason.reason) == ("rejected", "steps")


def test_what_scores_alone_decide_is_drawn_by_lot_for_a_person(store: Store) -> None:
    policies.put(store, domain="d", author="t", now=NOW, policy=Policy(audit_share=0.3))
    captured(store, [record(n) for n in range(40)])
    score(store, Clock(), ScriptedJudge(lambda c: make_assessment(0.1 if c.id % 2 else 0.9)))
    with store.begin() as tx:
        found = tx.exec_driver_sql(
            "SELECT e.fingerprint, e.state, e.reason, e.quality, t.detail"
            " FROM examples e JOIN transitions t ON t.example_id = e.id"
        ).all()
    audits = [one for one in found if one.reason == "audit"]
    assert {one.fingerprint for one in audits} == {
        one.fingerprint for one in found if drawn(one.fingerprint, 0.3)
    }
    assert {one.state for one in audits} == {"in_review"}
    assert all(
        ("else admit" if one.quality > 0.5 else "else reject") in one.detail for one in audits
    )
    assert 4 <= len(audits) <= 20


def test_an_unusable_answer_is_asked_again_with_a_fresh_sample_and_then_parked(
    store: Store,
) -> None:
    captured(store, [record(1)])
    judge, clock = ScriptedJudge(lambda _: Unscored(reason="unparseable")), Clock()
    for _ in range(6):
        score(store, clock, judge)
        clock.forward(minutes=20)
    assert [attempt for _, attempt in judge.asked] == [0, 1, 2]
    assert states(store) == {"parked": 1}


def test_a_model_that_is_away_never_parks_and_never_scores_zero(store: Store) -> None:
    captured(store, [record(1)])
    away = ScriptedJudge(lambda _: Unscored(reason="unavailable", transient=True))
    clock = Clock()
    for _ in range(6):
        assert score(store, clock, away).decided == 0
        clock.forward(minutes=20)
    assert states(store) == {"candidate": 1}
    score(store, clock)
    assert states(store) == {"admitted": 1}


def test_one_unusable_answer_does_not_hold_up_its_block(store: Store) -> None:
    captured(store, [record(n) for n in range(10)])

    def answer(candidate: Candidate) -> Assessment | Unscored:
        return Unscored(reason="unparseable") if candidate.id % 5 == 0 else make_assessment()

    outcome = score(store, Clock(), ScriptedJudge(answer))
    assert (outcome.decided, outcome.postponed) == (8, 2)


def test_a_candidate_that_crashes_the_code_is_parked_and_its_neighbours_are_not(
    store: Store,
) -> None:
    captured(store, [record(n) for n in range(6)])
    clock = Clock()

    class Fragile(ScriptedVerifier):
        def verify(self, domain: str, inputs: Any, outputs: Any) -> Any:
            if "Number 3" in str(outputs["problem"]):
                raise ZeroDivisionError("a bug")
            return super().verify(domain, inputs, outputs)

    for _ in range(4):
        score(store, clock, verifier=Fragile())
        clock.forward(minutes=20)
    assert states(store) == {"admitted": 5, "parked": 1}
    (parked,) = [r for r in monitoring.funnel(store).reasons if r.state == "parked"]
    assert parked.reason == "crash"


def test_a_worker_that_died_while_thinking_leaves_its_candidates_to_the_next(store: Store) -> None:
    captured(store, [record(n) for n in range(5)])
    clock = Clock()

    class Dying(ScriptedJudge):
        def ask(self, question: Question) -> Future[Judgement | Unscored]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(store, clock, Dying())
    assert score(store, clock).decided == 0
    clock.forward(seconds=61)
    assert score(store, clock).decided == 5


@pytest.mark.criterion("3.1")
def test_a_cell_that_is_not_wanted_goes_to_a_person_with_the_reason(store: Store) -> None:
    put(store, topics=("SUMS",), difficulties=("easy",))
    cells = [(" Sums", "EASY"), ("angles", "easy"), ("sums", "odd")]
    captured(store, [record(n, topic=t, difficulty=d) for n, (t, d) in enumerate(cells)])
    score(store, Clock())
    told = {(r.state, r.reason): r.n for r in monitoring.funnel(store).reasons}
    assert told == {
        ("admitted", "meets_policy"): 1,
        ("in_review", "unwanted_topic"): 1,
        ("in_review", "unwanted_difficulty"): 1,
    }


@pytest.mark.criterion("3.5")
def test_what_was_admitted_to_a_cell_stays_until_a_replay(store: Store) -> None:
    captured(store, [record(n, topic=("sums", "angles")[n % 2]) for n in range(4)])
    score(store, Clock())
    put(store, topics=("sums",))
    assert states(store) == {"admitted": 4}
    replaying.replay(store, domain="d", actor="ann", clock=Clock())
    assert states(store) == {"admitted": 2, "in_review": 2}
    put(store)
    replaying.replay(store, domain="d", actor="ann", clock=Clock())
    assert states(store) == {"admitted": 4}


def test_a_person_decides_what_waits_for_one(store: Store) -> None:
    captured(store, [record(1)])
    score(store, Clock(), verifier=ScriptedVerifier(make_verdict(injection="suspicious")))
    (waiting,) = curation.listed(store, state=State.IN_REVIEW, domain=None, limit=10)
    assert (waiting.reason, waiting.domain) == ("injection", "d")
    after = curation.move(store, example_id=waiting.id, move=Move.APPROVE, reason="fine",
                          actor="ann", now=NOW)  # fmt: skip
    assert after is State.ADMITTED
    with pytest.raises(Conflict):
        curation.move(store, example_id=waiting.id, move=Move.APPROVE, reason="again",
                      actor="ann", now=NOW)  # fmt: skip


def test_what_the_evidence_refutes_needs_no_judge(store: Store) -> None:
    captured(store, [record(1)])
    away = ScriptedJudge(lambda _: Unscored(reason="model_unavailable", transient=True))
    outcome = score(store, Clock(), away, ScriptedVerifier(make_verdict(answer="failed")))
    assert outcome.decided == 1
    assert states(store) == {"rejected": 1}


def test_a_lease_is_kept_while_the_judge_thinks(store: Store) -> None:
    captured(store, [record(n) for n in range(3)])
    beaten = threading.Event()

    class Slow(ScriptedJudge):
        def ask(self, question: Question) -> Future[Judgement | Unscored]:
            assert beaten.wait(20), "the lease was not extended"
            return super().ask(question)

    class Running(Clock):
        def __call__(self) -> datetime:
            if threading.current_thread().name == "tdsys-lease":
                beaten.set()
            return super().__call__()

    limits = Limits(block=10, lease=timedelta(seconds=1), max_attempts=3)
    scored = scoring.score_due(
        store, judge=Slow(), verifier=ScriptedVerifier(), clock=Running(), limits=limits
    )
    assert scored.decided == 3


def test_what_is_due_while_the_model_thinks_is_asked_about_before_it_has_answered(
    store: Store,
) -> None:
    captured(store, [record(1)])
    waiting: list[tuple[Future[Judgement | Unscored], Question]] = []

    class Slow(ScriptedJudge):
        """Answers nobody before it has been asked about both."""

        def ask(self, question: Question) -> Future[Judgement | Unscored]:
            answer: Future[Judgement | Unscored] = Future()
            waiting.append((answer, question))
            if len(waiting) == 1:
                captured(store, [record(2)], batch="b2")
                return answer
            for each, asked in waiting:
                each.set_result(self.said(asked))
            return answer

    assert score(store, Clock(), Slow()).decided == 2
