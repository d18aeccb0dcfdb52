"""What a MIPROv2 run will cost, known before it starts.

The formulas are DSPy 3.4.1's (`dspy/teleprompt/mipro_optimizer_v2.py`, `teleprompt/utils.py`,
`propose/dataset_summary_generator.py`); a test counts a real run's calls against them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tdsys.core.program import Auto, Plan

MINIBATCH = 35
MINIBATCH_ABOVE = 50
TRIALS_PER_FULL_EVALUATION = 5
SUMMARY_BATCH = 10
SUMMARIES_AT_MOST = 10
CALLS_PER_INSTRUCTION = 3
# MIPROv2 shows at most so many demos; what frames them is about the size of the instructions.
DEMOS = 4
FRAME_TOKENS = 300
CHARACTERS_PER_TOKEN = 4


class Preset(NamedTuple):
    """One of MIPROv2's `auto` settings."""

    candidates: int
    validated_at_most: int


PRESETS: dict[Auto, Preset] = {
    "light": Preset(6, 100),
    "medium": Preset(12, 300),
    "heavy": Preset(18, 1000),
}


def plan(n_train: int, n_val: int, auto: Auto, *, predictors: int = 1) -> Plan:
    """The run's calls: evaluations exactly, bootstrapping and proposals at most.

    One call per program answer; an unparseable answer costs one more.
    """
    preset = PRESETS[auto]
    validated = min(n_val, preset.validated_at_most)
    trials = _trials(preset.candidates, predictors)
    minibatch = validated > MINIBATCH_ABOVE
    return Plan(
        trials=trials,
        validated_on=validated,
        minibatch=minibatch,
        evaluation_calls=_evaluations(trials, validated, minibatch=minibatch) * predictors,
        bootstrap_calls_at_most=(preset.candidates - 2) * n_train * predictors,
        proposal_calls=_proposals(n_train, preset.candidates // 2, predictors),
    )


def evaluations(plan: Plan) -> int:
    """How many trials the run records: the default program, each candidate, each full check."""
    return 1 + plan.trials + (_full(plan.trials) if plan.minibatch else 0)


class Estimate(NamedTuple):
    """What a run takes at most; `dollars` and `seconds` are None where nothing is known of them."""

    plan: Plan
    tokens: int
    dollars: float | None
    seconds: float | None


def estimate(
    plan: Plan, *, characters: float, price: float | None, seconds_per_call: float | None
) -> Estimate:
    """Tokens, US dollars and seconds of a plan where an example has so many characters.

    `price` is for a million tokens; `seconds_per_call` is of a whole run, calls at once and all.
    """
    calls = plan.calls_at_most
    tokens = round(calls * tokens_per_call(characters))
    return Estimate(
        plan,
        tokens,
        None if price is None else tokens * price / 1e6,
        None if seconds_per_call is None else calls * seconds_per_call,
    )


def tokens_per_call(characters: float) -> float:
    """About how many tokens a call takes where an example has so many characters."""
    return FRAME_TOKENS + (1 + DEMOS) * characters / CHARACTERS_PER_TOKEN


def _trials(candidates: int, predictors: int) -> int:
    # Two variables per predictor: its instruction and its set of demos.
    return int(max(2 * 2 * predictors * math.log2(candidates), 1.5 * candidates))


def _evaluations(trials: int, validated: int, *, minibatch: bool) -> int:
    """Program answers: the default program in full, then every trial."""
    if not minibatch:
        return validated * (1 + trials)
    return validated * (1 + _full(trials)) + MINIBATCH * trials


def _full(trials: int) -> int:
    """Among minibatches the best candidate so far is checked on all items now and then."""
    return math.ceil(trials / TRIALS_PER_FULL_EVALUATION)


def _proposals(n_train: int, instructions: int, predictors: int) -> int:
    looks = min(SUMMARIES_AT_MOST, math.ceil(n_train / SUMMARY_BATCH))
    return looks + 1 + CALLS_PER_INSTRUCTION * instructions * predictors
