"""A changed policy decides anew what was decided before it, by the scores that are there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdsys.core.lifecycle import Move, State
from tdsys.core.policy import PerDimension, Policy
from tdsys.core.reviewing import Act
from tdsys.core.rubric import Outcome, decide
from tdsys.stages import auditing, curation, policies, replaying
from tdsys.stages.replaying import Replayed
from tdsys.store import Store, Tx
from tests.commanding import Shell
from tests.factories import NOW, make_assessment, make_captures, make_verdict
from tests.reviewing import say, taken
from tests.stored import LEASE, claim, count, freeze, in_one_transaction, ingest, keep
from tests.stored import decide as recorded

LATER = NOW + timedelta(hours=1)
STRICT = Policy(admit_quality=0.95)


def scored(tx: Tx, *values: float, policy: Policy | None = None, **over: Any) -> list[int]:
    """Examples that a judge gave these numbers, decided by the policy; their ids."""
    first = count(tx, "examples")
    ingest(tx, make_captures(first + len(values), domain="sums")[first:])
    claimed = claim(tx)
    for candidate, value in zip(claimed, values, strict=True):
        given = {"verdict": make_verdict(), "answer": make_assessment(value), **over}
        decision = decide(given["verdict"], given["answer"], policy or Policy())
        assert recorded(tx, candidate, decision, **given)
    return [candidate.id for candidate in claimed]


def put(store: Store, policy: Policy) -> None:
    policies.put(store, domain="sums", policy=policy, author="ann", now=NOW)


def replayed(store: Store, *, dry_run: bool = False) -> Replayed:
    return replaying.replay(store, domain="sums", actor="ann", clock=lambda: LATER, dry_run=dry_run)


def states(store: Store) -> list[tuple[str, float]]:
    with store.begin() as tx:
        rows = tx.exec_driver_sql("SELECT state, quality FROM examples ORDER BY id").all()
    return [(state, round(quality, 4)) for state, quality in rows]


@pytest.mark.criterion("3.5")
def test_what_would_change_is_told_and_then_done(store: Store) -> None:
    in_one_transaction(store, lambda tx: scored(tx, 0.97, 0.8, 0.2))
    before = states(store)
    assert [state for state, _ in before] == ["admitted", "admitted", "rejected"]
    put(store, STRICT)
    would = replayed(store, dry_run=True)
    assert states(store) == before
    assert would.moved == {(State.ADMITTED, State.IN_REVIEW, "unsure_quality"): 1}
    assert (would.policy_version, would.considered, would.rated, would.by_people) == (2, 3, 0, 0)
    assert replayed(store) == would
    assert [state for state, _ in states(store)] == ["admitted", "in_review", "rejected"]
    assert replayed(store).moved == {}


def test_a_policy_that_is_rolled_back_has_its_decisions_back(store: Store) -> None:
    in_one_transaction(store, lambda tx: scored(tx, 0.97, 0.8, 0.5, 0.2))
    before = states(store)
    put(store, Policy(admit_quality=0.95, reject_below=PerDimension.model_validate(
        dict.fromkeys(PerDimension.model_fields, 0.6))))  # fmt: skip
    assert replayed(store).moved
    put(store, Policy())
    replayed(store)
    assert states(store) == before
    assert all(one.holds for one in auditing.audit(store, lease=LEASE, now=LATER))


def test_every_step_is_on_record_with_the_score_it_rests_on(store: Store) -> None:
    in_one_transaction(store, lambda tx: scored(tx, 0.8))
    put(store, STRICT)
    replayed(store)
    with store.begin() as tx:
        steps = tx.exec_driver_sql(
            "SELECT from_state, move, to_state, actor, policy_version, score_id IS NOT NULL"
            " FROM transitions ORDER BY id"
        ).all()
    assert [tuple(step) for step in steps[1:]] == [
        ("admitted", "replay", "candidate", "ann", 2, False),
        ("candidate", "review", "in_review", "ann", 2, True),
    ]


def test_another_weight_is_another_quality_where_the_state_stays(store: Store) -> None:
    answer = make_assessment(0.8, accuracy=1.0)
    in_one_transaction(store, lambda tx: scored(tx, 0.8, answer=answer))
    weights = Policy().weights.model_copy(update={"accuracy": 1.0})
    put(store, Policy(weights=weights))
    assert (replayed(store).rated, replayed(store).rated) == (1, 0)
    assert states(store) == [("admitted", round((1.0 + 3 * 0.2 * 0.8) / 1.6, 4))]


@pytest.mark.criterion("3.5")
def test_a_persons_word_stays(store: Store) -> None:
    ids: list[int] = []
    in_one_transaction(store, lambda tx: ids.extend(scored(tx, 0.8, 0.8, 0.55)))
    for example_id, move in zip(ids, (Move.FLAG, Move.RETIRE, Move.APPROVE), strict=True):
        curation.move(
            store, example_id=example_id, move=move, reason="I say so", actor="bo", now=NOW
        )
    before = states(store)
    put(store, STRICT)
    found = replayed(store)
    assert (found.considered, found.by_people, found.moved) == (0, 2, {})
    assert states(store) == before


def test_what_somebody_flagged_or_said_first_of_two_still_waits_for_a_person(
    store: Store,
) -> None:
    made: list[int] = []
    in_one_transaction(store, lambda tx: made.extend(scored(tx, 0.8, 0.8, 0.8, policy=STRICT)))
    with store.begin() as tx:
        tx.exec_driver_sql("UPDATE reviews SET needs = 2")
    spoken = []
    for act in (Act.FLAG, Act.APPROVE):
        held = taken(store)
        say(store, held, act)
        spoken.append(held.example_id)
    put(store, Policy(audit_share=0))
    found = replayed(store)
    assert (found.considered, found.by_people, found.moved.total()) == (1, 2, 1)
    with store.begin() as tx:
        waiting = tx.exec_driver_sql("SELECT example_id FROM reviews").scalars().all()
    assert sorted(waiting) == sorted(spoken)


def test_evidence_stays_a_veto_whatever_the_policy_allows(store: Store) -> None:
    wrong = make_verdict(answer=Outcome.FAILED)
    doubtful = make_verdict(wording=Outcome.SUSPICIOUS)
    in_one_transaction(
        store,
        lambda tx: scored(tx, 0.9, verdict=wrong),
        lambda tx: scored(tx, 0.9, verdict=doubtful),
    )
    nothing = PerDimension.model_validate(dict.fromkeys(PerDimension.model_fields, 0))
    put(store, Policy(admit_quality=0, admit_from=nothing, reject_below=nothing))
    assert replayed(store).moved == {}


def test_the_lot_draws_the_same_again_and_a_person_who_decided_is_not_asked_twice(
    store: Store,
) -> None:
    ids: list[int] = []
    in_one_transaction(store, lambda tx: ids.extend(scored(tx, 0.8, 0.1)))
    put(store, Policy(audit_share=1))
    assert replayed(store).moved == {
        (State.ADMITTED, State.IN_REVIEW, "audit"): 1,
        (State.REJECTED, State.IN_REVIEW, "audit"): 1,
    }
    assert replayed(store).moved == {}
    curation.move(
        store, example_id=ids[1], move=Move.APPROVE, reason="it is right", actor="bo", now=NOW
    )
    put(store, Policy(audit_share=0))
    assert replayed(store).moved == {(State.IN_REVIEW, State.ADMITTED, "meets_policy"): 1}
    assert [state for state, _ in states(store)] == ["admitted", "admitted"]


def test_a_program_that_learned_from_what_is_admitted_no_more_is_stale(store: Store) -> None:
    with store.begin() as tx:
        scored(tx, *[0.8] * 30)
        keep(tx, freeze(tx, domain="sums"))
    put(store, STRICT)
    replayed(store, dry_run=True)
    with store.begin() as tx:
        assert not tx.exec_driver_sql("SELECT stale FROM programs").scalar()
    replayed(store)
    with store.begin() as tx:
        assert tx.exec_driver_sql("SELECT stale FROM programs").scalar()


def test_who_is_killed_on_the_way_is_run_again_and_does_the_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_one_transaction(store, lambda tx: scored(tx, *[0.8] * 7))
    put(store, STRICT)
    monkeypatch.setattr(replaying, "BLOCK", 3)

    def dies(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replaying.replay(store, domain="sums", actor="ann", clock=lambda: LATER, tell=dies)
    assert [state for state, _ in states(store)] == ["in_review"] * 3 + ["admitted"] * 4
    assert sum(replayed(store).moved.values()) == 4
    assert {state for state, _ in states(store)} == {"in_review"}


NUMBER = st.integers(0, 100).map(lambda n: n / 100)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(NUMBER, min_size=1, max_size=12), lowest=NUMBER, enough=NUMBER, least=NUMBER)
def test_replaying_gives_what_deciding_by_that_policy_would_have_given(
    store: Store, values: list[float], lowest: float, enough: float, least: float
) -> None:
    bounds = [dict.fromkeys(PerDimension.model_fields, n) for n in sorted((lowest, enough))]
    policy = Policy.model_validate(
        {
            "reject_below": bounds[0],
            "admit_from": bounds[1],
            "admit_quality": least,
            "audit_share": 0,
        }
    )
    domain = f"d{uuid.uuid4().hex}"
    with store.begin() as tx:
        ingest(tx, make_captures(len(values), domain=domain))
        claimed = claim(tx)
        answers = [make_assessment(value) for value in values]
        for candidate, answer in zip(claimed, answers, strict=True):
            decision = decide(make_verdict(), answer, Policy())
            assert recorded(tx, candidate, decision, answer=answer)
    policies.put(store, domain=domain, policy=policy, author="ann", now=NOW)
    replaying.replay(store, domain=domain, actor="ann", clock=lambda: LATER)
    wanted = {State.ADMITTED: Move.ADMIT, State.IN_REVIEW: Move.REVIEW, State.REJECTED: Move.REJECT}
    with store.begin() as tx:
        found = [
            tx.exec_driver_sql(f"SELECT state FROM examples WHERE id = {c.id}").scalar()  # noqa: S608
            for c in claimed
        ]
    assert [wanted[State(str(state))] for state in found] == [
        decide(make_verdict(), answer, policy).move for answer in answers
    ]


@pytest.fixture
def moved(store: Store) -> Callable[[], list[str]]:
    in_one_transaction(store, lambda tx: scored(tx, 0.97, 0.8))
    put(store, STRICT)
    return lambda: [state for state, _ in states(store)]


def test_the_command_shows_then_does(tdsys: Shell, moved: Callable[[], list[str]]) -> None:
    said = tdsys("replay", "--domain", "sums", "--dry-run")
    assert (said.code, moved()) == (0, ["admitted", "admitted"])
    assert "unsure_quality" in said.out
    assert "of 2 that a score decided, 1 would move and 0 would get another quality" in said.out
    told = tdsys("replay", "--domain", "sums", "--yes", "--json").document
    assert (told["applied"], moved()) == (True, ["admitted", "in_review"])
    assert told["moved"] == [
        {"from": "admitted", "to": "in_review", "reason": "unsure_quality", "count": 1}
    ]


def test_the_command_wants_to_be_told_whether_to_do_it(
    tdsys: Shell, moved: Callable[[], list[str]]
) -> None:
    said = tdsys("replay", "--domain", "sums")
    assert (said.code, "--dry-run" in said.err, moved()) == (2, True, ["admitted", "admitted"])
