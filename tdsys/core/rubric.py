"""Evidence, scores and the decision they lead to."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from enum import StrEnum
from functools import cached_property
from typing import Annotated, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tdsys.core.example import Candidate, Cell, Document, canonical
from tdsys.core.lifecycle import Move
from tdsys.core.policy import PerDimension, Policy
from tdsys.core.sections import Member

# The reason of an example that a person admitted by trusting the file it came in.
TRUSTED = "trusted"
# The reason of an example that goes to a person by lot, whatever its scores.
AUDIT = "audit"
# The check that tells what independent solutions came to.
RE_SOLVE = "re_solve"
# Above this share of criteria a juror is unsure of, a person decides.
UNSURE_SHARE = 0.4
PAIR = 2


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
    """One check of an example, with what it saw; simulated: no model was asked for it."""

    model_config = ConfigDict(frozen=True)

    name: str
    outcome: Outcome
    evidence: str = ""
    simulated: bool = False


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


class Answer(StrEnum):
    """What a judge says of one criterion."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


class Juror(BaseModel):
    """One judge of a panel: a model with the rubric and the prompt it is given.

    `texts` is a hash of what it is told, so that an edited file is another juror.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    rubric: str
    prompt: str
    texts: str = ""
    simulated: bool = False

    @cached_property
    def key(self) -> str:
        """Its identity: the same content is asked of the same juror once."""
        named = canonical([self.model, self.rubric, self.prompt, self.texts])
        return hashlib.blake2b(named, digest_size=12).hexdigest()

    def __str__(self) -> str:
        return f"{self.model} ({self.prompt})"


def worth(said: Sequence[Answer], essential: Collection[int]) -> float | None:
    """The share of yes among yes and no, halved where an essential criterion (from 0) fails.

    None when nothing was answered for sure.
    """
    yes, no = said.count(Answer.YES), said.count(Answer.NO)
    if not yes + no:
        return None
    spoilt = any(said[number] is Answer.NO for number in essential)
    return yes / (yes + no) / (2 if spoilt else 1)


class Judgement(BaseModel):
    """What one juror said: each criterion of each dimension answered, then one sentence each.

    `values` are the `worth` of the answers by the rubric they were given under.
    """

    model_config = ConfigDict(frozen=True)

    juror: Juror
    answers: dict[Dimension, tuple[Answer, ...]]
    values: dict[Dimension, Annotated[float, Field(ge=0, le=1)] | None]
    rationales: dict[Dimension, str]

    def value(self, dimension: Dimension) -> float | None:
        """Its number for a dimension; None when it was sure of nothing."""
        return self.values[dimension]

    def abstains(self, dimension: Dimension) -> bool:
        """Whether it was unsure of more criteria than a number should rest on."""
        said = self.answers[dimension]
        return said.count(Answer.UNSURE) > UNSURE_SHARE * len(said)


class Assessment(BaseModel):
    """Four numbers, who gave them, and what each juror said; a panel's are means."""

    model_config = ConfigDict(frozen=True)

    scores: dict[Dimension, DimensionScore]
    judge_model: str
    rubric_version: str
    prompt_version: str
    simulated: bool = False
    judgements: tuple[Judgement, ...] = ()

    def spread(self) -> tuple[Dimension, float]:
        """Where the jurors are furthest apart, and how far: 0 for one alone."""
        spreads = {d: self._spread(d) for d in Dimension}
        widest = max(spreads, key=lambda d: spreads[d])
        return widest, spreads[widest]

    def abstained(self) -> tuple[Juror, Dimension] | None:
        """A juror that was unsure, and in which dimension."""
        found = ((j.juror, d) for j in self.judgements for d in Dimension if j.abstains(d))
        return next(found, None)

    def _spread(self, dimension: Dimension) -> float:
        values = [v for j in self.judgements if (v := j.value(dimension)) is not None]
        return max(values) - min(values) if values else 0.0


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


class Question(NamedTuple):
    """An example for one member of a panel; `sample` > 0 asks for a fresh answer."""

    candidate: Candidate
    verdict: Verdict
    member: Member
    sample: int = 0


class About(NamedTuple):
    """Where an example belongs and what identifies it."""

    cell: Cell
    fingerprint: bytes


class Judge(Protocol):
    """Whoever can be a member of a panel; `width` is how many questions it takes at once."""

    width: int

    def juror(self, member: Member) -> Juror:
        """Who a member of a policy's panel is."""
        ...

    def ask(self, question: Question) -> Future[Judgement | Unscored]:
        """The answer, in time; it never raises."""
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


def decide(verdict: Verdict, assessment: Assessment, policy: Policy) -> Decision:
    """Admit, review or reject: what evidence, the jurors and the policy's bands say, in turn."""
    against = _against(verdict, assessment, policy)
    found = next(against, Decision(move=Move.ADMIT, reason="meets_policy"))
    return found.model_copy(update={"quality": quality(assessment, policy)})


def ruled(
    decision: Decision, verdict: Verdict, policy: Policy, about: About, *, trusted_by: str | None
) -> Decision:
    """What becomes of a decision: the cells that are wanted, a person's word, the lot."""
    found = placed(decision, about.cell, policy)
    if trusted_by:
        return endorsed(found, verdict, by=trusted_by)
    return audited(found, verdict, policy, about.fingerprint)


def placed(decision: Decision, cell: Cell, policy: Policy) -> Decision:
    """Send to a person what would be admitted to a cell that the domain does not want."""
    axis = policy.outside(cell) if decision.move is Move.ADMIT else None
    if axis is None:
        return decision
    detail = f"{getattr(cell, axis)!r} is not among those the policy lists"
    return decision.model_copy(
        update={"move": Move.REVIEW, "reason": f"unwanted_{axis}", "detail": detail}
    )


def endorsed(decision: Decision, verdict: Verdict, *, by: str) -> Decision:
    """Admit what a person vouched for unless evidence speaks against it; the scores stay theirs.

    Only opinion is overruled: a failed check still rejects, a suspicious one still waits.
    """
    if decision.move is Move.ADMIT or verdict.failed() or verdict.suspicious():
        return decision
    otherwise = f"{by} vouches for it; else {decision.move}: {decision.reason}"
    detail = f"{otherwise}, {decision.detail}" if decision.detail else otherwise
    return decision.model_copy(update={"move": Move.ADMIT, "reason": TRUSTED, "detail": detail})


def audited(decision: Decision, verdict: Verdict, policy: Policy, fingerprint: bytes) -> Decision:
    """Send a random share of what scores alone decide to a person, whatever the scores.

    Without it nobody would ever see what the judge is sure of, and its worth could be told near
    the thresholds only. What a check refuted needs no opinion.
    """
    alone = decision.move in (Move.ADMIT, Move.REJECT) and not verdict.failed()
    if not alone or not drawn(fingerprint, policy.audit_share):
        return decision
    otherwise = f"drawn by lot; else {decision.move}: {decision.reason}"
    detail = f"{otherwise}, {decision.detail}" if decision.detail else otherwise
    return decision.model_copy(update={"move": Move.REVIEW, "reason": AUDIT, "detail": detail})


def drawn(fingerprint: bytes, share: float) -> bool:
    """Whether content is in a random share: the same always, and in every larger share too."""
    lot = hashlib.blake2b(fingerprint, digest_size=8, person=AUDIT.encode()).digest()
    return int.from_bytes(lot) < share * 2**64


def _against(verdict: Verdict, assessment: Assessment, policy: Policy) -> Iterator[Decision]:
    """Everything that speaks against admitting, the gravest first."""
    found = (
        veto(verdict),
        _suspected(verdict),
        _unsolved(verdict, policy),
        _contested(assessment, policy),
        _too_low(assessment, policy),
        _abstained(assessment),
        _by_hand(policy),
        _unsure(assessment, policy),
        _dissented(assessment, policy),
    )
    return (one for one in found if one)


def _suspected(verdict: Verdict) -> Decision | None:
    suspects = verdict.suspicious()
    return _to_person(suspects[0].name, suspects[0].evidence) if suspects else None


def _unsolved(verdict: Verdict, policy: Policy) -> Decision | None:
    """Of what was solved again without a usable solution nothing speaks for the answer but opinion.

    A simulated solver never has one.
    """
    if policy.unsolved == "judge":
        return None
    found = [c for c in verdict.checks if c.name == RE_SOLVE and c.outcome is Outcome.UNKNOWN]
    return _to_person("unsolved", found[0].evidence) if found and not found[0].simulated else None


def _contested(assessment: Assessment, policy: Policy) -> Decision | None:
    dimension, spread = assessment.spread()
    if spread <= policy.judges.disagreement:
        return None
    said = ", ".join(f"{j.juror}: {_shown(j.value(dimension))}" for j in assessment.judgements)
    return _to_person("judges_disagree", f"about {dimension}: {said}")


def _too_low(assessment: Assessment, policy: Policy) -> Decision | None:
    short = _below(assessment, policy.reject_below)
    return Decision(move=Move.REJECT, reason=f"low_{short[0]}", detail=short[1]) if short else None


def _abstained(assessment: Assessment) -> Decision | None:
    found = assessment.abstained()
    return _to_person("judge_unsure", f"{found[0]} about {found[1]}") if found else None


def _by_hand(policy: Policy) -> Decision | None:
    return _to_person("manual_collection") if policy.collection == "manual" else None


def _unsure(assessment: Assessment, policy: Policy) -> Decision | None:
    if short := _below(assessment, policy.admit_from):
        return _to_person(f"unsure_{short[0]}", short[1])
    score = quality(assessment, policy)
    if score < policy.admit_quality:
        return _to_person("unsure_quality", f"{score:.2f} is below {policy.admit_quality:.2f}")
    return None


def _dissented(assessment: Assessment, policy: Policy) -> Decision | None:
    """Of a panel that must be unanimous: a juror that alone would not have admitted it."""
    if policy.judges.agreement != "unanimous" or len(assessment.judgements) < PAIR:
        return None
    for judgement in assessment.judgements:
        one = alone(judgement)
        if one and (unsure := _unsure(one, policy)):
            return _to_person("judge_dissents", f"{judgement.juror}: {unsure.detail}")
    return None


def alone(judgement: Judgement) -> Assessment | None:
    """One juror's word as an assessment; None where it was sure of nothing in some dimension."""
    known = {d: value for d, value in judgement.values.items() if value is not None}
    if len(known) < len(Dimension):
        return None
    return Assessment(
        scores={
            d: DimensionScore(value=value, rationale=judgement.rationales[d])
            for d, value in known.items()
        },
        judge_model=judgement.juror.model,
        rubric_version=judgement.juror.rubric,
        prompt_version=judgement.juror.prompt,
    )


def _to_person(reason: str, detail: str = "") -> Decision:
    return Decision(move=Move.REVIEW, reason=reason, detail=detail)


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.2f}"


def _below(assessment: Assessment, limits: PerDimension) -> tuple[str, str] | None:
    for dimension in Dimension:
        score = assessment.scores[dimension]
        if score.value < limits.of(dimension):
            limit = limits.of(dimension)
            return dimension.value, f"{score.value:.2f} < {limit:.2f}: {score.rationale}"
    return None
