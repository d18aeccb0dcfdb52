"""What an optimization did, recorded while it runs: DSPy itself throws per-example scores away.

Its rule: a failure of the model, the metric or the record never becomes a score; it stops the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import dspy

from tdsys.core.example import canonical
from tdsys.core.policy import Signature
from tdsys.core.program import DemoRef, Grader, Item, ItemScore, Trial
from tdsys.llm.generation import produced_by
from tdsys.llm.stopping import Gate, Ledger, Stopped


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

    def __call__(self, example: Any, prediction: Any, trace: Any = None) -> float:
        """The grade; with a trace (bootstrapping), also where the demo will have come from."""
        uid = example.get("dspy_uid")
        try:
            grade = self._grader(self._items[uid], produced_by(prediction, self._signature))
        except Exception as error:
            self._ledger.end(error)
            raise Stopped from error
        for _, inputs, outputs in trace or ():
            self._origins[_content({**inputs, **dict(outputs)})] = uid
        return grade.value

    def origin(self, demo: Any) -> DemoRef:
        """Which example a demo came from; uid None when DSPy made it untraceably."""
        if uid := demo.get("dspy_uid"):
            return DemoRef(uid=uid, role="labeled")
        content = {name: value for name, value in dict(demo).items() if name != "augmented"}
        return DemoRef(uid=self._origins.get(_content(content)), role="bootstrapped")


class Evidence(Gate):
    """Turns DSPy's callbacks into Trials, one at a time, as they happen."""

    def __init__(self, metric: Metric, ledger: Ledger, on_trial: Callable[[Trial], None]) -> None:
        super().__init__(ledger)
        self._metric = metric
        self._on_trial = on_trial
        self._lock = threading.Lock()
        self._programs: dict[str, tuple[Any, str, float, int]] = {}
        self._running: dict[str, bytes] = {}
        self._errors: dict[bytes, str] = {}
        self.trials: list[Trial] = []
        self.calls = 0

    @property
    def errors(self) -> list[str]:
        """Why program calls got no answer, each reason once."""
        return sorted(set(self._errors.values()))

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Count the call, or stop the run before it is made."""
        super().on_lm_start(call_id, instance, inputs)
        with self._lock:
            self.calls += 1

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """Remember what a program call was asked, to name its error later."""
        with self._lock:
            self._running[call_id] = _content(inputs.get("kwargs") or {})

    def on_module_end(
        self,
        call_id: str,
        outputs: Any,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """Keep the reason of a call without an answer."""
        with self._lock:
            asked = self._running.pop(call_id, b"")
            if exception is not None:
                self._errors[asked] = why_unanswered(exception)

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """A trial begins."""
        self._ledger.check()
        key = (inputs.get("callback_metadata") or {}).get("metric_key", "eval_full")
        kind = "minibatch" if key == "eval_minibatch" else "full"
        self._programs[call_id] = (inputs["program"], kind, time.monotonic(), self.calls)

    def on_evaluate_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """A trial ends; recorded at once, so that a killed run leaves what it knew."""
        program, kind, started, calls = self._programs.pop(call_id)
        if exception is not None or outputs is None:
            if isinstance(exception, Exception):
                self._ledger.end(exception)
            return
        rows = tuple(self._row(*row) for row in outputs.results)
        values = [row.value for row in rows if row.value is not None]
        if not values:
            return  # without one answer there is nothing that could be called a score
        trial = Trial.model_validate(
            {
                "number": len(self.trials) + 1,
                "kind": kind,
                "items": rows,
                "score": fmean(values),
                "instruction": program.signature.instructions,
                "demos": tuple(self._metric.origin(demo) for demo in program.demos),
                "seconds": time.monotonic() - started,
                "calls": self.calls - calls,
            }
        )
        self.trials.append(trial)
        # DSPy logs and forgets what a callback raises, so a lost record must go by the ledger.
        self._ledger.report(lambda: self._on_trial(trial))

    def _row(self, example: Any, prediction: Any, score: float) -> ItemScore:
        uid = example.get("dspy_uid")
        if len(prediction) > 0:
            return ItemScore(uid=uid, value=float(score))
        error = self._errors.get(_content(dict(example.inputs())), "no answer")
        return ItemScore(uid=uid, value=None, error=error)


def _content(values: Mapping[str, Any]) -> bytes:
    return canonical({name: values[name] for name in sorted(values)})


def why_unanswered(error: BaseException) -> str:
    """One line for a program call that came to nothing."""
    text = " ".join(str(error).split())[:200]
    if isinstance(error, dspy.AdapterParseError):
        return f"unparseable: {text}"
    return f"{type(error).__name__}: {text}"
