"""MIPROv2 behind our port: explicit splits, live evidence, and no score that hides a failure.

Its rule: given data in the same order, seed and model, a run repeats itself call by call, so with
DSPy's disk cache a killed run starts again and pays only for what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dspy
from dspy.utils.saving import get_dependency_versions
from pydantic import JsonValue

from tdsys.core.policy import Signature
from tdsys.core.program import Artefact, Auto, Grader, Item, ItemScore, Trial
from tdsys.errors import Cancelled, ConfigurationError, NotReady
from tdsys.llm import readiness
from tdsys.llm.evidence import Evidence, Ledger, Metric, Stopped
from tdsys.llm.generation import as_example, problem_program, produced_by, restored_program
from tdsys.llm.session import Model, Outcome, quiet, run_all, translate, using

# Without a threshold MIPROv2 takes any answer that scores above 0 for a demo.
DEMO_FROM = 0.7
NEVER = 10**9


class MiproOptimizer:
    """Compiles and evaluates programs with DSPy's MIPROv2 on one model."""

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

    def blockers(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        auto: Auto,  # noqa: ARG002  # the presets never block
    ) -> list[str]:
        """Everything MIPROv2 would silently score 0.0 or crash on late, with remedies; no calls."""
        readiness.require_optuna()
        return readiness.blockers(signature, train, val, grader)

    def optimize(
        self,
        signature: Signature,
        train: Sequence[Item],
        val: Sequence[Item],
        *,
        grader: Grader,
        auto: Auto,
        seed: int,
        on_trial: Callable[[Trial], None],
        should_stop: Callable[[], bool],
    ) -> Artefact:
        """Run MIPROv2. Cancelled, ModelUnavailable, ConfigurationError, or NotReady when flat.

        `calls` counts answers asked for, cached ones included; `tokens` only what was paid.
        """
        readiness.require_optuna()
        ledger = Ledger(should_stop)
        metric = Metric(grader, signature, [*train, *val], ledger)
        evidence = Evidence(metric, ledger, on_trial)
        with using(self._model.lm(), callbacks=[evidence]) as spent, quiet(), _ending(ledger):
            mipro = dspy.MIPROv2(
                metric=metric,
                auto=auto,
                seed=seed,
                num_threads=self._threads,
                max_errors=NEVER,
                metric_threshold=DEMO_FROM,
            )
            best = mipro.compile(
                problem_program(signature),
                trainset=[as_example(item, signature) for item in train],
                valset=[as_example(item, signature) for item in val],
            )
        _refuse_flat(evidence.trials)
        return Artefact(
            state=program_state(best),
            instruction=best.signature.instructions,
            demos=tuple(metric.origin(demo) for demo in best.demos),
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
    ) -> list[ItemScore]:
        """Score a program (None: the unoptimized one) on every item, in order.

        An item without an answer has value None and the error; ConfigurationError when the model
        refuses us altogether.
        """
        program = restored_program(signature, state)
        requests = [{n: item.inputs.get(n) for n in signature.inputs} for item in items]
        with using(self._model.lm()), quiet():
            outcomes = run_all(program, requests, threads=self._threads)
        return [
            _scored(item, outcome, signature, grader)
            for item, outcome in zip(items, outcomes, strict=True)
        ]


def program_state(program: Any) -> dict[str, JsonValue]:
    """The program as the JSON document that `dspy.Predict(...).load("program.json")` reads."""
    state = program.dump_state() | {"metadata": {"dependency_versions": get_dependency_versions()}}
    plain: dict[str, JsonValue] = json.loads(json.dumps(state, ensure_ascii=False))
    return plain


@contextmanager
def _ending(ledger: Ledger) -> Iterator[None]:
    """Turn the reason a run was stopped for into our error; nothing passes as a finished run."""
    try:
        yield
    except Stopped:
        pass
    except dspy.LMError as error:
        raise translate(error) from error
    except dspy.AdapterParseError as error:
        raise NotReady(
            f"the model's answers cannot be read: {' '.join(str(error).split())[:200]}",
            remedy="choose a model that keeps to an output format",
        ) from error
    if isinstance(ledger.failure, dspy.LMError):
        raise translate(ledger.failure) from ledger.failure
    if ledger.failure is not None:
        raise ledger.failure
    if ledger.is_cancelled:
        raise Cancelled("the optimization was stopped on request")


def _refuse_flat(trials: Sequence[Trial]) -> None:
    if any(trial.score for trial in trials):
        return
    errors = sorted({item.error for trial in trials for item in trial.items if item.error})
    reason = f"; first error: {errors[0]}" if errors else ""
    raise NotReady(
        f"flat metric: all {len(trials)} trials scored 0{reason}",
        remedy="look at the examples and the metric; no program was kept",
    )


def _scored(item: Item, outcome: Outcome, signature: Signature, grader: Grader) -> ItemScore:
    if outcome.error is None:
        grade = grader(item, produced_by(outcome.prediction, signature))
        return ItemScore(uid=item.uid, value=grade.value)
    meaning = translate(outcome.error) if isinstance(outcome.error, dspy.LMError) else outcome.error
    if isinstance(meaning, ConfigurationError):
        raise meaning from outcome.error
    return ItemScore(uid=item.uid, value=None, error=f"{type(meaning).__name__}: {meaning}"[:300])
