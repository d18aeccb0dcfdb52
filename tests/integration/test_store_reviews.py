"""What waits for a person is one person's at a time, decided once, and can be taken back."""

from __future__ import annotations

import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from tdsys.core.lifecycle import Move
from tdsys.core.panel import together
from tdsys.core.policy import Policy
from tdsys.core.reviewing import Act
from tdsys.core.rubric import Assessment, Juror
from tdsys.errors import Conflict
from tdsys.store import Store, examples, invariants, policies, reviews, waiting
from tdsys.store.review_schema import review_events
from tdsys.store.review_schema import reviews as queue
from tdsys.store.reviews import Edit, Form, Said, Wish, claims
from tdsys.store.schema import examples as examples_table
from tests.factories import NOW, make_assessment, make_judgement, make_verdict
from tests.processes import wait_for
from tests.reviewing import LEASE, REVIEW, SOON, make_waiting, say, take, taken
from tests.stored import claim, count, decide, waits

BETTER = Edit(
    {"topic": "products", "difficulty": "easy"},
    {
        "problem": "A shop sells 4 trays of 5 buns. How many buns is that?",
        "solution": "4*5=<<4*5=20>>20 buns.",
        "answer": "20",
    },
)


def back(store: Store, name: str = "ann", *, now: Any = SOON, token: Any = None) -> Said:
    with store.begin() as tx:
        return reviews.undo(tx, person=name, token=token or uuid.uuid4(), lease=LEASE, now=now)


def rows(store: Store, query: str) -> list[Any]:
    with store.begin() as tx:
        return list(tx.execute(text(query)).all())


def everything_holds(store: Store) -> None:
    with store.begin() as tx:
        times = {"overdue": NOW - timedelta(days=1), "farthest": NOW + timedelta(days=1)}
        broken = [invariants.check(tx, one, **times) for one in invariants.INVARIANTS]
    assert [one for one in broken if not one.holds] == []


def two_people(store: Store, *, domain: str = "arithmetic") -> None:
    with store.begin() as tx:
        policies.put(tx, domain=domain, policy=Policy(second_reviews=1.0), author="test", now=NOW)


def test_jurors_that_are_apart_make_a_look_worth_its_time(store: Store) -> None:
    jurors = [Juror(model="m", rubric="r1", prompt=p) for p in ("plain", "doubting")]
    said = [make_judgement(j, make_assessment(v)) for j, v in zip(jurors, (0.9, 0.3), strict=True)]
    panel = together(said, make_verdict())
    assert isinstance(panel, Assessment)
    (apart,) = make_waiting(store, answer=panel)
    with store.begin() as tx:
        why = tx.scalars(
            text("SELECT why FROM reviews WHERE example_id = :id"), {"id": apart}
        ).one()
    assert why[0]["name"] == "disagreement"
    assert "the judges are 0.60 apart" in why[0]["says"]


def test_whoever_moves_an_example_into_review_queues_it_with_the_value_of_a_look(
    store: Store,
) -> None:
    (scored,) = make_waiting(store)
    with store.begin() as tx:
        (row,) = tx.execute(select(queue)).all()
        assert (row.example_id, row.domain, row.topic) == (scored, "arithmetic", "sums")
        assert row.valued_at == NOW
        assert {part["name"] for part in row.why} >= {"scarce", "threshold"}
        examples.move(tx, example_id=scored, move=Move.APPROVE, reason="r", detail="",
                      actor="ann", policy_version=1, now=NOW)  # fmt: skip
        assert count(tx, "reviews") == 0
        examples.move(tx, example_id=scored, move=Move.FLAG, reason="r", detail="",
                      actor="ann", policy_version=1, now=SOON)  # fmt: skip
        (row,) = tx.execute(select(queue)).all()
    assert row.why[0]["name"] == "called"
    everything_holds(store)


def test_the_most_valuable_look_comes_first(store: Store) -> None:
    make_waiting(store, 2)
    (doubted,) = make_waiting(store, domain="algebra", verdict=make_verdict(steps="suspicious"))
    assert taken(store).example_id == doubted


def test_two_people_never_hold_the_same_example(store: Store) -> None:
    make_waiting(store, 12)
    together = Barrier(6)

    def work(n: int) -> int:
        together.wait()
        return taken(store, f"p{n}").example_id

    with ThreadPoolExecutor(6) as threads:
        held = list(threads.map(work, range(6)))
    assert len(set(held)) == 6


def test_whoever_reloads_gets_back_what_they_hold(store: Store) -> None:
    make_waiting(store, 3)
    first = taken(store)
    assert taken(store, now=SOON).token == first.token


def test_a_lease_that_ran_out_is_somebody_elses(store: Store) -> None:
    make_waiting(store)
    mine = taken(store)
    assert take(store, "bob") is None
    theirs = taken(store, "bob", now=NOW + LEASE)
    assert theirs.token != mine.token
    with pytest.raises(Conflict, match="somebody else's hands"):
        say(store, mine, Act.APPROVE, now=NOW + LEASE)
    assert say(store, theirs, Act.APPROVE, "bob", now=NOW + LEASE).state == "admitted"


def test_who_decides_too_late_changes_nothing(store: Store) -> None:
    make_waiting(store)
    mine = taken(store)
    with pytest.raises(Conflict, match="your time with this example ran out"):
        say(store, mine, Act.APPROVE, now=NOW + LEASE)
    assert rows(store, "SELECT state FROM examples") == [("in_review",)]
    assert rows(store, "SELECT count(*) FROM review_events") == [(0,)]


def test_a_lease_is_extended_while_it_is_theirs(store: Store) -> None:
    make_waiting(store)
    held = taken(store)

    def extended(now: Any, name: str = "ann") -> bool:
        with store.begin() as tx:
            return reviews.extend(tx, token=held.token, person=name, lease=LEASE, now=now)

    later = NOW + timedelta(minutes=9)
    assert not extended(later, "bob")
    assert extended(later)
    assert take(store, "bob", now=NOW + LEASE) is None
    assert not extended(later + LEASE)


def test_of_thirty_two_who_decide_one_example_one_wins(store: Store) -> None:
    make_waiting(store)
    held = taken(store)
    together = Barrier(8)

    def work(n: int) -> Said | None:
        if n < 8:
            together.wait()
        stranger = Form(held.example_id, uuid.uuid4(), held.version, Act.REJECT, "off_topic")
        mine = Form(held.example_id, held.token, held.version, Act.APPROVE)
        try:
            with store.begin() as tx:
                return reviews.decide(tx, form=mine if n % 2 else stranger, person="ann", now=SOON)
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(work, range(32)))
    assert [one is None for one in said] == [True, False] * 16
    answers = [one for one in said if one]
    assert len({one.event_id for one in answers}) == 1
    assert sum(not one.repeated for one in answers) == 1
    assert rows(store, "SELECT count(*) FROM review_events") == [(1,)]
    assert rows(store, "SELECT count(*) FROM transitions WHERE move = 'approve'") == [(1,)]
    everything_holds(store)


@pytest.mark.criterion("4.4")
def test_a_decision_is_written_down_with_what_was_before(store: Store) -> None:
    make_waiting(store)
    say(store, taken(store), Act.REJECT, reason="off_topic", detail="about bread")
    with store.begin() as tx:
        (event,) = tx.execute(select(review_events)).all()
    assert (event.person, event.act, event.reason, event.detail, event.seconds) == (
        "ann", "reject", "off_topic", "about bread", 20.0,
    )  # fmt: skip
    assert event.before["example"]["state"] == "in_review"
    assert event.after["state"] == "rejected"
    steps = rows(store, "SELECT move, reason, actor FROM transitions ORDER BY id")
    assert steps[-1] == ("reject", "off_topic", "ann")


@pytest.mark.parametrize(
    "change", ["UPDATE review_events SET reason = ''", "DELETE FROM review_events"]
)
def test_what_people_said_is_never_rewritten(store: Store, change: str) -> None:
    make_waiting(store)
    say(store, taken(store), Act.APPROVE)
    with pytest.raises(IntegrityError, match="append-only"), store.begin() as tx:
        tx.execute(text(change))


def test_what_is_skipped_comes_back_later_and_to_others_at_once(store: Store) -> None:
    (one,) = make_waiting(store)
    say(store, taken(store), Act.SKIP)
    assert take(store, now=SOON) is None
    other = taken(store, "bob", now=SOON)
    assert other.example_id == one
    with store.begin() as tx:
        reviews.let_go(tx, person="bob")
    assert taken(store, now=SOON + timedelta(minutes=31)).example_id == one


def test_what_is_flagged_waits_for_a_curator(store: Store) -> None:
    (one,) = make_waiting(store)
    say(store, taken(store), Act.FLAG, detail="is this true?")
    assert take(store, "bob", now=SOON) is None
    held = taken(store, "cora", now=SOON, for_curator=True)
    assert (held.example_id, held.version) == (one, 1)
    assert say(store, held, Act.APPROVE, "cora", now=SOON + timedelta(1e-5)).state == "admitted"


def test_nobody_is_shown_what_is_not_theirs(store: Store) -> None:
    make_waiting(store)
    make_waiting(store, domain="algebra")
    assert taken(store, domains=["algebra"]).domain == "algebra"
    assert take(store, "bob", domains=["algebra"], domain="arithmetic") is None
    assert take(store, "bob", domains=[]) is None
    assert take(store, "bob", topic="no such") is None
    assert taken(store, "bob", topic="sums").domain == "arithmetic"


@pytest.mark.parametrize(
    ("act", "over"),
    [(Act.APPROVE, {}), (Act.REJECT, {"reason": "duplicate"}), (Act.EDIT, {"edit": BETTER}),
     (Act.SKIP, {}), (Act.FLAG, {})],
)  # fmt: skip
def test_an_undo_restores_exactly(store: Store, act: Act, over: dict[str, Any]) -> None:
    make_waiting(store)
    state = (
        "SELECT e.id, fingerprint, domain, topic, difficulty, state, quality, reason, due_at,"
        " moved_at, payload::text FROM examples e JOIN example_bodies ON example_id = e.id"
    )
    place = "SELECT entry, rank, why, needs, for_curator, entered_at, valued_at FROM reviews"
    before = rows(store, state), rows(store, place)
    say(store, taken(store), act, **over)
    later = SOON + timedelta(minutes=5)
    back(store, now=later)
    assert (rows(store, state), rows(store, place)) == before
    held = taken(store, now=later)
    assert say(store, held, Act.APPROVE, now=later).state == "admitted"
    everything_holds(store)


def test_an_undo_that_is_sent_twice_undoes_once(store: Store) -> None:
    make_waiting(store, 2)
    say(store, taken(store), Act.APPROVE)
    say(store, taken(store, now=SOON), Act.APPROVE)
    token = uuid.uuid4()
    first, again = back(store, token=token), back(store, token=token)
    assert (first.event_id, first.repeated) == (again.event_id, False)
    assert again.repeated
    assert rows(store, "SELECT count(*) FROM reviews") == [(1,)]


def test_only_ones_own_last_act_is_taken_back(store: Store) -> None:
    first, second = (make_waiting(store), make_waiting(store, domain="algebra"))
    del first, second
    mine = taken(store)
    say(store, mine, Act.APPROVE)
    with pytest.raises(Conflict, match="you decided nothing"):
        back(store, "bob")
    with pytest.raises(Conflict, match="you decided nothing"):
        back(store, now=SOON + timedelta(minutes=11))
    assert back(store).example_id == mine.example_id


def test_nothing_is_taken_back_once_something_happened_to_it(store: Store) -> None:
    make_waiting(store)
    held = taken(store)
    say(store, held, Act.APPROVE)
    with store.begin() as tx:
        examples.move(tx, example_id=held.example_id, move=Move.RETIRE, reason="r", detail="",
                      actor="op", policy_version=1, now=SOON)  # fmt: skip
    with pytest.raises(Conflict, match="something happened"):
        back(store)
    assert rows(store, "SELECT state FROM examples") == [("retired",)]


def test_a_skip_is_not_taken_back_from_under_somebody_elses_eyes(store: Store) -> None:
    make_waiting(store)
    say(store, taken(store), Act.SKIP)
    taken(store, "bob", now=SOON)
    with pytest.raises(Conflict, match="somebody else is looking"):
        back(store)


def test_an_edit_is_judged_anew_with_the_editors_word(store: Store) -> None:
    make_waiting(store)
    held = taken(store)
    said = say(store, held, Act.EDIT, edit=BETTER)
    assert said.state == "candidate"
    with store.begin() as tx:
        (candidate,) = claim(tx, now=SOON)
        (old,) = reviews.revisions(tx, example_id=held.example_id)
    assert candidate.outputs == BETTER.outputs
    assert (candidate.trusted_by, candidate.revision, candidate.topic) == ("ann", 1, "products")
    assert old.payload["outputs"]["answer"] == "6"
    assert old.last_score_id == 2
    everything_holds(store)


def test_what_was_judged_before_an_edit_decides_nothing_after_it(store: Store) -> None:
    (one,) = make_waiting(store)
    with store.begin() as tx:
        examples.move(tx, example_id=one, move=Move.REPLAY, reason="r", detail="", actor="op",
                      policy_version=1, now=NOW)  # fmt: skip
        (slow,) = claim(tx)
        (quick,) = claim(tx, now=NOW + LEASE)
        assert decide(tx, quick, REVIEW, answer=make_assessment(0.5))
    say(store, taken(store, now=SOON), Act.EDIT, edit=BETTER)
    with store.begin() as tx:
        assert not decide(tx, slow)
        assert tx.scalar(select(examples_table.c.state)) == "candidate"


def test_an_edit_into_what_is_there_already_says_where(store: Store) -> None:
    first, second = make_waiting(store, 2)
    with store.begin() as tx:
        there = reviews.seen(tx, example_id=second)
    assert there is not None
    held = taken(store)
    assert held.example_id == first
    edit = Edit(there.payload["inputs"], there.payload["outputs"])
    with pytest.raises(Conflict, match=rf"example {second} \(in_review\) already"):
        say(store, held, Act.EDIT, edit=edit)
    assert rows(store, "SELECT count(*) FROM example_revisions") == [(0,)]
    assert say(store, held, Act.REJECT, reason="duplicate").state == "rejected"


def test_two_people_decide_alone_and_agree(store: Store) -> None:
    make_waiting(store, domain="warm up")
    two_people(store)
    (one,) = make_waiting(store)
    wish: dict[str, Any] = {"domain": "arithmetic"}
    assert say(store, taken(store, **wish), Act.APPROVE).state == "in_review"
    assert take(store, now=SOON, **wish) is None
    second = taken(store, "bob", now=SOON, **wish)
    assert say(store, second, Act.APPROVE, "bob", now=SOON + timedelta(1e-5)).state == "admitted"
    with store.begin() as tx:
        words = [(r.example_id, r.rater, r.decision) for r in reviews.ratings(tx)]
    assert words == [(one, "ann", "approve"), (one, "bob", "approve")]
    everything_holds(store)


def test_two_who_differ_leave_it_to_a_curator(store: Store) -> None:
    two_people(store)
    make_waiting(store)
    say(store, taken(store), Act.APPROVE)
    second = taken(store, "bob", now=SOON)
    said = say(store, second, Act.REJECT, "bob", reason="off_topic")
    assert said.state == "in_review"
    assert take(store, "cora", now=SOON) is None
    held = taken(store, "cora", now=SOON, for_curator=True)
    assert say(store, held, Act.REJECT, "cora", reason="off_topic").state == "rejected"
    with store.begin() as tx:
        assert [r.decision for r in reviews.ratings(tx)] == ["approve", "reject", "reject"]


def test_a_first_word_that_was_taken_back_is_none(store: Store) -> None:
    two_people(store)
    make_waiting(store)
    say(store, taken(store), Act.APPROVE)
    back(store)
    assert say(store, taken(store, now=SOON), Act.REJECT, reason="off_topic").state == "in_review"
    second = taken(store, "bob", now=SOON)
    assert say(store, second, Act.REJECT, "bob", reason="off_topic").state == "rejected"
    with store.begin() as tx:
        assert [r.decision for r in reviews.ratings(tx)] == ["reject", "reject"]


def test_a_draft_is_kept_for_each_person_until_it_is_sent(store: Store) -> None:
    make_waiting(store)
    held = taken(store)
    content = {"reason": "it is"}
    with store.begin() as tx:
        assert reviews.save_draft(tx, token=held.token, person="ann", content=content, now=NOW)
        assert not reviews.save_draft(tx, token=held.token, person="bob", content={}, now=NOW)
        assert reviews.draft(tx, example_id=held.example_id, person="ann") == content
    say(store, held, Act.APPROVE)
    with store.begin() as tx:
        assert reviews.draft(tx, example_id=held.example_id, person="ann") is None


def test_what_waits_is_appraised_again_when_cells_fill(store: Store) -> None:
    ids = make_waiting(store, 22)

    def scarce() -> float:
        with store.begin() as tx:
            why = tx.scalars(select(queue.c.why).where(queue.c.example_id == ids[0])).one()
        return next((p["weight"] for p in why if p["name"] == "scarce"), 0.0)

    assert scarce() == 0.4
    with store.begin() as tx:
        for one in ids[1:]:
            examples.move(tx, example_id=one, move=Move.APPROVE, reason="r", detail="",
                          actor="ann", policy_version=1, now=NOW)  # fmt: skip
        assert waiting.refresh(tx, limit=9, now=NOW + timedelta(minutes=9)) == 0
        assert waiting.refresh(tx, limit=9, now=NOW + timedelta(minutes=11)) == 1
    assert scarce() == 0


def test_the_next_of_a_hundred_thousand_is_found_by_an_index(store: Store) -> None:
    make_waiting(store)
    with store.begin() as tx:
        tx.execute(
            text("""
            INSERT INTO examples (fingerprint, domain, topic, difficulty, source, state, reason,
                                  quality, captured_at, created_at, moved_at, due_at)
            SELECT decode(md5(n::text), 'hex'), 'arithmetic', 'sums', 'easy', 'captured',
                   'candidate', 'r', 0.5, now(), now(), now(), now()
            FROM generate_series(1, 100000) AS n""")
        )
        tx.execute(
            text("""
            INSERT INTO reviews (example_id, domain, topic, rank, entered_at)
            SELECT id, domain, topic, random() - 1000, now() FROM examples
            WHERE state = 'candidate'""")
        )
        tx.execute(text("ANALYZE reviews"))
    with store.begin() as tx:
        query = claims._next(tx, Wish("ann"), NOW)
        told = str(query.compile(tx.engine, compile_kwargs={"literal_binds": True}))
        plan = "\n".join(tx.scalars(text("EXPLAIN " + told.replace(":", "\\:"))))
    assert "ix_reviews_next" in plan, plan
    assert "Seq Scan on reviews" not in plan
    took = []
    for n in range(20):
        began = time.perf_counter()
        taken(store, f"p{n}")
        took.append(time.perf_counter() - began)
    print(f"a claim takes {1000 * statistics.median(took):.1f} ms")
    assert statistics.median(took) < 0.1


def test_what_waits_is_counted_for_whom_it_waits(store: Store) -> None:
    make_waiting(store, 3)
    with store.begin() as tx:
        assert reviews.waiting_count(tx, wish=Wish("ann")) == 3
        assert reviews.waiting_count(tx, wish=Wish("ann", domains=["x"])) == 0


def test_who_decides_and_who_takes_back_do_not_wait_for_each_other_in_a_circle(
    store: Store,
) -> None:
    """Deciding holds the place in the queue and then wants the example."""
    (id_,) = make_waiting(store)
    say(store, taken(store), Act.SKIP)
    with ThreadPoolExecutor(1) as other, store.begin() as tx:
        tx.execute(select(queue).where(queue.c.example_id == id_).with_for_update())
        taking_back = other.submit(back, store)
        wait_for(lambda: waits(store), "it waits for the place in the queue")
        row = examples_table.c.id == id_
        tx.execute(select(examples_table.c.id).where(row).with_for_update(nowait=True))
        tx.commit()
        assert taking_back.result(timeout=30).act is Act.UNDO
