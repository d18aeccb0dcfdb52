"""The judge beside people and beside labelled files; every judge here is simulated."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from tdsys.core.calibration import LabelledExample, Sampled, Stratum
from tdsys.core.example import Candidate
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import Assessment, Unscored, decide
from tdsys.errors import ModelUnavailable, NotReady
from tdsys.stages import calibrating, curation, policies, replaying
from tdsys.stages.calibrating import Calibration, Wanted
from tdsys.store import Store, calibrations
from tests.factories import NOW, PROBLEM, make_assessment, make_captures, make_verdict
from tests.opinions import ALL, people, says, scored
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier
from tests.stored import claim, count, ingest
from tests.stored import decide as recorded

WANTED = Wanted("sums", 0.8, "ann")


def by_reviews(store: Store, *, keep: bool = True) -> Calibration:
    policies.put(store, domain="sums", policy=ALL, author="ann", now=NOW)
    return calibrating.by_reviews(store, WANTED, clock=Clock(), keep=keep)[0]


USUAL = [(0.9, True)] * 18 + [(0.9, False)] * 2 + [(0.1, False)] * 10 + [(0.6, True)] * 5


@pytest.mark.criterion("4.5")
def test_what_people_decided_says_what_the_scores_are_worth(store: Store) -> None:
    people(store, *USUAL)
    found = by_reviews(store)
    assert (found.findings.n, found.findings.good) == (35, 23)
    assert found.findings.accepted.accepted == 20
    assert found.findings.accepted.precision
    assert found.findings.accepted.precision.value == pytest.approx(0.9)
    assert found.findings.kappa
    assert found.findings.kappa.value == pytest.approx(
        1 - 7 / 35 / (1 - (20 * 23 + 15 * 12) / 35**2)
    )
    assert found.sampled == (Sampled(Stratum.ALONE, 30, 30), Sampled(Stratum.ASKED, 5, 5))
    assert found.judge == ("scripted", "r1", "p1")
    assert found.spreads["accuracy"] == [0, 10, 0, 0, 0, 0, 5, 0, 0, 20]


def test_a_calibration_is_kept_as_it_was_and_can_not_be_changed(store: Store) -> None:
    people(store, *USUAL)
    assert by_reviews(store, keep=False)
    with store.begin() as tx:
        assert calibrations.latest(tx, domain="sums") is None
    made = by_reviews(store)
    with store.begin() as tx:
        kept = calibrations.latest(tx, domain="sums")
        assert calibrations.calibrated(tx) == ["sums"]
    assert kept
    assert Calibration.model_validate(kept.document) == made
    assert (kept.author, kept.source, kept.n, kept.judge) == ("ann", "reviews", 35, made.judge)
    for change in ("UPDATE calibrations SET n = 0", "DELETE FROM calibrations"):
        with pytest.raises(IntegrityError, match="append-only"), store.begin() as tx:
            tx.exec_driver_sql(change)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ([(0.9, True)] * 12, "12 good and 0 bad .*: 5 more bad, 13 more of either kind needed"),
        ([(0.9, True)] * 40, "40 good and 0 bad .*: 5 more bad needed"),
    ],
)
def test_too_few_labels_say_how_many_more_of_which(
    store: Store, words: list[tuple[float, bool]], needed: str
) -> None:
    people(store, *words)
    with pytest.raises(NotReady, match=needed):
        by_reviews(store)
    with store.begin() as tx:
        assert count(tx, "calibrations") == 0


def test_where_nothing_is_scored_nothing_can_be_calibrated(store: Store) -> None:
    policies.put(store, domain="sums", policy=ALL, author="ann", now=NOW)
    with pytest.raises(NotReady, match="no example of sums is scored"):
        by_reviews(store)


def test_only_the_newest_word_of_a_person_counts(store: Store) -> None:
    ids = people(store, *USUAL)
    # Flagged and rejected: a person brought it back, so it is no random draw any more.
    curation.move(store, example_id=ids[0], move=Move.FLAG, reason="?", actor="cy", now=NOW)
    assert by_reviews(store).findings.n == 34
    says(store, ids[0], good=False)
    assert by_reviews(store).findings.n == 34


TAKEN_BACK = """
UPDATE examples SET state = 'in_review', moved_at = '2026-11-23 12:00Z' WHERE id = {id};
INSERT INTO transitions (example_id, from_state, to_state, move, reason, detail, actor,
                         policy_version, at)
VALUES ({id}, 'admitted', 'in_review', 'review', 'a slip', '', 'bo', 1, '2026-11-23 12:00Z')
"""


def test_a_word_that_was_taken_back_counts_no_more_and_the_next_one_does(store: Store) -> None:
    (first, *_) = people(store, *USUAL)
    with store.begin() as tx:
        tx.exec_driver_sql(TAKEN_BACK.format(id=first))
    assert by_reviews(store).findings.n == 34
    says(store, first, good=False)
    found = by_reviews(store).findings
    assert (found.n, found.good) == (35, 22)


def test_another_judge_is_calibrated_by_the_words_about_its_own_scores(store: Store) -> None:
    people(store, *USUAL)
    people(store, *[(0.9, False)] * 20, judge_model="another")
    with pytest.raises(NotReady, match="0 good and 20 bad"):
        by_reviews(store)


def test_what_people_flagged_or_evidence_brought_is_no_word_about_the_scores(store: Store) -> None:
    people(store, *USUAL)
    with store.begin() as tx:
        first = count(tx, "examples")
        ingest(tx, make_captures(first + 1, domain="sums")[first:])
        (doubtful,) = claim(tx)
        verdict = make_verdict(injection="suspicious")
        decision = decide(verdict, make_assessment(), ALL)
        assert recorded(tx, doubtful, decision, verdict=verdict)
    says(store, doubtful.id, good=True)
    found = by_reviews(store)
    assert found.findings.n == 35
    assert found.left_out == {"decided by evidence": 1}


def test_a_small_audit_speaks_for_all_that_nobody_looked_at(store: Store) -> None:
    # Simulated: 300 examples, a tenth of the sure ones drawn; 3 of 4 high scores are good.
    tenth = Policy(audit_share=0.1)
    draw = random.Random(2)
    with store.begin() as tx:
        values = [draw.choice([0.9, 0.9, 0.6, 0.1]) for _ in range(400)]
        ids = scored(tx, *values, policy=tenth)
        waiting = set(
            tx.exec_driver_sql("SELECT id FROM examples WHERE state = 'in_review'").scalars()
        )
    truth = [value > 0.5 and draw.random() < 0.75 for value in values]
    for example_id, good in zip(ids, truth, strict=True):
        if example_id in waiting:
            says(store, example_id, good=good)
    found = by_reviews(store)
    high = [good for good, value in zip(truth, values, strict=True) if value == 0.9]
    recall = sum(high) / sum(truth)
    precision = found.findings.accepted.precision
    assert precision
    assert precision.low <= sum(high) / len(high) <= precision.high
    assert found.findings.accepted.recall
    assert found.findings.accepted.recall.low <= recall <= found.findings.accepted.recall.high
    # Without the weights the band, of which people see everything, would hide what is accepted.
    assert found.findings.accepted.recall.value > 2 * found.findings.accepted.accepted / len(
        waiting
    )
    alone, asked = found.sampled
    assert alone.scored + asked.scored == 400
    assert asked.labelled == asked.scored
    assert 15 <= alone.labelled <= 45


def test_replaying_loses_no_word(store: Store) -> None:
    people(store, *USUAL)
    before = by_reviews(store).findings
    replaying.replay(store, domain="sums", actor="ann", clock=Clock())
    assert by_reviews(store).findings == before


def labelled(n: int, *, good: bool) -> LabelledExample:
    outputs = {**PROBLEM, "answer": str(n), "problem": "good" if good else "bad"}
    return LabelledExample(n, {"topic": "sums"}, outputs, good, {})


FILE = [labelled(n, good=n % 3 > 0) for n in range(1, 61)]


def by_file(
    store: Store,
    answer: Callable[[Candidate], Assessment | Unscored] | None = None,
    verifier: ScriptedVerifier | None = None,
    told: list[int] | None = None,
) -> Calibration:
    policies.put(store, domain="sums", policy=ALL, author="ann", now=NOW)
    return calibrating.by_file(
        store,
        WANTED,
        labelled=FILE,
        judge=ScriptedJudge(answer or knows),
        verifier=verifier or ScriptedVerifier(),
        clock=Clock(),
        tell=(told if told is not None else []).append,
    )[0]


def knows(candidate: Candidate) -> Assessment:
    return make_assessment(0.9 if candidate.outputs["problem"] == "good" else 0.1)


def test_a_labelled_file_is_judged_and_becomes_no_example(store: Store) -> None:
    told: list[int] = []
    found = by_file(store, told=told)
    assert (found.source, found.findings.n, sum(told)) == ("file", 60, 60)
    assert found.findings.kappa
    assert found.findings.kappa.value == 1
    assert found.sampled == ()
    with store.begin() as tx:
        assert (count(tx, "examples"), count(tx, "scores"), count(tx, "calibrations")) == (0, 0, 1)


def test_labels_without_a_usable_answer_are_counted_and_never_a_number(store: Store) -> None:
    def sometimes(candidate: Candidate) -> Assessment | Unscored:
        return Unscored(reason="unparseable") if candidate.id % 10 == 0 else knows(candidate)

    with pytest.raises(ModelUnavailable, match="answered for none"):
        by_file(store, lambda _: Unscored(reason="away", transient=True))
    found = by_file(store, sometimes)
    assert found.findings.n == 54
    assert found.left_out == {"unscored: unparseable": 6}


def test_what_evidence_refutes_in_a_file_leaves_too_few(store: Store) -> None:
    with pytest.raises(NotReady, match="0 good and 0 bad"):
        by_file(store, verifier=ScriptedVerifier(make_verdict(steps="failed")))


def test_scores_after_a_moment_are_looked_at_alone(store: Store) -> None:
    people(store, *USUAL)
    later = NOW + timedelta(days=1)
    people(store, (0.9, True), (0.1, True), now=later)
    with store.begin() as tx:
        judge = calibrations.newest_judge(tx, domain="sums")
        assert judge
        found = calibrating.weighed(tx, domain="sums", judge=judge, policy=ALL, since=NOW)
        spreads = calibrations.spreads(tx, domain="sums", judge=judge, since=NOW)
    assert [one.good for one in found.items] == [True, True]
    assert spreads["coherence"] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
