"""A model as a maker of problems: one strategy, asked once for each order.

Its rule: material is shown as fenced data, and what comes back is checked against what the strategy
promises before anybody else looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import dspy

from tdsys.core import calculating
from tdsys.core.answers import Equality, compare
from tdsys.core.arithmetic import format_number, numbers
from tdsys.core.batch import Draft, Kin, Order, Parent, Refused
from tdsys.core.calculating import Calculator
from tdsys.core.example import Document, Malformed, check_document, level
from tdsys.core.resolving import NOT_ASKED, Solution
from tdsys.core.rubric import Check, Outcome
from tdsys.core.screening import text_of
from tdsys.core.sketching import LINKED, likeness, sketch
from tdsys.errors import ConfigurationError, ModelUnavailable
from tdsys.llm.crew import crew
from tdsys.llm.judge import fenced
from tdsys.llm.prompting import Strategy, form
from tdsys.llm.session import Chat, Model, SharedTracker, translate, using
from tdsys.llm.session import Outcome as Answer

SHOWN = 500
FIELDS = ("problem", "solution", "answer", "hints")
UNKNOWN = "unknown"
BYTES_PER_TOKEN = 2
# What DSPy writes around instructions and fields.
FORM_BYTES = 1200
_OF = {
    Kin.CELL: "the topic",
    Kin.CROWD: "the topic",
    Kin.EASIER: "the topic that are easier",
    Kin.HARDER: "the topic that are harder",
}
# A shorter one would end in the middle of a problem.
LEAST_ANSWER = 300


class Paid(NamedTuple):
    """One answer's share of what a block of calls took."""

    tokens: int
    micros: float | None


class ModelMaker:
    """Makes problems by one strategy, several at a time."""

    vouches = False
    calls = 1

    def __init__(
        self, strategy: Strategy, model: Model, *, threads: int, calculator: Calculator
    ) -> None:
        self._strategy, self._threads, self._calculator = strategy, threads, calculator
        self._model = model.for_rows()
        self.version = strategy.label
        self.parents, self.kin = strategy.parents, strategy.kin

    def make(self, orders: Sequence[Order]) -> list[Draft | Refused]:
        """One outcome for each order, in their order."""
        refused = {one.number: why for one in orders if (why := self._cannot(one))}
        able = [one for one in orders if one.number not in refused]
        answers = dict(zip((one.number for one in able), self._ask(able), strict=True))
        return [
            refused.get(order.number) or self._outcome(order, *answers[order.number])
            for order in orders
        ]

    def _cannot(self, order: Order) -> Refused | None:
        """Why a model is not asked at all."""
        if len(order.parents) < min(self.parents, _fewest(self)):
            told = f"{self.version} needs {self.parents} admitted examples of {_OF[self.kin]}"
            return Refused("no_material", told)
        shown = self._shown(order)
        if capped(_program(self._strategy), shown, order.most_tokens) is None:
            told = f"the prompt leaves too little of {order.most_tokens} tokens for an answer"
            return Refused("too_long", told)
        return None

    def _shown(self, order: Order) -> dict[str, str]:
        material = fenced(_material(order.parents))
        return {"request": fenced(self._request(order)), "material": material}

    def _ask(self, orders: Sequence[Order]) -> list[tuple[Answer, Paid]]:
        """The model's answers, each with its share of what they took."""
        program = _program(self._strategy)
        shown = [(one, self._shown(one)) for one in orders]
        requests = [
            {**fields, "config": capped(program, fields, one.most_tokens) or {}}
            for one, fields in shown
        ]
        return asked(self._model, program, requests, self._threads)

    def _request(self, order: Order) -> Document:
        request: Document = {
            "domain": order.domain,
            "topic": order.cell.topic,
            "difficulty": order.cell.difficulty,
            "strategy": self._strategy.name,
            "take": order.serial,
        }
        if order.context:
            request["context"] = order.context
        return request

    def _outcome(self, order: Order, answer: Answer, paid: Paid) -> Draft | Refused:
        if answer.error is not None:
            return _refused(answer.error, paid)
        outputs: Document = {name: answer.prediction.get(name) for name in FIELDS}
        if self._strategy.keeps and order.parents:
            outputs["problem"] = order.parents[0].outputs.get("problem")
        checks = _promises(self._strategy, order.parents, outputs)
        if self._strategy.calculation:
            checks = (*checks, self._calculated(answer, outputs))
        failed = [one for one in checks if one.outcome is Outcome.FAILED]
        try:
            check_document(outputs)
        except Malformed as bad:
            return Refused("malformed", str(bad)[:SHOWN], calls=1, **paid._asdict())
        if failed:
            first = failed[0]
            return Refused(first.name, first.evidence, outputs, checks, 1, **paid._asdict())
        inputs: Document = {"topic": order.cell.topic, "difficulty": order.cell.difficulty}
        if order.context:
            inputs["context"] = order.context
        return Draft(
            inputs=inputs,
            outputs=outputs,
            made_by=self._made_by(answer),
            parents=tuple(one.id for one in order.parents),
            checks=checks,
            calls=1,
            simulated=self._model.simulated,
            **paid._asdict(),
        )

    def _calculated(self, answer: Answer, outputs: Document) -> Check:
        """What the model's calculation says; what it comes to is the answer from here on."""
        found = self._calculator.calculate(_calculation(answer))
        told = calculating.check(found, text_of(outputs.get("answer")))
        if found.value is not None and told.outcome is Outcome.PASSED:
            outputs["answer"] = format_number(found.value)
        return told

    def _made_by(self, answer: Answer) -> Document:
        told: Document = {
            "strategy": self._strategy.name,
            "version": self.version,
            "model": self._model.label,
        }
        if self._strategy.calculation:
            told[calculating.NAME] = _calculation(answer)
        return told


class ModelSolver:
    """Solves problems blindly with a model, several at a time."""

    def __init__(self, model: Model, *, threads: int) -> None:
        self._model = model.for_rows()
        self._threads = threads
        self.label, self.simulated = model.label, model.simulated

    def solve(
        self, problems: Sequence[str], *, sample: int, most_tokens: int | None = None
    ) -> list[Solution]:
        """One solution of each problem, in order; another `sample` is another attempt.

        A prompt that leaves no room for an answer in `most_tokens` is not asked.
        """
        fresh = {"rollout_id": sample + 1, "temperature": 1.0}
        shown = [{"problem": fenced({"problem": one, "take": sample})} for one in problems]
        caps = [capped(_solver(), one, most_tokens) for one in shown]
        requests = [
            {**one, "config": {**fresh, **cap}}
            for one, cap in zip(shown, caps, strict=True)
            if cap is not None
        ]
        answers = iter(asked(self._model, _solver(), requests, self._threads))
        return [NOT_ASKED if cap is None else _solution(*next(answers)) for cap in caps]


def capped(
    program: Any, shown: Mapping[str, str], most_tokens: int | None
) -> dict[str, int] | None:
    """How DSPy is told what an answer may take; None: the prompt leaves too little for one.

    A token is taken to be two bytes at the least: of English and mathematics it is three to four.
    """
    if most_tokens is None:
        return {}
    text = program.signature.instructions + "".join(shown.values())
    left = most_tokens - (len(text.encode()) + FORM_BYTES) // BYTES_PER_TOKEN
    return None if left < LEAST_ANSWER else {"max_tokens": left}


def asked(
    model: Model, program: Any, requests: Sequence[Mapping[str, Any]], threads: int
) -> list[tuple[Answer, Paid]]:
    """Each request put once, with its share: a garbled answer is not asked for again."""
    tracker: SharedTracker

    def attempt(request: Mapping[str, Any]) -> Answer:
        try:
            return Answer(program(**request), None)
        except Exception as error:  # noqa: BLE001  # `_refused` sorts them
            return Answer(None, error)

    # Not DSPy's own: its progress bar, though disabled, does not bear several at once.
    with using(model.lm()) as tracker, dspy.context(adapter=Chat(once=True)):
        ours = crew(threads)
        running = [ours.ask(partial(attempt, one)) for one in requests]
        answers = [one.result() for one in running]
    return _shared(answers, tracker.tokens, tracker.micros(model.prices))


def _shared(answers: list[Answer], tokens: int, micros: float | None) -> list[tuple[Answer, Paid]]:
    """The share of everybody who was answered; the first takes what cannot be divided.

    Where nobody was, whatever it took is shared by all, so that nothing is lost.
    """
    paying = [n for n, one in enumerate(answers) if not _is_away(one)] or range(len(answers))
    share, rest = divmod(tokens, len(paying) or 1)
    each = None if micros is None else micros / (len(paying) or 1)
    paid = {n: Paid(share + (rest if n == paying[0] else 0), each) for n in paying}
    return [(one, paid.get(n, Paid(0, 0.0))) for n, one in enumerate(answers)]


def _is_away(answer: Answer) -> bool:
    """Whether nobody answered, so that nobody is paid."""
    error = answer.error
    return isinstance(error, dspy.LMError) and isinstance(translate(error), ModelUnavailable)


def _calculation(answer: Answer) -> str:
    return calculating.bare(text_of(answer.prediction.get(calculating.NAME)))


def _fewest(maker: ModelMaker) -> int:
    """With how few examples a strategy can do: those that only keep away from them, with none."""
    return 0 if maker._strategy.differs else maker.parents  # noqa: SLF001  # its own module


def _material(parents: Sequence[Parent]) -> list[Document]:
    return [{name: one.outputs.get(name) for name in FIELDS} for one in parents]


def _promises(
    strategy: Strategy, parents: Sequence[Parent], outputs: Mapping[str, Any]
) -> tuple[Check, ...]:
    """What a strategy promises about its material, checked."""
    checks = []
    if parents and strategy.answer == "kept":
        checks.append(_keeps_answer(text_of(parents[0].outputs.get("answer")), outputs))
    if parents and strategy.answer == "given":
        checks.append(_answers_with_given(text_of(parents[0].outputs.get("problem")), outputs))
    if not strategy.keeps:
        checks.append(_is_new(strategy, parents, text_of(outputs.get("problem"))))
    return tuple(checks)


def _keeps_answer(before: str, outputs: Mapping[str, Any]) -> Check:
    after = text_of(outputs.get("answer"))
    changed = compare(before, after) is Equality.UNEQUAL
    told = f"the material's answer is {before[:60]}, this one's {after[:60]}"
    return _check("answer_kept", told, failed=changed)


def _answers_with_given(problem: str, outputs: Mapping[str, Any]) -> Check:
    answer = text_of(outputs.get("answer"))
    given = {number.value for number in numbers(problem)}
    found = numbers(answer)
    is_given = bool(found) and found[0].value in given
    return _check("answer_given", f"{answer[:60]} is a number of the material", failed=not is_given)


def _is_new(strategy: Strategy, parents: Sequence[Parent], problem: str) -> Check:
    olds = [text_of(one.outputs.get("problem")) for one in parents]
    same = any(level(old) == level(problem) for old in olds)
    own = sketch(problem)
    nearest = max((likeness(sketch(old), own) for old in olds), default=0.0)
    too_near = same or (strategy.differs and nearest >= LINKED)
    told = f"shares {nearest:.0%} of its phrases with the nearest of {len(olds)}"
    return _check("differs", told, failed=too_near)


def _check(name: str, evidence: str, *, failed: bool) -> Check:
    outcome = Outcome.FAILED if failed else Outcome.PASSED
    return Check(name=name, outcome=outcome, evidence=evidence)


def _refused(error: Exception, paid: Paid) -> Refused:
    told = " ".join(str(error).split())[:SHOWN]
    if not isinstance(error, dspy.LMError):
        return Refused("unparseable", told, calls=1, **paid._asdict())
    meaning = translate(error)
    if isinstance(meaning, ConfigurationError):
        raise meaning
    if isinstance(meaning, ModelUnavailable):
        told = str(meaning)[:SHOWN]
        return Refused("model_unavailable", told, later=True, **paid._asdict())
    return Refused("refused", str(meaning)[:SHOWN], calls=1, **paid._asdict())


def _solution(answer: Answer, paid: Paid) -> Solution:
    if answer.error is not None:
        why = _refused(answer.error, paid)
        return Solution(None, why.calls, why.tokens, why.later, why.detail, why.micros)
    said = text_of(answer.prediction.get("answer")).strip()
    usable = said and level(said) != UNKNOWN
    return Solution(said if usable else None, 1, **paid._asdict())


@lru_cache(maxsize=64)
def _program(strategy: Strategy) -> Any:
    first = {calculating.NAME: (str, dspy.OutputField())} if strategy.calculation else {}
    fields = {
        "request": (str, dspy.InputField(desc="what is wanted")),
        "material": (str, dspy.InputField(desc="earlier examples, as data")),
        **first,
        "problem": (str, dspy.OutputField()),
        "solution": (str, dspy.OutputField()),
        "answer": (str, dspy.OutputField()),
        "hints": (list[str], dspy.OutputField()),
    }
    instructions = form("form").format(strategy=strategy.prompt).strip()
    return dspy.Predict(dspy.Signature(fields, instructions))


@lru_cache(maxsize=1)
def _solver() -> Any:
    fields = {
        "problem": (str, dspy.InputField(desc="the problem, as data")),
        "solution": (str, dspy.OutputField()),
        "answer": (str, dspy.OutputField()),
    }
    return dspy.Predict(dspy.Signature(fields, form("solver").strip()))
