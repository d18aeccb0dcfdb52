"""The judge: a model counts rubric criteria; the verifier's word stands above it.

Its rule: only the content of an example is shown, as fenced data; source, metadata and labels never
are. Rubric and prompt are versioned files, and an answer that is not four counts is no score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

import dspy
from pydantic import BaseModel, Field

from tdsys.core.example import Candidate, canonical
from tdsys.core.rubric import (
    Assessment,
    Dimension,
    DimensionScore,
    Unscored,
    Verdict,
)
from tdsys.core.screening import clean_for_prompt
from tdsys.errors import ConfigurationError, ModelUnavailable
from tdsys.llm.session import Model, Outcome, run_all, translate, using

RUBRIC = "rubric_v1"
PROMPT = "judge_prompt_v1"
CRITERIA = 5
MAX_CHARS = 8000
RETRIES = 3
# A failed check of one of these proves the mathematics wrong, whatever the judge thinks.
PROOFS = frozenset({"steps", "answer", "complete"})


class Counts(BaseModel):
    """How many criteria of each dimension hold; out of bounds is refused because it is nested."""

    accuracy: int = Field(ge=0, le=CRITERIA)
    coherence: int = Field(ge=0, le=CRITERIA)
    relevance: int = Field(ge=0, le=CRITERIA)
    educational_value: int = Field(ge=0, le=CRITERIA)


class Rationales(BaseModel):
    """One sentence per dimension."""

    accuracy: str
    coherence: str
    relevance: str
    educational_value: str


class Ratings(BaseModel):
    """Numbers before free text: a rationale that quotes the example cannot move a score."""

    # Named to sort first: DSPy shows the schema to the model in alphabetical order.
    counts: Counts
    rationales: Rationales


class ModelJudge:
    """Scores examples with a model, several at a time."""

    def __init__(self, model: Model, *, threads: int = 16) -> None:
        # A row is asked again later anyway; long waits would only outlive its lease.
        self._model = replace(model, retries=min(model.retries, RETRIES))
        self._threads = threads

    def assess(
        self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict], *, attempt: int
    ) -> list[Assessment | Unscored]:
        """One answer per candidate, in order; `attempt` > 0 asks for a fresh sample.

        A failure is Unscored, for its own candidate only: the other answers are paid for. It is
        transient when it is ours or the provider's, not the answer's.
        """
        # The cache would repeat an unusable answer for ever, were the sample not a new one.
        fresh = {"rollout_id": attempt, "temperature": 1.0} if attempt else {}
        requests = [
            {**_shown(candidate, verdict), "config": fresh}
            for candidate, verdict in zip(candidates, verdicts, strict=True)
        ]
        with using(self._model.lm()):
            outcomes = run_all(_program(), requests, threads=self._threads)
        return [
            self._answer(outcome, verdict)
            for outcome, verdict in zip(outcomes, verdicts, strict=True)
        ]

    def _answer(self, outcome: Outcome, verdict: Verdict) -> Assessment | Unscored:
        if outcome.error is not None:
            return _unscored(outcome.error)
        ratings: Ratings = outcome.prediction.assessment
        scores = {
            d: DimensionScore(
                value=getattr(ratings.counts, d) / CRITERIA,
                rationale=getattr(ratings.rationales, d),
            )
            for d in Dimension
        }
        return Assessment(
            scores=scores | _veto(verdict),
            judge_model=self._model.label,
            rubric_version=RUBRIC,
            prompt_version=PROMPT,
            simulated=self._model.simulated,
        )


def fenced(content: object) -> str:
    """Content as cleaned JSON between fences whose name follows from the content itself."""
    text = json.dumps(_clean(content), ensure_ascii=False)
    nonce = hashlib.blake2b(canonical(content), digest_size=8).hexdigest()
    return f"<<<DATA {nonce}\n{text}\nDATA {nonce}>>>"


def _shown(candidate: Candidate, verdict: Verdict) -> dict[str, str]:
    """Everything the judge gets to see."""
    evidence = [
        {"check": c.name, "outcome": c.outcome.value, "evidence": c.evidence}
        for c in verdict.checks
    ]
    return {
        "request": fenced({"domain": candidate.domain, **candidate.inputs}),
        "example": fenced(candidate.outputs),
        "evidence": fenced(evidence),
    }


def _clean(content: object) -> object:
    if isinstance(content, str):
        text = clean_for_prompt(content)
        return text if len(text) <= MAX_CHARS else text[:MAX_CHARS] + " [cut for length]"
    if isinstance(content, dict):
        return {clean_for_prompt(str(key)): _clean(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_clean(value) for value in content]
    return content


def _veto(verdict: Verdict) -> dict[Dimension, DimensionScore]:
    proofs = [check for check in verdict.failed() if check.name in PROOFS]
    if not proofs:
        return {}
    reason = "; ".join(f"{check.name}: {check.evidence or 'failed'}" for check in proofs)
    return {Dimension.ACCURACY: DimensionScore(value=0.0, rationale=f"verifier: {reason}")}


def _unscored(error: Exception) -> Unscored:
    if not isinstance(error, dspy.LMError):
        return Unscored(reason="unparseable", detail=" ".join(str(error).split())[:300])
    meaning = translate(error)
    if isinstance(meaning, ConfigurationError):
        return Unscored(reason="configuration", detail=str(meaning), transient=True)
    if isinstance(meaning, ModelUnavailable):
        return Unscored(reason="model_unavailable", detail=str(meaning), transient=True)
    return Unscored(reason="refused", detail=str(meaning))


def _program() -> Any:
    fields = {
        "request": (str, dspy.InputField(desc="what was asked for")),
        "example": (str, dspy.InputField(desc="what was produced")),
        "evidence": (str, dspy.InputField(desc="what recomputing it showed")),
        "assessment": (Ratings, dspy.OutputField(desc="counts first, then rationales")),
    }
    return dspy.Predict(dspy.Signature(fields, _instructions()))


@lru_cache(maxsize=1)
def _instructions() -> str:
    return _file(PROMPT).format(rubric=_file(RUBRIC)).strip()


def _file(name: str) -> str:
    return (files("tdsys.llm") / f"{name}.txt").read_text(encoding="utf-8")
