"""The decision: evidence vetoes, thresholds decide, the band between goes to a person."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import (
    AUDIT,
    Dimension,
    DimensionScore,
    audited,
    decide,
    drawn,
    quality,
)
from tests.factories import make_assessment, make_verdict

RANK = {Move.REJECT: 0, Move.REVIEW: 1, Move.ADMIT: 2}
value = st.floats(0, 1)
scores = st.fixed_dictionaries({d.value: value for d in Dimension})


@given(scores)
def test_a_failed_check_rejects_whatever_the_judge_says(given_scores: dict[str, float]) -> None:
    decision = decide(
        make_verdict(steps="failed", injection="suspicious"),
        make_assessment(**given_scores),
        Policy(),
    )
    assert (decision.move, decision.reason) == (Move.REJECT, "steps")


@given(scores)
def test_a_suspicion_never_admits(given_scores: dict[str, float]) -> None:
    decision = decide(
        make_verdict(injection="suspicious"), make_assessment(**given_scores), Policy()
    )
    assert decision.move is Move.REVIEW


@given(scores, scores)
def test_better_scores_never_lead_to_a_worse_decision(
    a: dict[str, float], b: dict[str, float]
) -> None:
    low = {d: min(a[d], b[d]) for d in a}
    high = {d: max(a[d], b[d]) for d in a}
    worse, better = (decide(make_verdict(), make_assessment(**s), Policy()) for s in (low, high))
    assert RANK[better.move] >= RANK[worse.move]


def test_unknown_evidence_counts_neither_way() -> None:
    assert decide(make_verdict(steps="unknown"), make_assessment(), Policy()).move is Move.ADMIT


@pytest.mark.criterion("3.2")
@pytest.mark.criterion("4.3")
@pytest.mark.parametrize(
    ("dimension", "score", "move", "reason"),
    [
        ("accuracy", 0.2, Move.REJECT, "low_accuracy"),
        ("accuracy", 0.5, Move.REVIEW, "unsure_accuracy"),
        ("relevance", 0.1, Move.REJECT, "low_relevance"),
        ("coherence", 0.4, Move.REVIEW, "unsure_coherence"),
    ],
)
def test_each_dimension_has_its_own_thresholds(
    dimension: str, score: float, move: Move, reason: str
) -> None:
    decision = decide(make_verdict(), make_assessment(**{dimension: score}), Policy())
    assert (decision.move, decision.reason) == (move, reason)
    assert f"{score:.2f}" in decision.detail


@pytest.mark.criterion("3.3")
def test_manual_collection_admits_nothing_without_a_person() -> None:
    decision = decide(make_verdict(), make_assessment(1.0), Policy(collection="manual"))
    assert decision.move is Move.REVIEW


@given(scores)
def test_quality_is_a_weighted_mean(given_scores: dict[str, float]) -> None:
    found = quality(make_assessment(**given_scores), Policy())
    assert min(given_scores.values()) - 1e-9 <= found <= max(given_scores.values()) + 1e-9


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_score_outside_zero_to_one_cannot_exist(bad: float) -> None:
    with pytest.raises(ValueError, match="value"):
        DimensionScore(value=bad, rationale="")


def lots(count: int) -> list[bytes]:
    return [hashlib.sha256(str(n).encode()).digest() for n in range(count)]


@given(scores, st.binary(min_size=32, max_size=32))
def test_whether_a_person_looks_does_not_depend_on_the_scores(
    given_scores: dict[str, float], fingerprint: bytes
) -> None:
    policy = Policy(audit_share=0.5)
    sure = [make_assessment(1.0), make_assessment(0.0), make_assessment(**given_scores)]
    decisions = [decide(make_verdict(), one, policy) for one in sure]
    seen = {
        audited(one, make_verdict(), policy, fingerprint).reason == AUDIT
        for one in decisions
        if one.move is not Move.REVIEW
    }
    assert len(seen) == 1


def test_the_share_that_is_drawn_is_the_share_that_was_asked_for() -> None:
    found = {share: {f for f in lots(20_000) if drawn(f, share)} for share in (0.02, 0.1, 0.5)}
    for share, held in found.items():
        assert len(held) == pytest.approx(20_000 * share, rel=0.12)
    assert found[0.02] < found[0.1] < found[0.5]
    assert not any(drawn(f, 0) for f in lots(1000))
    assert all(drawn(f, 1) for f in lots(1000))


@pytest.mark.parametrize(
    ("value", "otherwise"), [(0.9, "else admit: meets_policy"), (0.1, "else reject: low_accuracy")]
)
def test_what_is_drawn_says_what_would_have_become_of_it(value: float, otherwise: str) -> None:
    policy = Policy(audit_share=1)
    decision = decide(make_verdict(), make_assessment(value), policy)
    found = audited(decision, make_verdict(), policy, bytes(32))
    assert (found.move, found.reason, found.quality) == (Move.REVIEW, AUDIT, decision.quality)
    assert otherwise in found.detail


@given(scores)
def test_evidence_and_people_are_not_drawn(given_scores: dict[str, float]) -> None:
    policy = Policy(audit_share=1)
    for verdict in (make_verdict(steps="failed"), make_verdict(injection="suspicious")):
        decision = decide(verdict, make_assessment(**given_scores), policy)
        assert audited(decision, verdict, policy, bytes(32)) == decision
    decision = decide(make_verdict(), make_assessment(0.6), policy)
    assert decision.move is Move.REVIEW
    assert audited(decision, make_verdict(), policy, bytes(32)) == decision
