"""Stand-ins for the model and the clock: they answer as told and remember what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta

from pydantic import JsonValue

from tdsys.core.example import Candidate, Document
from tdsys.core.policy import Signature
from tdsys.core.program import (
    Artefact,
    DemoRef,
    Grader,
    Item,
    ItemScore,
    Recipe,
    Spent,
    Trial,
)
from tdsys.core.rubric import Assessment, Judgement, Juror, Question, Unscored, Verdict
from tdsys.core.sections import Member
from tdsys.errors import InvalidInput
from tests.factories import NOW, make_assessment, make_judgement, make_verdict

RECIPE = Recipe()


class Clock:
    """A clock that stands still until it is told to go."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


class ScriptedJudge:
    """Answers every candidate by `answer`."""

    width = 4

    def __init__(self, answer: Callable[[Candidate], Assessment | Unscored] | None = None) -> None:
        self.answer = answer or (lambda _: make_assessment())
        self.asked: list[tuple[int, int]] = []

    def juror(self, member: Member) -> Juror:
        return Juror(model=member.model or "scripted", rubric="r1", prompt=member.prompt)

    def ask(self, question: Question) -> Future[Judgement | Unscored]:
        self.asked.append((question.candidate.id, question.sample))
        answer: Future[Judgement | Unscored] = Future()
        try:
            answer.set_result(self.said(question))
        except Exception as error:  # noqa: BLE001  # as an executor does
            answer.set_exception(error)
        return answer

    def said(self, question: Question) -> Judgement | Unscored:
        told = self.answer(question.candidate)
        if isinstance(told, Unscored):
            return told
        return make_judgement(self.juror(question.member), told)


class ScriptedVerifier:
    """Finds nothing wrong, unless told."""

    def __init__(self, verdict: Verdict | None = None) -> None:
        self.verdict = verdict or make_verdict()

    def verify(self, domain: str, inputs: Document, outputs: Document) -> Verdict:
        return self.verdict


class ScriptedOptimizer:
    """Compiles at once; programs score what they are told: 0.2 before, `after` after."""

    model = "scripted/model"
    simulated = True

    def __init__(self, after: float = 0.9) -> None:
        self.after = after
        self.blocked: list[str] = []
        self.raises: Exception | None = None
        self.fails_test = False
        self.runs = 0
        self.recipe = RECIPE
        self.metrics: dict[str, Grader] = {}

    def blockers(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        recipe: Recipe,
    ) -> list[str]:
        self.recipe = recipe
        return self.blocked

    def metric(self, name: str) -> Grader:
        if name not in self.metrics:
            raise InvalidInput(f"there is no {name!r}", remedy="install it")
        return self.metrics[name]

    def predictors(self, signature: Signature, program: str | None) -> int:
        return 2 if program else 1

    def optimize(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        recipe: Recipe,
        on_trial: Callable[[Trial], None],
        on_progress: Callable[[Spent], None],
        should_stop: Callable[[], bool],
    ) -> Artefact:
        self.runs += 1
        if self.raises:
            raise self.raises
        demo = DemoRef(uid=train[0].uid, role="labeled")
        for number in (1, 2):
            on_trial(
                Trial(
                    number=number,
                    kind="full",
                    score=self.after,
                    instruction="Write.",
                    demos=(demo,),
                    seconds=0.1,
                    calls=len(val),
                    items=tuple(ItemScore(uid=i.uid, value=self.after) for i in val),
                )
            )
        for calls in (10, 20):  # within one second
            on_progress(Spent("optimizing", calls, calls, 5 * calls, 0))
        state: dict[str, JsonValue] = {
            "score": self.after,
            "demos": [{"dspy_uid": train[0].uid, **train[0].inputs, **train[0].outputs}],
        }
        return Artefact(
            state=state,
            demos=(demo,),
            instruction="Write.",
            calls=20,
            tokens=100,
            model=self.model,
            simulated=True,
            dspy_version="0",
        )

    def evaluate(
        self,
        signature: Signature,
        state: dict[str, JsonValue] | None,
        items: Sequence[Item],
        *,
        grader: Grader,
        should_stop: Callable[[], bool],
        recipe: Recipe = RECIPE,
    ) -> list[ItemScore]:
        if self.fails_test:
            return [ItemScore(uid=i.uid, value=None, error="no answer") for i in items]
        value = float(str(state["score"])) if state else 0.2
        return [ItemScore(uid=i.uid, value=value) for i in items]
