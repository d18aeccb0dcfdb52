"""What an optimization did, recorded while it runs: DSPy itself throws per-example scores away.

Its rule: a failure of the model, the program or the metric never becomes a score. An item it costs
has an error instead, and a run with too many of them ends with the reasons.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import dspy
from dspy.utils.callback import BaseCallback

from tdsys.core.example import canonical
from tdsys.core.policy import Signature
from tdsys.core.program import DemoRef, Grade, Grader, Item, ItemScore, Recipe, Spent, Trial
from tdsys.errors import NotReady
from tdsys.llm.generation import produced_by
from tdsys.llm.session import SharedTracker
from tdsys.llm.stopping import Gate, Ledger, Pausing

REASONS_SHOWN = 3
ERROR_SHOWN = 200


class Unanswered(ValueError):
    """There is no score: the program left a field out, or the metric gave no share of 1."""


class Metric:
    """The grader as DSPy calls it; remembers which example each bootstrapped demo came from."""

    def __init__(
        self, grader: Grader, signature: Signature, items: Sequence[Item], ledger: Ledger
    ) -> None:
        self._grader = grader
        self._signature = signature
        self._items = {item.uid: item for item in items}
        self._ledger = ledger
        self._origins: dict[bytes, str] = {}
        self._errors: dict[str, str] = {}
        self._inputs = frozenset(signature.inputs)

    def __call__(
        self,
        example: Any,
        prediction: Any,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,  # noqa: ARG002  # GEPA's shape of a metric
    ) -> Any:
        """The grade; with a trace (bootstrapping), also where the demo will have come from.

        GEPA names a predictor and gets the grade in words beside the number.
        """
        uid = example.get("dspy_uid")
        if pred_name is not None:
            return self._in_words(uid, prediction)
        grade = self.graded(uid, prediction)
        for _, inputs, outputs in trace or ():
            self._origins[_content({**inputs, **dict(outputs)})] = uid
        return grade.value

    def graded(self, uid: str, prediction: Any) -> Grade:
        """The grade of one answer; what the grader raises is kept as the item's error."""
        self._ledger.check()
        try:
            return graded(self._grader, self._items[uid], prediction, self._signature)
        except Exception as error:
            self._errors[uid] = why_ungraded(error)
            raise

    def asks_for(self, asked: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments is one of the program, not of an optimizer."""
        return asked.keys() == self._inputs

    def error_of(self, uid: str) -> str | None:
        """Why the item's newest answer has no grade; forgotten once it was told."""
        return self._errors.pop(uid, None)

    def origin(self, demo: Any, predictor: str) -> DemoRef:
        """Which example a demo came from; uid None when DSPy made it untraceably."""
        if uid := demo.get("dspy_uid"):
            return DemoRef(uid=uid, role="labeled", predictor=predictor)
        content = {name: value for name, value in dict(demo).items() if name != "augmented"}
        made_from = self._origins.get(_content(content))
        return DemoRef(uid=made_from, role="bootstrapped", predictor=predictor)

    def origins(self, program: Any) -> tuple[DemoRef, ...]:
        """The demos of every part of a program."""
        return tuple(
            self.origin(demo, name)
            for name, one in program.named_predictors()
            for demo in one.demos
        )

    def _in_words(self, uid: str, prediction: Any) -> Any:
        try:
            grade = self.graded(uid, prediction)
        except Exception as error:  # noqa: BLE001  # it was told as the item's error before
            return dspy.Prediction(score=0.0, feedback=why_ungraded(error))
        said = grade.feedback or f"This answer got {grade.value:.2f} of 1."
        return dspy.Prediction(score=grade.value, feedback=said)


class _Begun(NamedTuple):
    """A trial under way."""

    program: Any
    kind: str
    at: float
    calls: int


class Toll(Gate):
    """Stands before every call and counts it; ends the run at the policy's limit."""

    def __init__(self, ledger: Ledger, recipe: Recipe) -> None:
        super().__init__(ledger)
        self._most = recipe.max_calls
        self._counting = threading.Lock()
        self.calls = 0

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Count the call, or stop the run before it is made."""
        with self._counting:
            self.calls += 1
        if self._most is not None and self.calls > self._most:
            self._ledger.end(
                NotReady(
                    f"the run asked for more than {self._most} calls",
                    remedy="raise max_calls, or look at what the program asks for",
                )
            )
        super().on_lm_start(call_id, instance, inputs)


class Evidence(BaseCallback):  # type: ignore[misc]
    """Turns DSPy's callbacks into Trials, one at a time, as they happen.

    `toll` counts the calls. While items are evaluated modules are not heard of, but for those of
    an installed program, whose own errors are seen nowhere else.
    """

    def __init__(
        self, metric: Metric, ledger: Ledger, recipe: Recipe, on_trial: Callable[[Trial], None]
    ) -> None:
        self.toll = Toll(ledger, recipe)
        self._ledger = ledger
        self._metric = metric
        self._recipe = recipe
        self._on_trial = on_trial
        self._lock = threading.Lock()
        self._begun: dict[str, _Begun] = {}
        self._running: dict[str, Mapping[str, Any]] = {}
        self._errors: dict[bytes, str] = {}
        self._outside = "starting"
        self.callbacks = Pausing([self])
        self.trials: list[Trial] = []
        self.failed: Counter[str] = Counter()
        self.answers = 0

    @property
    def calls(self) -> int:
        """How many answers were asked for, cached ones included."""
        return self.toll.calls

    def so_far(self, tracker: SharedTracker) -> Spent:
        """Where the run is and what it took."""
        phase = "optimizing" if self._begun else self._outside
        return Spent(phase, self.calls, tracker.paid, tracker.tokens, self.failed.total())

    def unanswered(self, asked: Mapping[str, Any], error: Exception) -> None:
        """Keep why a call has no answer, to tell it with the item."""
        with self._lock:
            self._errors[_content(asked)] = why_unanswered(error)

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """Remember what a program call was asked, to name its error later."""
        asked = inputs.get("kwargs") or {}
        self._running[call_id] = asked
        if not self._begun:
            ours = self._metric.asks_for(asked)
            self._outside = "bootstrapping" if ours else "proposing"

    def on_module_end(
        self,
        call_id: str,
        outputs: Any,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """Keep the reason of a call without an answer."""
        asked = self._running.pop(call_id, {})
        if isinstance(exception, Exception):
            self.unanswered(asked, exception)

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """A trial begins."""
        self._ledger.check()
        told = inputs.get("callback_metadata") or {}
        # MIPROv2 names what it does; of GEPA, what is not named is a look at a few train items.
        few = told.get("metric_key") == "eval_minibatch" or told.get("disable_logging")
        kind = "minibatch" if few else "full"
        self._begun[call_id] = _Begun(inputs["program"], kind, time.monotonic(), self.calls)
        self.callbacks.paused = self._recipe.program is None

    def on_evaluate_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """A trial ends; recorded at once, so that a killed run leaves what it knew."""
        begun = self._begun.pop(call_id)
        self.callbacks.paused = False
        if exception is not None or outputs is None:
            if isinstance(exception, Exception):
                self._ledger.end(exception)
            return
        rows = tuple(self._row(*row) for row in outputs.results)
        self._count(rows)
        values = [row.value for row in rows if row.value is not None]
        if not values:
            return  # without one answer there is nothing that could be called a score
        trial = Trial.model_validate(
            {
                "number": len(self.trials) + 1,
                "kind": begun.kind,
                "items": rows,
                "score": fmean(values),
                "instruction": instruction_of(begun.program),
                "demos": self._metric.origins(begun.program),
                "seconds": time.monotonic() - begun.at,
                "calls": self.calls - begun.calls,
            }
        )
        self.trials.append(trial)
        # DSPy logs and forgets what a callback raises, so a lost record must go by the ledger.
        self._ledger.report(lambda: self._on_trial(trial))

    def refuse(self) -> None:
        """NotReady when too much failed, or when nothing scored above zero."""
        self._refuse_failures(self.answers)
        if not any(trial.score for trial in self.trials):
            reason = f"; the errors: {self._reasons()}" if self.failed else ""
            raise NotReady(
                f"flat metric: all {len(self.trials)} trials scored 0{reason}",
                remedy="look at the examples and the metric; no program was kept",
            )

    def _count(self, rows: Sequence[ItemScore]) -> None:
        self.answers += len(rows)
        self.failed.update(row.error for row in rows if row.error is not None)
        if self._recipe.answers is None:
            return
        try:
            # What is still to come is counted as good: once it is too much, it stays too much.
            self._refuse_failures(max(self.answers, self._recipe.answers))
        except NotReady as too_many:
            self._ledger.end(too_many)

    def _refuse_failures(self, of: int) -> None:
        failed = self.failed.total()
        if failed > self._recipe.failed_share * of:
            raise NotReady(
                f"{failed} of {self.answers} evaluations got no score: {self._reasons()}",
                remedy="look at what the model answers and at the metric; no program was kept",
            )

    def _reasons(self) -> str:
        most = self.failed.most_common(REASONS_SHOWN)
        return "; ".join(f"{times} × {reason}" for reason, times in most)

    def _row(self, example: Any, prediction: Any, score: float) -> ItemScore:
        uid = example.get("dspy_uid")
        if isinstance(prediction, tuple):  # GEPA's look comes with its trace
            prediction = prediction[0]
        if isinstance(prediction, dspy.Prediction) and len(prediction) > 0:
            return ItemScore(uid=uid, value=float(score))
        found = self._metric.error_of(uid)
        error = found or self._errors.get(_content(dict(example.inputs())), "no answer")
        return ItemScore(uid=uid, value=None, error=error)


def instruction_of(program: Any) -> str:
    """What a program tells the model; of several predictors each under its name."""
    told = [(name, one.signature.instructions) for name, one in program.named_predictors()]
    if len(told) == 1:
        return str(told[0][1])
    return "\n\n".join(f"{name}: {text}" for name, text in told)


def graded(grader: Grader, item: Item, prediction: Any, signature: Signature) -> Grade:
    """The grade of a program's answer; raises whatever stands in the way of one."""
    produced = produced_by(prediction, signature)
    if missing := [name for name, value in produced.items() if value is None]:
        raise Unanswered(f"the program gave no {', '.join(missing)}")
    grade = grader(item, produced)
    if not (math.isfinite(grade.value) and 0 <= grade.value <= 1):
        raise Unanswered(f"the metric gave {grade.value}; it must stay in [0, 1]")
    return grade


def why_ungraded(error: BaseException) -> str:
    """One line for an answer that has no grade."""
    if isinstance(error, Unanswered):
        return str(error)
    return f"metric failed: {type(error).__name__}: {_line(error)}"


def why_unanswered(error: BaseException) -> str:
    """One line for a program call that came to nothing."""
    if isinstance(error, dspy.AdapterParseError):
        return f"unparseable: {_line(error)}"
    return f"{type(error).__name__}: {_line(error)}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:ERROR_SHOWN]


def _content(values: Mapping[str, Any]) -> bytes:
    return canonical({name: values[name] for name in sorted(values)})
