"""The panel: every member's answer is kept, nothing is asked twice, canaries stop a bad judge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import pytest
from sqlalchemy import text

from tdsys.core.canaries import Canary
from tdsys.core.example import Candidate
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import (
    Answer,
    Assessment,
    Dimension,
    Judgement,
    Juror,
    Question,
    Unscored,
)
from tdsys.core.sections import Judges, Member
from tdsys.errors import ConfigurationError
from tdsys.stages import curation, monitoring, policies, replaying, scoring
from tdsys.store import Store, alerts, judgements
from tests.factories import NOW, PROBLEM, make_assessment, make_judgement, make_verdict
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier
from tests.stepping import LIMITS, captured, record, states

TWO = (Member(), Member(prompt="v2_doubting"))
GOOD = Canary("good-one", good=True, domain="d", inputs={"topic": "sums"}, outputs=PROBLEM)
BAD = Canary("bad-one", good=False, domain="d", inputs={"topic": "sums"},
             outputs={**PROBLEM, "answer": "37"})  # fmt: skip


class Members(ScriptedJudge):
    """Each member answers in its own way; remembers who was asked about what."""

    def __init__(self, **ways: Callable[[Candidate], Assessment | Unscored]) -> None:
        super().__init__()
        self.ways = ways
        self.heard: list[tuple[str, int]] = []

    def said(self, question: Question) -> Judgement | Unscored:
        self.heard.append((question.member.prompt, question.candidate.id))
        told = self.ways[question.member.prompt](question.candidate)
        return told if isinstance(told, Unscored) else make_judgement(
            self.juror(question.member), told
        )  # fmt: skip


def always(value: float) -> Callable[[Candidate], Assessment]:
    return lambda _: make_assessment(value)


def ruled(store: Store, **changes: object) -> None:
    policy = Policy(audit_share=0).model_copy(update=changes)
    policies.apply(store, domain="d", policy=policy, author="ann", now=NOW)


def score(
    store: Store,
    judge: ScriptedJudge,
    *,
    canaries: tuple[Canary, ...] = (),
    clock: Clock | None = None,
) -> scoring.Scored:
    return scoring.score_due(
        store,
        judge=judge,
        verifier=ScriptedVerifier(),
        clock=clock or Clock(),
        limits=LIMITS,
        canaries=canaries,
    )


def reasons(store: Store) -> set[tuple[str, str | None]]:
    return {(one.state, one.reason) for one in monitoring.funnel(store).reasons}


def test_a_panel_admits_what_every_member_alone_would(store: Store) -> None:
    captured(store, [record(n) for n in range(3)])
    ruled(store, judges=Judges(panel=TWO))
    judge = Members(v2=always(0.9), v2_doubting=always(0.8))
    assert score(store, judge).decided == 3
    assert states(store) == {"admitted": 3}
    assert len(judge.heard) == len(set(judge.heard)) == 6


def test_members_that_are_far_apart_leave_it_to_a_person_who_sees_who_said_what(
    store: Store,
) -> None:
    captured(store, [record(1)])
    ruled(store, judges=Judges(panel=TWO))
    score(store, Members(v2=always(1.0), v2_doubting=always(0.5)))
    with store.begin() as tx:
        ((reason, detail),) = tx.execute(text("SELECT reason, detail FROM transitions")).all()
    assert reason == "judges_disagree"
    assert "v2_doubting): 0.50" in detail


@pytest.mark.parametrize(("agreement", "state"), [("unanimous", "in_review"), ("mean", "admitted")])
def test_one_member_in_doubt_is_enough_unless_the_mean_decides(
    store: Store, agreement: Literal["unanimous", "mean"], state: str
) -> None:
    captured(store, [record(1)])
    ruled(store, judges=Judges(panel=TWO, agreement=agreement))
    score(store, Members(v2=always(0.9), v2_doubting=always(0.6)))
    assert states(store) == {state: 1}


def test_a_juror_that_is_unsure_of_too_much_leaves_it_to_a_person(store: Store) -> None:
    captured(store, [record(1)])
    score(store, Unsure(of=3))
    assert reasons(store) == {("in_review", "judge_unsure")}


def test_a_juror_that_is_sure_of_nothing_gives_no_number(store: Store) -> None:
    captured(store, [record(1)])
    clock = Clock()
    for _ in range(6):
        score(store, Unsure(of=5), clock=clock)
        clock.forward(minutes=20)
    assert reasons(store) == {("parked", "abstained")}
    with store.begin() as tx:
        assert not tx.scalar(text("SELECT count(*) FROM scores WHERE accuracy IS NOT NULL"))


def test_only_the_member_that_gave_no_usable_answer_is_asked_again(store: Store) -> None:
    captured(store, [record(1)])
    ruled(store, judges=Judges(panel=TWO))
    failing = Members(v2=always(0.9), v2_doubting=lambda _: Unscored(reason="unparseable"))
    clock = Clock()
    assert score(store, failing, clock=clock) == (0, 1, False)
    clock.forward(minutes=20)
    mended = Members(v2=always(0.1), v2_doubting=always(0.9))
    assert score(store, mended, clock=clock).decided == 1
    assert [member for member, _ in mended.heard] == ["v2_doubting"]
    assert states(store) == {"admitted": 1}


def test_the_same_content_is_never_asked_twice_of_the_same_judge(store: Store) -> None:
    captured(store, [record(n) for n in range(4)])
    judge, clock = ScriptedJudge(), Clock()
    score(store, judge, clock=clock)
    with store.begin() as tx:
        ids = list(tx.scalars(text("SELECT id FROM examples")))
    for number in ids:
        for move in (Move.RETIRE, Move.RESTORE):
            curation.move(store, example_id=number, move=move, reason="r", actor="ann", now=NOW)
    assert score(store, judge, clock=clock).decided == 4
    assert len(judge.asked) == 4
    with store.begin() as tx:
        assert tx.scalar(text("SELECT count(*) FROM scores WHERE kind = 'judge'")) == 8


def test_another_wording_is_another_judge(store: Store) -> None:
    captured(store, [record(1)])
    judge, clock = ScriptedJudge(), Clock()
    score(store, judge, clock=clock)
    ruled(store, judges=Judges(panel=(Member(prompt="v2_doubting"),)))
    with store.begin() as tx:
        (number,) = tx.scalars(text("SELECT id FROM examples"))
    for move in (Move.RETIRE, Move.RESTORE):
        curation.move(store, example_id=number, move=move, reason="r", actor="ann", now=NOW)
    score(store, judge, clock=clock)
    assert len(judge.asked) == 2


def test_what_was_answered_before_a_death_is_not_paid_again(store: Store) -> None:
    captured(store, [record(n) for n in range(12)])
    clock = Clock()

    class Dying(ScriptedJudge):
        def ask(self, question: Question) -> Future[Judgement | Unscored]:
            if len(self.asked) == 11:
                raise KeyboardInterrupt
            return super().ask(question)

    dying, next_one = Dying(), ScriptedJudge()
    with pytest.raises(KeyboardInterrupt):
        score(store, dying, clock=clock)
    with store.begin() as tx:
        paid = tx.scalar(text("SELECT count(*) FROM judgements WHERE outcome = 'scored'"))
    clock.forward(minutes=5)
    score(store, next_one, clock=clock)
    assert states(store) == {"admitted": 12}
    assert paid
    assert len(next_one.asked) == 12 - paid


def test_two_workers_that_pay_for_the_same_answer_keep_one(store: Store) -> None:
    judge = ScriptedJudge()
    said = make_judgement(judge.juror(Member()), make_assessment())
    both = threading.Barrier(2)

    def keep(_: int) -> None:
        with store.begin() as tx:
            judgements.introduce(tx, known=[said.juror], now=NOW)
            both.wait(20)
            judgements.keep(
                tx, answered=[judgements.Answered(b"x" * 32, said.juror, 0, said)], now=NOW
            )

    with store.begin() as tx:
        judgements.introduce(tx, known=[said.juror], now=NOW)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(keep, range(2)))
    with store.begin() as tx:
        assert judgements.known(tx, keys=[(b"x" * 32, said.juror.key)]) == {
            (b"x" * 32, said.juror.key): said
        }
        assert tx.scalar(text("SELECT count(*) FROM judgements")) == 1


def test_the_next_block_is_asked_about_while_the_last_is_still_on_its_way(store: Store) -> None:
    captured(store, [record(n) for n in range(30)])
    released = threading.Event()

    class Slow(ScriptedJudge):
        width = 12

        def __init__(self) -> None:
            super().__init__()
            self.pool = ThreadPoolExecutor(self.width)

        def ask(self, question: Question) -> Future[Judgement | Unscored]:
            self.asked.append((question.candidate.id, question.sample))
            if len(self.asked) > LIMITS.block + 1:
                released.set()
            first = len(self.asked) == 1
            return self.pool.submit(self.slowly, question, waits=first)

        def slowly(self, question: Question, *, waits: bool) -> Judgement | Unscored:
            assert not waits or released.wait(20), "it waited for the whole block"
            return self.said(question)

    slow = Slow()
    assert score(store, slow).decided == 30
    slow.pool.shutdown()


def test_a_model_that_is_away_is_asked_a_width_of_questions_and_no_more(store: Store) -> None:
    captured(store, [record(n) for n in range(30)])
    away = ScriptedJudge(lambda _: Unscored(reason="model_unavailable", transient=True))
    assert score(store, away) == (0, 10, False)
    assert len(away.asked) <= 3 * away.width
    assert states(store) == {"candidate": 30}


def test_a_member_that_cannot_work_says_so_and_nothing_is_lost(store: Store) -> None:
    captured(store, [record(1)])

    class Wrong(ScriptedJudge):
        def juror(self, member: Member) -> Juror:
            raise ConfigurationError("no provider is called nowhere", remedy="name another")

    assert score(store, Wrong()) == (0, 1, False)
    assert states(store) == {"candidate": 1}


def obedient(_: Candidate) -> Assessment:
    """Does what the text asks for: full marks."""
    return make_assessment(1.0)


def test_a_judge_that_lets_a_canary_pass_admits_nothing_until_somebody_lifts_it(
    store: Store,
) -> None:
    captured(store, [record(n) for n in range(12)])
    judge, clock = ScriptedJudge(obedient), Clock()
    score(store, judge, canaries=(BAD,), clock=clock)
    assert reasons(store) == {("in_review", "judge_suspended")}
    with store.begin() as tx:
        (key,) = alerts.firing(tx, prefix="judge_suspended:")
        (standing,) = judgements.standings(tx)
        assert (standing.canary, key) == ("bad-one", f"judge_suspended:{standing.key}")
        assert judgements.lift(tx, juror=standing.key, by="ann", now=NOW)
    captured(store, [record(20)], batch="b2")
    score(store, judge, clock=clock)
    assert states(store) == {"in_review": 12, "admitted": 1}


def test_a_good_canary_that_is_refused_is_an_alert_only(store: Store) -> None:
    captured(store, [record(1)])
    strict = ScriptedJudge(lambda c: make_assessment(0.2 if c.id < 0 else 0.9))
    score(store, strict, canaries=(GOOD,))
    assert states(store) == {"admitted": 1}
    with store.begin() as tx:
        assert len(alerts.firing(tx, prefix="canary_refused:")) == 1


def test_each_block_asks_about_the_canaries_that_were_seen_least(store: Store) -> None:
    captured(store, [record(n) for n in range(25)])
    judge = ScriptedJudge(lambda c: make_assessment(0.2 if c.outputs == BAD.outputs else 0.9))
    score(store, judge, canaries=(GOOD, BAD))
    samples = [sample for number, sample in judge.asked if number < 0]
    assert samples == [0, 0, 1, 1]
    with store.begin() as tx:
        (standing,) = judgements.standings(tx)
    assert standing.canaries == {"right": 4}


def test_a_new_judge_stands_every_canary_before_anything_is_decided_by_its_word(
    store: Store,
) -> None:
    captured(store, [record(n) for n in range(25)])
    canaries = tuple(BAD._replace(name=f"bad-{n}", inputs={"topic": f"{n}"}) for n in range(8))

    class FooledByOne(ScriptedJudge):
        def said(self, question: Question) -> Judgement | Unscored:
            fooled = question.candidate.id >= 0 or question.candidate.inputs["topic"] == "7"
            told = make_assessment(0.9 if fooled else 0.1)
            return make_judgement(self.juror(question.member), told)

    judge = FooledByOne()
    score(store, judge, canaries=canaries)
    assert states(store) == {"in_review": 25}
    assert [sample for number, sample in judge.asked if number < 0].count(0) == 8


def test_while_a_canary_could_not_be_asked_nothing_is_decided_and_nothing_paid_is_lost(
    store: Store,
) -> None:
    captured(store, [record(n) for n in range(3)])
    away = Unscored(reason="model_unavailable", transient=True)
    judge, clock = ScriptedJudge(lambda c: away if c.id < 0 else make_assessment()), Clock()
    assert score(store, judge, canaries=(BAD,), clock=clock) == (0, 3, False)
    judge.answer = lambda c: make_assessment(0.1 if c.id < 0 else 0.9)
    clock.forward(minutes=20)
    assert score(store, judge, canaries=(BAD,), clock=clock).decided == 3
    assert states(store) == {"admitted": 3}
    assert sum(number >= 0 for number, _ in judge.asked) == 3


def test_a_suspended_judge_overrules_nobody_who_vouched_and_no_evidence(store: Store) -> None:
    captured(store, [record(n) for n in range(3)])
    judge, clock = ScriptedJudge(obedient), Clock()
    score(store, judge, canaries=(BAD,), clock=clock)
    captured(store, [record(20)], batch="b2")
    scoring.score_due(
        store,
        judge=judge,
        verifier=ScriptedVerifier(make_verdict(steps="failed")),
        clock=clock,
        limits=LIMITS,
    )
    assert reasons(store) == {("in_review", "judge_suspended"), ("rejected", "steps")}


def test_deciding_anew_admits_nothing_by_the_word_of_a_suspended_judge(store: Store) -> None:
    captured(store, [record(n) for n in range(3)])
    clock = Clock()
    score(store, ScriptedJudge(obedient), canaries=(BAD,), clock=clock)
    assert states(store) == {"in_review": 3}
    replaying.replay(store, domain="d", actor="ann", clock=clock)
    assert states(store) == {"in_review": 3}
    with store.begin() as tx:
        (standing,) = judgements.standings(tx)
        judgements.lift(tx, juror=standing.key, by="ann", now=NOW)
    replaying.replay(store, domain="d", actor="ann", clock=clock)
    assert states(store) == {"admitted": 3}


def test_nothing_is_admitted_before_the_canaries_of_its_block_are_answered(store: Store) -> None:
    captured(store, [record(n) for n in range(10)])
    answered = threading.Event()

    class LateOnCanaries(ScriptedJudge):
        pool = ThreadPoolExecutor(1)

        def ask(self, question: Question) -> Future[Judgement | Unscored]:
            if question.candidate.id >= 0:
                answer = super().ask(question)
                if len(self.asked) == 10:
                    answered.set()
                return answer
            return self.pool.submit(self.late, question)

        def late(self, question: Question) -> Judgement | Unscored:
            assert answered.wait(20)
            return self.said(question)

    judge = LateOnCanaries(obedient)
    assert score(store, judge, canaries=(BAD,)).decided == 10
    judge.pool.shutdown()
    assert reasons(store) == {("in_review", "judge_suspended")}


class Unsure(ScriptedJudge):
    """Sure of everything but for some of five criteria of accuracy."""

    def __init__(self, *, of: int) -> None:
        super().__init__()
        self.unsure = of

    def said(self, question: Question) -> Judgement | Unscored:
        told = make_judgement(self.juror(question.member), make_assessment(1.0))
        answers = (Answer.UNSURE,) * self.unsure + (Answer.YES,) * (5 - self.unsure)
        value = 1.0 if self.unsure < 5 else None
        return told.model_copy(
            update={
                "answers": told.answers | {Dimension.ACCURACY: answers},
                "values": told.values | {Dimension.ACCURACY: value},
            }
        )


def test_a_juror_sure_of_nothing_in_a_dimension_has_not_said_a_canary_is_bad(store: Store) -> None:
    captured(store, [record(1)])
    score(store, Unsure(of=5), canaries=(GOOD, BAD))
    with store.begin() as tx:
        (standing,) = judgements.standings(tx)
        assert not alerts.firing(tx, prefix="canary_refused:")
    assert standing.canaries == {"unscored": 2}
