"""MIPROv2 behind our port: explicit splits, live evidence, and no score that hides a failure.

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

from tdsys.core.policy import Signature
from tdsys.core.program import Artefact, Auto, Grader, Item, ItemScore, Trial
from tdsys.errors import NotReady
from tdsys.llm import readiness
from tdsys.llm.evidence import Evidence, Metric, why_unanswered
from tdsys.llm.generation import as_example, problem_program, produced_by, restored_program
from tdsys.llm.session import Model, Outcome, quiet, run_all, using
from tdsys.llm.stopping import Gate, Ledger, attended

# Without a threshold MIPROv2 takes any answer that scores above 0 for a demo.
DEMO_FROM = 0.7
NEVER = 10**9
# The cache repeats an answer that cannot be read for ever; a fresh sample may be readable.
FRESH_SAMPLES = 2


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
        `on_trial` is called from another thread, one trial at a time.
        """
        readiness.require_optuna()
        ledger = Ledger()
        metric = Metric(grader, signature, [*train, *val], ledger)
        evidence = Evidence(metric, ledger, on_trial)
        with using(self._model.lm(), callbacks=[evidence]) as spent, quiet():
            mipro = dspy.MIPROv2(
                metric=metric,
                auto=auto,
                seed=seed,
                num_threads=self._threads,
                max_errors=NEVER,
                metric_threshold=DEMO_FROM,
            )
            best = attended(
                lambda: mipro.compile(
                    problem_program(signature),
                    trainset=[as_example(item, signature) for item in train],
                    valset=[as_example(item, signature) for item in val],
                ),
                ledger,
                should_stop,
            )
        _refuse_flat(evidence)
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
        should_stop: Callable[[], bool],
    ) -> list[ItemScore]:
        """Score a program (None: the unoptimized one) on every item, in order.

        An item the model gives no readable answer to, fresh samples included, has value None and
        the error. Cancelled, ModelUnavailable or ConfigurationError end the whole evaluation.
        """
        program = restored_program(signature, state)
        ledger = Ledger()

        def score() -> list[ItemScore]:
            requests = [{n: item.inputs.get(n) for n in signature.inputs} for item in items]
            outcomes = _answers(program, requests, threads=self._threads)
            return [
                _scored(item, outcome, signature, grader, ledger)
                for item, outcome in zip(items, outcomes, strict=True)
            ]

        with using(self._model.lm(), callbacks=[Gate(ledger)]), quiet():
            return attended(score, ledger, should_stop)


def program_state(program: Any) -> dict[str, JsonValue]:
    """The program as the JSON document that `dspy.Predict(...).load("program.json")` reads."""
    state = program.dump_state() | {"metadata": {"dependency_versions": get_dependency_versions()}}
    plain: dict[str, JsonValue] = json.loads(json.dumps(state, ensure_ascii=False))
    return plain


def _refuse_flat(evidence: Evidence) -> None:
    if any(trial.score for trial in evidence.trials):
        return
    reason = f"; first error: {evidence.errors[0]}" if evidence.errors else ""
    raise NotReady(
        f"flat metric: all {len(evidence.trials)} trials scored 0{reason}",
        remedy="look at the examples and the metric; no program was kept",
    )


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
    grade = grader(item, produced_by(outcome.prediction, signature))
    return ItemScore(uid=item.uid, value=grade.value)
