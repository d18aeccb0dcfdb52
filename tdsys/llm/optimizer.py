"""DSPy's optimizers behind our port: explicit splits, live evidence, no score that hides a failure.

Its rule: given data in the same order, seed and model, a run repeats itself call by call, so with
DSPy's disk cache a killed run starts again and pays only for what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import dspy
from dspy.utils.saving import get_dependency_versions
from pydantic import JsonValue

from tdsys.core import tombs
from tdsys.core.policy import Signature
from tdsys.core.program import Artefact, Grader, Item, ItemScore, Recipe, Spent, Trial
from tdsys.llm import extensions, methods, readiness
from tdsys.llm.evidence import (
    Evidence,
    Metric,
    graded,
    instruction_of,
    why_unanswered,
    why_ungraded,
)
from tdsys.llm.generation import as_example, restored
from tdsys.llm.session import Model, Outcome, quiet, run_all, using
from tdsys.llm.stopping import Gate, Ledger, attended

# The cache repeats an answer that cannot be read for ever; a fresh sample may be readable.
FRESH_SAMPLES = 2
PLAIN = Recipe()


class DspyOptimizer:
    """Compiles and evaluates programs with DSPy's optimizers on one model."""

    def __init__(self, model: Model, *, threads: int = 16) -> None:
        self._model = model
        self._threads = threads

    @property
    def model(self) -> str:
        """The model the program runs on, as stored with every result."""
        return self._model.label

    @property
    def simulated(self) -> bool:
        """Whether that model is the offline one."""
        return self._model.simulated

    def metric(self, name: str) -> Grader:
        """The installed metric of that name."""
        return extensions.metric(name)

    def predictors(self, signature: Signature, program: str | None) -> int:
        """How many prompts the program asks one after another."""
        return len(extensions.program(program, signature).predictors())

    def blockers(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        recipe: Recipe,
    ) -> list[str]:
        """Everything DSPy would silently score 0.0 or crash on late, with remedies; no calls."""
        if recipe.method == "miprov2":
            readiness.require_optuna()
        extensions.program(recipe.program, signature)
        return readiness.blockers(signature, train, val, grader)

    def optimize(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        recipe: Recipe,
        on_trial: Callable[[Trial], None],
        on_progress: Callable[[Spent], None] = lambda _: None,
        should_stop: Callable[[], bool],
    ) -> Artefact:
        """Search. Cancelled, ModelUnavailable, ConfigurationError, or NotReady with the reasons.

        `calls` counts answers asked for, cached ones included; `tokens` only what was paid.
        `on_trial` is called from another thread, one trial at a time; `on_progress` from this
        one, about twice a second, before `should_stop` is asked, and at the end.
        """
        program = extensions.program(recipe.program, signature)
        ledger = Ledger()
        metric = Metric(grader, signature, [*train, *val], ledger)
        evidence = Evidence(metric, ledger, recipe, on_trial)
        asked = using(
            self._model.lm(),
            gate=evidence.toll,
            callbacks=evidence.callbacks,
            unanswered=evidence.unanswered,
            about=_kept_under(recipe),
        )
        with asked as spent, quiet():

            def ask() -> bool:
                on_progress(evidence.so_far(spent))
                return should_stop()

            best = attended(
                lambda: methods.compiled(
                    program,
                    metric,
                    [as_example(item, signature) for item in train],
                    [as_example(item, signature) for item in val],
                    recipe=recipe,
                    threads=self._threads_of(recipe),
                ),
                ledger,
                ask,
            )
            on_progress(evidence.so_far(spent))  # all of it: the last half second was not told
        evidence.refuse()
        return Artefact(
            state=program_state(best),
            instruction=instruction_of(best),
            demos=metric.origins(best),
            calls=evidence.calls,
            tokens=spent.tokens,
            model=self.model,
            simulated=self.simulated,
            dspy_version=dspy.__version__,
        )

    def evaluate(
        self,
        signature: Signature,
        state: dict[str, JsonValue] | None,
        items: Sequence[Item],
        *,
        grader: Grader,
        should_stop: Callable[[], bool],
        recipe: Recipe = PLAIN,
    ) -> list[ItemScore]:
        """Score a program (None: the unoptimized one) on every item, in order.

        An item without a readable answer, fresh samples included, or without a grade has value
        None and the error. Cancelled, ModelUnavailable or ConfigurationError end it all.
        """
        program = restored(extensions.program(recipe.program, signature), state)
        ledger = Ledger()

        def score() -> list[ItemScore]:
            requests = [{n: item.inputs.get(n) for n in signature.inputs} for item in items]
            outcomes = _answers(program, requests, threads=self._threads_of(recipe))
            return [
                _scored(item, outcome, signature, grader, ledger)
                for item, outcome in zip(items, outcomes, strict=True)
            ]

        about = _kept_under(recipe)
        with using(self._model.lm(), gate=Gate(ledger), about=about), quiet():
            return attended(score, ledger, should_stop)

    def _threads_of(self, recipe: Recipe) -> int:
        return min(self._threads, recipe.in_flight or self._threads)


def _kept_under(recipe: Recipe) -> str | None:
    return None if recipe.domain is None else tombs.answers_in(recipe.domain)


def program_state(program: Any) -> dict[str, JsonValue]:
    """The program as the JSON document that `dspy.Predict(...).load("program.json")` reads."""
    state = program.dump_state() | {"metadata": {"dependency_versions": get_dependency_versions()}}
    plain: dict[str, JsonValue] = json.loads(json.dumps(state, ensure_ascii=False))
    return plain


def _answers(
    program: Any, requests: Sequence[dict[str, JsonValue]], *, threads: int
) -> list[Outcome]:
    """Every request's answer; what cannot be read is asked for again, as a fresh sample."""
    outcomes = run_all(program, requests, threads=threads)
    for attempt in range(1, FRESH_SAMPLES + 1):
        unread = [n for n, o in enumerate(outcomes) if isinstance(o.error, dspy.AdapterParseError)]
        if not unread:
            break
        fresh = {"config": {"rollout_id": attempt, "temperature": 1.0}}
        again = run_all(program, [requests[n] | fresh for n in unread], threads=threads)
        for number, outcome in zip(unread, again, strict=True):
            outcomes[number] = outcome
    return outcomes


def _scored(
    item: Item, outcome: Outcome, signature: Signature, grader: Grader, ledger: Ledger
) -> ItemScore:
    ledger.check()
    if outcome.error is not None:
        return ItemScore(uid=item.uid, value=None, error=why_unanswered(outcome.error))
    try:
        grade = graded(grader, item, outcome.prediction, signature)
    except Exception as error:  # noqa: BLE001  # a customer's metric raises what it likes
        return ItemScore(uid=item.uid, value=None, error=why_ungraded(error))
    return ItemScore(uid=item.uid, value=grade.value)
