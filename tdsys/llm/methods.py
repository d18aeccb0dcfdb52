"""The optimizers of DSPy behind one function: MIPROv2, random search over demos, GEPA.

Its rule: what each is given decides what it does, so that the same recipe on the same data and
model repeats itself call by call, and with the disk cache a killed run replays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import dspy

from tdsys.core.budget import (
    BOOTSTRAPPED_DEMOS,
    LABELLED_DEMOS,
    PRESETS,
    REFLECTED_ON,
    gepa_answers,
)
from tdsys.core.program import Method, Recipe

# Without a threshold DSPy takes any answer that scores above 0 for a demo.
DEMO_FROM = 0.7
NEVER = 10**9
Examples = Sequence[Any]


def compiled(
    program: Any, metric: Any, train: Examples, val: Examples, *, recipe: Recipe, threads: int
) -> Any:
    """The best program that the recipe's method finds; runs inside `using`."""
    return _METHODS[recipe.method](program, metric, train, val, recipe, threads)


def _mipro(
    program: Any, metric: Any, train: Examples, val: Examples, recipe: Recipe, threads: int
) -> Any:
    mipro = dspy.MIPROv2(
        metric=metric,
        auto=recipe.auto,
        seed=recipe.seed,
        num_threads=threads,
        max_errors=NEVER,
        metric_threshold=DEMO_FROM,
    )
    return mipro.compile(program, trainset=list(train), valset=list(val))


def _random_search(
    program: Any, metric: Any, train: Examples, val: Examples, recipe: Recipe, threads: int
) -> Any:
    search = dspy.BootstrapFewShotWithRandomSearch(
        metric=metric,
        metric_threshold=DEMO_FROM,
        max_bootstrapped_demos=BOOTSTRAPPED_DEMOS,
        max_labeled_demos=LABELLED_DEMOS,
        num_candidate_programs=PRESETS[recipe.auto].candidates,
        num_threads=threads,
        max_errors=NEVER,
    )
    # Its own seeds are 0, 1, 2, ...; the run's seed tells in which order they find the examples.
    shuffled = random.Random(recipe.seed).sample(list(train), len(train))  # noqa: S311
    return search.compile(program, trainset=shuffled, valset=_validated(val, recipe))


def _gepa(
    program: Any, metric: Any, train: Examples, val: Examples, recipe: Recipe, threads: int
) -> Any:
    chosen = _validated(val, recipe)
    gepa = dspy.GEPA(
        metric=metric,
        max_metric_calls=gepa_answers(len(chosen), recipe.auto, len(program.predictors())),
        reflection_minibatch_size=REFLECTED_ON,
        reflection_lm=dspy.settings.lm.copy(temperature=1.0),
        # A merge joins what several predictors learned apart; it would make the plan a guess.
        use_merge=False,
        num_threads=threads,
        warn_on_score_mismatch=False,
        seed=recipe.seed,
    )
    return gepa.compile(program, trainset=list(train), valset=chosen)


def _validated(val: Examples, recipe: Recipe) -> list[Any]:
    """As many val examples as MIPROv2 would look at, drawn by the seed."""
    most = PRESETS[recipe.auto].validated_at_most
    if len(val) <= most:
        return list(val)
    return random.Random(recipe.seed).sample(list(val), most)  # noqa: S311


_METHODS: dict[Method, Callable[..., Any]] = {
    "miprov2": _mipro,
    "random_search": _random_search,
    "gepa": _gepa,
}
