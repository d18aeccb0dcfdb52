"""Candidates are claimed by one worker at a time and decided once, with a row that says why."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from tdsys.core.lifecycle import MOVES, Move, State
from tdsys.core.rubric import Decision, Unscored
from tdsys.errors import Conflict, InvalidInput
from tdsys.store import Store, Tx, examples
from tdsys.store.schema import examples as examples_table
from tdsys.store.schema import scores, transitions
from tests.factories import NOW, make_assessment, make_capture, make_captures, make_verdict
from tests.stored import (
    ADMIT,
    LEASE,
    admit,
    claim,
    count,
    decide,
    die,
    in_one_transaction,
    ingest,
)

UNSCORED = Unscored(reason="unparseable", detail="no number")
SOON = NOW + timedelta(seconds=10)


def moved(tx: Tx, move: Move, *, example_id: int = 1, **over: Any) -> State:
    given = {"reason": "a person", "detail": "", "actor": "ann", "policy_version": 1, "now": NOW}
    return examples.move(tx, example_id=example_id, move=move, **{**given, **over})


def state(tx: Tx, example_id: int = 1) -> str:
    return str(tx.scalar(select(examples_table.c.state).where(examples_table.c.id == example_id)))


def test_two_workers_never_claim_the_same_candidate(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(60))
    together = Barrier(4)

    def work(_: int) -> list[int]:
        with store.begin() as tx:
            together.wait()
            claimed = claim(tx, limit=10)
            together.wait()  # all hold their rows before anybody commits
        return [c.id for c in claimed]

    with ThreadPoolExecutor(4) as threads:
        claims = list(threads.map(work, range(4)))
    assert [len(found) for found in claims] == [10] * 4
    assert len({i for found in claims for i in found}) == 40


def test_a_claim_takes_what_is_due_longest_and_no_more_than_asked(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(3))
        tx.execute(text("UPDATE examples SET due_at = due_at - id * interval '1 hour'"))
        assert [c.id for c in claim(tx, limit=1)] == [3]
        assert [c.id for c in claim(tx, limit=9)] == [1, 2]
        assert claim(tx) == []


def test_a_lease_that_ran_out_is_claimed_again_and_counted(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        assert [c.attempts for c in claim(tx)] == [1]
        assert claim(tx, now=NOW + LEASE - timedelta(seconds=1)) == []
        assert [c.attempts for c in claim(tx, now=NOW + LEASE)] == [2]


def test_a_worker_that_dies_before_it_commits_claims_nothing(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
    with pytest.raises(ZeroDivisionError):
        in_one_transaction(store, claim, die)
    with store.begin() as tx:
        assert [c.attempts for c in claim(tx)] == [1]


@pytest.mark.criterion("4.1")
@pytest.mark.criterion("4.2")
def test_a_decision_is_stored_with_the_scores_that_led_to_it(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (candidate,) = claim(tx)
        verdict, answer = make_verdict(), make_assessment(0.5, accuracy=0.25)
        assert decide(tx, candidate, verdict=verdict, answer=answer, policy_version=7, now=SOON)
        evidence, judged = tx.execute(select(scores).order_by(scores.c.id)).all()
        (why,) = tx.execute(select(transitions)).all()
        kept = tx.execute(select(examples_table)).one()
    assert evidence.verdict == verdict.model_dump(mode="json")
    assert (judged.accuracy, judged.coherence, judged.relevance) == (0.25, 0.5, 0.5)
    assert judged.rationales["educational_value"] == "because"
    assert (judged.judge_model, judged.rubric_version, judged.policy_version) == (
        "scripted",
        "r1",
        7,
    )
    assert (why.from_state, why.to_state, why.move) == ("candidate", "admitted", "admit")
    assert (why.reason, why.actor, why.score_id, why.at) == (
        "meets_policy",
        "test",
        judged.id,
        SOON,
    )
    assert (kept.state, kept.quality, kept.due_at, kept.moved_at) == ("admitted", 0.75, None, SOON)


def test_of_two_who_record_the_same_candidate_only_the_first_writes(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (slow,) = claim(tx)
        (fast,) = claim(tx, now=NOW + LEASE)
    with store.begin() as tx:
        assert decide(tx, fast)
    with store.begin() as tx:
        assert not decide(tx, slow, Decision(move=Move.REJECT, reason="late", quality=0.1))
        assert (count(tx, "transitions"), count(tx, "scores")) == (1, 2)
        assert state(tx) == "admitted"


def test_two_who_record_at_the_same_moment_write_one_decision(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(20))
        claimed = claim(tx)
    together = Barrier(2)

    def work(_: int) -> list[bool]:
        together.wait()
        with store.begin() as tx:
            return [decide(tx, candidate) for candidate in claimed]

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(work, range(2))
    assert [a + b for a, b in zip(first, second, strict=True)] == [1] * 20
    with store.begin() as tx:
        assert (count(tx, "transitions"), count(tx, "scores")) == (20, 40)


def test_an_answer_after_the_lease_still_counts_when_nobody_was_faster(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (slow,) = claim(tx)
        claim(tx, now=NOW + LEASE)
        assert decide(tx, slow)


def test_an_unscored_candidate_waits_for_its_time_and_is_no_zero(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (candidate,) = claim(tx)
        retry(tx, candidate)
        row = tx.execute(select(scores).where(scores.c.kind == "judge")).one()
        assert (row.outcome, row.accuracy, row.reason) == (
            "unscored",
            None,
            "unparseable: no number",
        )
        assert claim(tx, now=SOON - timedelta(seconds=1)) == []
        assert [c.attempts for c in claim(tx, now=SOON)] == [2]


def retry(tx: Tx, candidate: Any) -> None:
    heard = examples.Heard(candidate, make_verdict(), UNSCORED, 1)
    examples.retry(tx, heard=heard, due_at=SOON, now=NOW)


def test_a_retry_by_somebody_who_lost_the_lease_writes_nothing(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (slow,) = claim(tx)
        (fast,) = claim(tx, now=NOW + LEASE)
        retry(tx, slow)
        assert count(tx, "scores") == 0
        decide(tx, fast)
        retry(tx, fast)
        assert (count(tx, "scores"), state(tx)) == (2, "admitted")


def test_a_candidate_nobody_can_score_is_parked_without_a_number(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (candidate,) = claim(tx)
        decide(tx, candidate, Decision(move=Move.PARK, reason="unparseable"), answer=UNSCORED)
        row = tx.execute(select(examples_table)).one()
        assert (row.state, row.quality, row.due_at) == ("parked", None, None)
        assert claim(tx, now=NOW + timedelta(days=9)) == []
        assert moved(tx, Move.UNPARK, now=SOON) is State.CANDIDATE
        assert [c.attempts for c in claim(tx, now=SOON)] == [1]


def test_a_models_words_are_kept_even_where_postgres_cannot_hold_them(store: Store) -> None:
    answer = make_assessment()
    odd = {d: s.model_copy(update={"rationale": "a\x00b\ud800"}) for d, s in answer.scores.items()}
    decision = ADMIT.model_copy(update={"detail": "\x00" * 3})
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (candidate,) = claim(tx)
        decide(tx, candidate, decision, answer=answer.model_copy(update={"scores": odd}))
        judged = tx.execute(select(scores).where(scores.c.kind == "judge")).one()
        assert judged.rationales["accuracy"] == "a\ufffdb\ufffd"
        assert tx.scalar(select(transitions.c.detail)) == "\ufffd" * 3


@pytest.mark.criterion("4.4")
def test_a_person_approves_what_is_in_review(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (candidate,) = claim(tx)
        decide(tx, candidate, Decision(move=Move.REVIEW, reason="unsure_quality", quality=0.5))
        assert moved(tx, Move.APPROVE, reason="fine", actor="ann", now=SOON) is State.ADMITTED
        why = tx.execute(select(transitions).order_by(transitions.c.id.desc())).first()
    assert why is not None
    assert (why.move, why.reason, why.actor, why.at) == ("approve", "fine", "ann", SOON)


def test_an_illegal_move_is_a_conflict_and_writes_nothing(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(1))
        with pytest.raises(Conflict, match="an example that is admitted cannot unpark"):
            moved(tx, Move.UNPARK)
        assert (count(tx, "transitions"), state(tx)) == (1, "admitted")


def test_nothing_without_a_score_is_admitted_by_hand(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        with pytest.raises(Conflict, match="has no score yet"):
            moved(tx, Move.ADMIT)
        assert state(tx) == "candidate"


def test_an_example_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(InvalidInput, match="there is no example 77"), store.begin() as tx:
        moved(tx, Move.RETIRE, example_id=77)


def test_a_person_who_is_faster_than_the_judge_wins(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(1))
        (candidate,) = claim(tx)
        moved(tx, Move.REJECT)
        assert not decide(tx, candidate)
        assert state(tx) == "rejected"


def test_admitted_examples_come_in_the_order_of_their_fingerprints(store: Store) -> None:
    captures = make_captures(12)
    with store.begin() as tx:
        admit(tx, captures)
        moved(tx, Move.RETIRE)
        ingest(tx, [make_capture()])
        found = examples.admitted(tx, domain="arithmetic")
        assert examples.admitted(tx, domain="algebra") == []
    assert [e.fingerprint for e in found] == sorted(e.fingerprint for e in found)
    assert {e.fingerprint for e in found} < {c.fingerprint.hex() for c in captures}
    assert len(found) == 11
    assert {e.quality for e in found} == {0.75}
    assert list(found[0].outputs) == ["problem", "solution", "answer"]


@given(st.lists(st.sampled_from([*Move, "judge", "claim"]), max_size=14))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_to_an_example_keeps_to_the_table_and_is_explained(
    store: Store, steps: list[Any]
) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture()])
        example_id = int(tx.scalar(text("SELECT max(id) FROM examples")) or 0)
        expected, quality, now = State.CANDIDATE, None, NOW
        for step in steps:
            now += 2 * LEASE
            if step == "claim":
                assert [c.id for c in claim(tx, now=now)] == (
                    [example_id] if expected is State.CANDIDATE else []
                )
            elif step == "judge":
                for candidate in claim(tx, now=now):
                    assert decide(tx, candidate, now=now)
                    expected, quality = State.ADMITTED, ADMIT.quality
            elif (expected, step) in MOVES and not (
                MOVES[expected, step] is State.ADMITTED and quality is None
            ):
                expected = moved(tx, step, example_id=example_id, now=now)
            else:
                with pytest.raises(Conflict):
                    moved(tx, step, example_id=example_id, now=now)
            assert state(tx, example_id) == expected
        tx.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        walk = tx.execute(
            select(transitions.c.from_state, transitions.c.move, transitions.c.to_state)
            .where(transitions.c.example_id == example_id)
            .order_by(transitions.c.id)
        ).all()
        tx.rollback()
    assert all(MOVES[State(a), Move(m)] == b for a, m, b in walk)
    ends = [State.CANDIDATE.value, *(row.to_state for row in walk)]
    assert ends[:-1] == [row.from_state for row in walk]
    assert ends[-1] == expected
