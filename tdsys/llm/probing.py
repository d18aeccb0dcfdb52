"""Prompts with given demos, tried on the program's model: what attribution learns from.

Its rule: a probe is one prompt without instructions of an optimizer, so its scores differ from
another's by the demos alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from tdsys.core.attribution import Probed
from tdsys.core.policy import Signature
from tdsys.core.program import Grader, Item, ItemScore
from tdsys.llm.evidence import why_unanswered
from tdsys.llm.generation import as_example, problem_program, produced_by
from tdsys.llm.session import Model, quiet, run_all, using
from tdsys.llm.stopping import Gate, Ledger, attended

# Set in the thread that asks, read by the callback in the same thread.
_asked: ContextVar[list[None] | None] = ContextVar("asked", default=None)


class _Answer(NamedTuple):
    prediction: Any
    error: Exception | None
    calls: int


class _Counting(Gate):
    """Counts the answers asked for, each for the request it belongs to."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Count the call, or stop the work before it is made."""
        super().on_lm_start(call_id, instance, inputs)
        counted = _asked.get()
        if counted is not None:
            counted.append(None)


class ModelProber:
    """Tries prompts on one model, many at a time."""

    def __init__(self, model: Model, *, threads: int = 16) -> None:
        self._model = model
        self._threads = threads

    @property
    def model(self) -> str:
        """The model that answers, as stored with every result."""
        return self._model.label

    @property
    def simulated(self) -> bool:
        """Whether that model is the offline one."""
        return self._model.simulated

    def probe(
        self,
        signature: Signature,
        tries: Sequence[tuple[Sequence[Item], Sequence[Item]]],
        *,
        grader: Grader,
        should_stop: Callable[[], bool],
    ) -> list[Probed]:
        """Score prompts, each (demos, items to ask), in order; see the port."""
        program = problem_program(signature)
        shown = {item.uid: as_example(item, signature) for demos, _ in tries for item in demos}
        requests = [
            {**{n: item.inputs.get(n) for n in signature.inputs},
             "demos": [shown[demo.uid] for demo in demos]}
            for demos, items in tries
            for item in items
        ]  # fmt: skip
        ledger = Ledger()

        def ask(**request: Any) -> _Answer:
            counted: list[None] = []
            _asked.set(counted)
            try:
                return _Answer(program(**request), None, len(counted))
            except Exception as error:  # noqa: BLE001  # sorted by the gate, or told with the item
                return _Answer(None, error, len(counted))

        def work() -> list[Probed]:
            outcomes = run_all(ask, requests, threads=self._threads)
            ledger.check()
            answers = iter([one.prediction for one in outcomes])
            return [_probed(items, answers, signature, grader) for _, items in tries]

        with using(self._model.lm(), callbacks=[_Counting(ledger)]), quiet():
            return attended(work, ledger, should_stop)


def _probed(items: Sequence[Item], answers: Any, signature: Signature, grader: Grader) -> Probed:
    told = [(item, next(answers)) for item in items]
    scores = tuple(
        ItemScore(uid=item.uid, value=grader(item, produced_by(one.prediction, signature)).value)
        if one.error is None
        else ItemScore(uid=item.uid, value=None, error=why_unanswered(one.error))
        for item, one in told
    )
    return Probed(scores, sum(one.calls for _, one in told))
