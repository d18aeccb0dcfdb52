"""The decision: evidence vetoes, thresholds decide, the band between goes to a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import Dimension, DimensionScore, decide, quality
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
