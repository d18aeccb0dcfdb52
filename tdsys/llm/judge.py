"""The judge: a model answers the rubric's criteria; the verifier's word stands above it.

Its rule: only the content of an example is shown, as fenced data; source, metadata and labels never
are. Rubrics and prompts are versioned files, and an answer that leaves a criterion out is no score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Annotated, Any

import dspy
from pydantic import BaseModel, Field, create_model

from tdsys.core.example import canonical
from tdsys.core.rubric import Answer, Dimension, Judgement, Juror, Question, Unscored, worth
from tdsys.core.screening import clean_for_prompt
from tdsys.core.sections import Member
from tdsys.errors import ConfigurationError, ModelUnavailable
from tdsys.llm.rubrics import RUBRIC, criteria, essential, text_of
from tdsys.llm.session import Model, translate, using

MAX_CHARS = 8000


class Rationales(BaseModel):
    """One sentence per dimension."""

    accuracy: str
    coherence: str
    relevance: str
    educational_value: str


class ModelJudge:
    """Asks models, `width` questions at a time; `named` finds those a policy names."""

    def __init__(
        self, model: Model, *, width: int = 16, named: Callable[[str], Model] | None = None
    ) -> None:
        self._model = model
        self._named = named or (lambda name: replace(model, name=name))
        self._models: dict[str | None, Model] = {}
        self._jurors: dict[Member, Juror] = {}
        self.width = width

    def juror(self, member: Member) -> Juror:
        """Who a member is: its model, its prompt, and a hash of what it is told."""
        if member not in self._jurors:
            self._jurors[member] = self._introduced(member)
        return self._jurors[member]

    def _introduced(self, member: Member) -> Juror:
        model = self._model_of(member)
        told = hashlib.blake2b(_instructions(member.prompt).encode(), digest_size=8).hexdigest()
        return Juror(
            model=model.label,
            rubric=RUBRIC,
            prompt=f"judge_prompt_{member.prompt}",
            texts=told,
            simulated=model.simulated,
        )

    def ask(self, question: Question) -> Future[Judgement | Unscored]:
        """A thread of its own waits for the answer.

        No answer is Unscored: transient when it is ours or the provider's fault, not the answer's.
        """
        return self._threads.submit(self._answer, question)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.width, thread_name_prefix="tdsys-judge")

    def _answer(self, question: Question) -> Judgement | Unscored:
        try:
            return self._asked(question)
        except ConfigurationError as wrong:
            return Unscored(reason="configuration", detail=str(wrong), transient=True)
        except Exception as error:  # noqa: BLE001  # sorted here, for its own question only
            return _unscored(error)

    def _asked(self, question: Question) -> Judgement:
        # A provider may give the same question the same answer, and it was unusable.
        sample = question.sample
        fresh = {"rollout_id": sample, "temperature": 1.0} if sample else {}
        with using(self._model_of(question.member).lm()):
            said = _program(question.member.prompt)(**_shown(question), config=fresh).assessment
        answers = {d: tuple(map(Answer, getattr(said.answers, d))) for d in Dimension}
        return Judgement(
            juror=self.juror(question.member),
            answers=answers,
            values={d: worth(answers[d], essential()[d]) for d in Dimension},
            rationales={d: getattr(said.rationales, d) for d in Dimension},
        )

    def _model_of(self, member: Member) -> Model:
        name = member.model
        if name not in self._models:
            found = self._model if name is None else self._named(name)
            self._models[name] = found.for_ledger()
        return self._models[name]


def fenced(content: object) -> str:
    """Content as cleaned JSON between fences whose name follows from the content itself."""
    text = json.dumps(_clean(content), ensure_ascii=False)
    nonce = hashlib.blake2b(canonical(content), digest_size=8).hexdigest()
    return f"<<<DATA {nonce}\n{text}\nDATA {nonce}>>>"


def _shown(question: Question) -> dict[str, str]:
    """Everything the judge gets to see."""
    candidate = question.candidate
    evidence = [
        {"check": c.name, "outcome": c.outcome.value, "evidence": c.evidence}
        for c in question.verdict.checks
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


def _unscored(error: Exception) -> Unscored:
    if not isinstance(error, dspy.LMError):
        return Unscored(reason="unparseable", detail=" ".join(str(error).split())[:300])
    meaning = translate(error)
    if isinstance(meaning, ConfigurationError):
        return Unscored(reason="configuration", detail=str(meaning), transient=True)
    if isinstance(meaning, ModelUnavailable):
        return Unscored(reason="model_unavailable", detail=str(meaning), transient=True)
    return Unscored(reason="refused", detail=str(meaning))


@lru_cache(maxsize=16)
def _program(prompt: str) -> Any:
    fields = {
        "request": (str, dspy.InputField(desc="what was asked for")),
        "example": (str, dspy.InputField(desc="what was produced")),
        "evidence": (str, dspy.InputField(desc="what recomputing it showed")),
        "assessment": (_form(RUBRIC), dspy.OutputField(desc="answers first, then rationales")),
    }
    return dspy.Predict(dspy.Signature(fields, _instructions(prompt)))


@lru_cache(maxsize=16)
def _form(rubric: str) -> type[BaseModel]:
    """The shape of an answer: nested, because DSPy enforces it only then.

    Answers before free text: a rationale that quotes the example cannot move a score. The names
    sort so, because DSPy shows the schema to the model in alphabetical order.
    """
    shapes: dict[str, Any] = {
        dimension.value: Annotated[
            list[Answer], Field(min_length=len(asked), max_length=len(asked))
        ]
        for dimension, asked in criteria(rubric).items()
    }
    answers = create_model("Answers", **shapes)
    return create_model("Ratings", answers=answers, rationales=Rationales)


@lru_cache(maxsize=16)
def _instructions(prompt: str) -> str:
    return text_of(f"judge_prompt_{prompt}").format(rubric=text_of(RUBRIC)).strip()
