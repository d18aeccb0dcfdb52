"""Which optimizer a run takes and what it will cost, known before it starts.

The formulas are DSPy 3.4.1's and GEPA 0.1.4's (`dspy/teleprompt/mipro_optimizer_v2.py`,
`teleprompt/utils.py`, `propose/dataset_summary_generator.py`, `teleprompt/random_search.py`,
`teleprompt/gepa/gepa.py`, `gepa/core/engine.py`); tests count real runs' calls against them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from tdsys.core.policy import Policy
from tdsys.core.program import Auto, Method, Plan

MINIBATCH = 35
MINIBATCH_ABOVE = 50
TRIALS_PER_FULL_EVALUATION = 5
SUMMARY_BATCH = 10
SUMMARIES_AT_MOST = 10
CALLS_PER_INSTRUCTION = 3
# Below it one val answer moves a score by more than 6.7 points: among instructions that differ by
# less MIPROv2 would choose by chance, and it pays for proposing them. Random search proposes none.
FEWEST_FOR_MIPRO = 15
# Of GEPA: so many train items show it what a candidate does, before and after a change.
REFLECTED_ON = 3
LABELLED_DEMOS = 8
BOOTSTRAPPED_DEMOS = 4
# DSPy's estimate for GEPA's budget: bootstraps of each candidate, and a full check each so often.
GEPA_BOOTSTRAPS = 5
# A killed worker has paid for what is under way and loses it; that may be so much of a run.
SHARE_IN_FLIGHT = 0.01
# Of the program answers asked for; the others repeat a prompt that was answered before.
PAID_SHARE = 0.5
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


class Choice(NamedTuple):
    """The optimizer of a run, and why it is that one."""

    method: Method
    because: str


def choose(wanted: Method | Literal["auto"], n_train: int, n_val: int) -> Choice:
    """What the policy names; left to us MIPROv2, or random search where there is little data."""
    if wanted != "auto":
        return Choice(wanted, "the policy names it")
    size, split = min((n_train, "train"), (n_val, "val"))
    if size >= FEWEST_FOR_MIPRO:
        return Choice("miprov2", f"train and val have {FEWEST_FOR_MIPRO} examples or more each")
    return Choice(
        "random_search",
        f"{size} {split} examples are fewer than {FEWEST_FOR_MIPRO}: "
        "a search over instructions would choose by chance",
    )


def planned(policy: Policy, n_train: int, n_val: int, *, predictors: int = 1) -> Plan:
    """The plan of a run by the policy on splits of that size."""
    choice = choose(policy.optimizer, n_train, n_val)
    found = plan(n_train, n_val, policy.auto, predictors=predictors, method=choice.method)
    return found.model_copy(update={"because": choice.because})


def plan(
    n_train: int, n_val: int, auto: Auto, *, predictors: int = 1, method: Method = "miprov2"
) -> Plan:
    """The run's calls: evaluations exactly (of GEPA at most), the others at most.

    One call per predictor and answer; an unparseable answer costs one more.
    """
    validated = min(n_val, PRESETS[auto].validated_at_most)
    return _PLANS[method](n_train, validated, auto, predictors)


def evaluations(plan: Plan) -> int:
    """How many trials the run records, of GEPA at most: the default program first."""
    if plan.method == "gepa":
        return 1 + 3 * plan.trials  # a candidate before, after, and on all of val
    return 1 + plan.trials + (_full(plan.trials) if plan.minibatch else 0)


def in_flight(plan: Plan, threads: int, *, wanted: int | None = None) -> int:
    """How many calls of a run are under way at once: those that are wanted, as far as threads go.

    Left to us so few that a kill, which loses what is under way, costs next to nothing.
    """
    if wanted is not None:
        return min(threads, wanted)
    sure = plan.evaluation_calls * PAID_SHARE
    return min(threads, max(1, int(sure * SHARE_IN_FLIGHT)))


def _mipro(n_train: int, validated: int, auto: Auto, predictors: int) -> Plan:
    candidates = PRESETS[auto].candidates
    trials = _trials(candidates, predictors)
    minibatch = validated > MINIBATCH_ABOVE
    return Plan(
        method="miprov2",
        trials=trials,
        validated_on=validated,
        minibatch=minibatch,
        evaluation_calls=_evaluations(trials, validated, minibatch=minibatch) * predictors,
        bootstrap_calls_at_most=(candidates - 2) * n_train * predictors,
        proposal_calls=_proposals(n_train, candidates // 2, predictors),
    )


def _random_search(n_train: int, validated: int, auto: Auto, predictors: int) -> Plan:
    """No demos, labelled ones, the first that bootstrap, then so many shuffles; all in full."""
    sets = PRESETS[auto].candidates
    return Plan(
        method="random_search",
        trials=sets + 2,
        validated_on=validated,
        minibatch=False,
        evaluation_calls=validated * (sets + 3) * predictors,
        bootstrap_calls_at_most=(sets + 1) * n_train * predictors,
        proposal_calls=0,
    )


def _gepa(n_train: int, validated: int, auto: Auto, predictors: int) -> Plan:  # noqa: ARG001
    """Rounds until the budget is reached: three items, a reflection, three items, perhaps val."""
    answers = gepa_answers(validated, auto, predictors)
    rounds = max(0, math.ceil((answers - validated) / REFLECTED_ON))
    last_round = 2 * REFLECTED_ON + validated
    return Plan(
        method="gepa",
        trials=rounds,
        validated_on=validated,
        minibatch=True,
        evaluation_calls=max(validated, answers - 1 + last_round) * predictors,
        bootstrap_calls_at_most=0,
        proposal_calls=rounds,
    )


def gepa_answers(validated: int, auto: Auto, predictors: int) -> int:
    """How many program answers GEPA's preset allows before it begins no other round."""
    candidates = PRESETS[auto].candidates
    trials = _trials(candidates, predictors)
    in_full = (trials + 1) // TRIALS_PER_FULL_EVALUATION + 1
    return validated * (1 + in_full) + GEPA_BOOTSTRAPS * candidates + MINIBATCH * trials


_PLANS: dict[Method, Callable[[int, int, Auto, int], Plan]] = {
    "miprov2": _mipro,
    "random_search": _random_search,
    "gepa": _gepa,
}


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
