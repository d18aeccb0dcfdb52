"""Evidence, scores and the decision they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from tdsys.core.example import Candidate, Document
from tdsys.core.lifecycle import Move
from tdsys.core.policy import PerDimension, Policy

# The reason of an example that a person admitted by trusting the file it came in.
TRUSTED = "trusted"


class Dimension(StrEnum):
    """What a judge scores."""

    ACCURACY = "accuracy"
    COHERENCE = "coherence"
    RELEVANCE = "relevance"
    EDUCATIONAL_VALUE = "educational_value"


class Outcome(StrEnum):
    """What one check found; unknown is never counted as a failure."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUSPICIOUS = "suspicious"


class Check(BaseModel):
    """One deterministic check of an example, with what it saw."""

    model_config = ConfigDict(frozen=True)

    name: str
    outcome: Outcome
    evidence: str = ""


class Verdict(BaseModel):
    """All checks of one example; the verifier's word, before any judge speaks."""

    model_config = ConfigDict(frozen=True)

    checks: tuple[Check, ...]

    def failed(self) -> tuple[Check, ...]:
        """The checks that prove something wrong."""
        return tuple(c for c in self.checks if c.outcome is Outcome.FAILED)

    def suspicious(self) -> tuple[Check, ...]:
        """The checks that call for a person."""
        return tuple(c for c in self.checks if c.outcome is Outcome.SUSPICIOUS)

    def passed(self, name: str) -> bool:
        """Whether the check of that name passed."""
        return any(c.name == name and c.outcome is Outcome.PASSED for c in self.checks)


class DimensionScore(BaseModel):
    """One dimension's number in [0, 1] and why."""

    model_config = ConfigDict(frozen=True)

    value: float = Field(ge=0, le=1, allow_inf_nan=False)
    rationale: str


class Assessment(BaseModel):
    """A judge's four numbers, and everything needed to know where they came from."""

    model_config = ConfigDict(frozen=True)

    scores: dict[Dimension, DimensionScore]
    judge_model: str
    rubric_version: str
    prompt_version: str
    simulated: bool = False


class Unscored(BaseModel):
    """The judge gave no usable answer: a state of its own, never a number."""

    model_config = ConfigDict(frozen=True)

    reason: str
    detail: str = ""
    transient: bool = False


class Decision(BaseModel):
    """Where an example goes, and the reason a person can read."""

    model_config = ConfigDict(frozen=True)

    move: Move
    reason: str
    detail: str = ""
    quality: float | None = None


class Judge(Protocol):
    """Scores examples; answers come back in the order of the questions."""

    def assess(
        self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict], *, attempt: int
    ) -> list[Assessment | Unscored]:
        """One answer per candidate; `attempt` > 0 asks for a fresh sample."""
        ...


class Verifier(Protocol):
    """Checks an example by evidence."""

    def verify(self, domain: str, inputs: Document, outputs: Document) -> Verdict:
        """Every check that applies to this content."""
        ...


def quality(assessment: Assessment, policy: Policy) -> float:
    """The weighted mean of the four scores; weights from the policy."""
    total = sum(policy.weights.of(d) for d in Dimension)
    return sum(policy.weights.of(d) * assessment.scores[d].value for d in Dimension) / total


def veto(verdict: Verdict) -> Decision | None:
    """Reject what a check has refuted, whatever a judge says or fails to say."""
    failed = verdict.failed()
    if not failed:
        return None
    return Decision(move=Move.REJECT, reason=failed[0].name, detail=failed[0].evidence)


def decide(  # noqa: PLR0911  # a ladder of vetoes, read top down
    verdict: Verdict, assessment: Assessment, policy: Policy
) -> Decision:
    """Admit, review or reject: a failed check vetoes, then thresholds, then the review band."""
    score = quality(assessment, policy)
    if refuted := veto(verdict):
        return refuted.model_copy(update={"quality": score})
    if suspects := verdict.suspicious():
        return Decision(
            move=Move.REVIEW, reason=suspects[0].name, detail=suspects[0].evidence, quality=score
        )
    if short := _below(assessment, policy.reject_below):
        return Decision(move=Move.REJECT, reason=f"low_{short[0]}", detail=short[1], quality=score)
    if policy.collection == "manual":
        return Decision(move=Move.REVIEW, reason="manual_collection", quality=score)
    if short := _below(assessment, policy.admit_from):
        return Decision(
            move=Move.REVIEW, reason=f"unsure_{short[0]}", detail=short[1], quality=score
        )
    if score < policy.admit_quality:
        return Decision(
            move=Move.REVIEW,
            reason="unsure_quality",
            detail=f"{score:.2f} is below {policy.admit_quality:.2f}",
            quality=score,
        )
    return Decision(move=Move.ADMIT, reason="meets_policy", quality=score)


def endorsed(decision: Decision, verdict: Verdict, *, by: str) -> Decision:
    """Admit what a person vouched for unless evidence speaks against it; the scores stay theirs.

    Only opinion is overruled: a failed check still rejects, a suspicious one still waits.
    """
    if decision.move is Move.ADMIT or verdict.failed() or verdict.suspicious():
        return decision
    otherwise = f"{by} vouches for it; else {decision.move}: {decision.reason}"
    detail = f"{otherwise}, {decision.detail}" if decision.detail else otherwise
    return decision.model_copy(update={"move": Move.ADMIT, "reason": TRUSTED, "detail": detail})


def _below(assessment: Assessment, limits: PerDimension) -> tuple[str, str] | None:
    for dimension in Dimension:
        score = assessment.scores[dimension]
        if score.value < limits.of(dimension):
            limit = limits.of(dimension)
            return dimension.value, f"{score.value:.2f} < {limit:.2f}: {score.rationale}"
    return None
