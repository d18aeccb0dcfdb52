"""Canaries: examples whose worth is known, judged among the others."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from tdsys.core.example import Document
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import (
    TRUSTED,
    Assessment,
    Decision,
    Judgement,
    Unscored,
    Verdict,
    alone,
    decide,
)


class Outcome(StrEnum):
    """What a juror's answer on a canary shows."""

    RIGHT = "right"
    # A bad one would have been admitted.
    PASSED = "passed"
    # A good one would not have been.
    REFUSED = "refused"
    UNSCORED = "unscored"


class Canary(NamedTuple):
    """An example, and whether it is good."""

    name: str
    good: bool
    domain: str
    inputs: Document
    outputs: Document


class Sign(NamedTuple):
    """What one juror's answer on one canary shows, in words."""

    outcome: Outcome
    detail: str


def sign(canary: Canary, said: Judgement | Unscored, policy: Policy) -> Sign:
    """Whether the juror by itself, without the verifier's evidence, would have admitted it."""
    if isinstance(said, Unscored):
        return Sign(Outcome.UNSCORED, f"{said.reason}: {said.detail}")
    assessment = alone(said)
    if assessment is None:
        return Sign(Outcome.UNSCORED, f"{said.juror} was sure of nothing in some dimension")
    bands = policy.model_copy(update={"collection": "automatic"})
    decision = decide(Verdict(checks=()), assessment, bands)
    admitted = decision.move is Move.ADMIT
    detail = f"{decision.reason} {decision.detail}".strip()
    if admitted == canary.good:
        return Sign(Outcome.RIGHT, detail)
    return Sign(Outcome.PASSED if admitted else Outcome.REFUSED, detail)


def unless_suspended(
    decision: Decision, assessment: Assessment, suspended: Collection[str]
) -> Decision:
    """A judge that let a canary pass admits nothing by itself; `suspended` are keys of jurors."""
    jurors = (said.juror for said in assessment.judgements)
    stopped = next((juror for juror in jurors if juror.key in suspended), None)
    if stopped is None or decision.move is not Move.ADMIT or decision.reason == TRUSTED:
        return decision
    detail = f"{stopped} let a canary pass; else {decision.reason}"
    return decision.model_copy(
        update={"move": Move.REVIEW, "reason": "judge_suspended", "detail": detail}
    )
