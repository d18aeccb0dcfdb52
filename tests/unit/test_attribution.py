"""What attribution tries, finds and does not claim: on simulated worlds whose truth is known."""

from __future__ import annotations

import random
from collections import Counter
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsys.core.advising import DEMOS, effect_of_leaving
from tdsys.core.attribution import (
    FEWEST_DEMOS,
    MOST_CANDIDATES,
    MOST_DEMOS,
    NEGLIGIBLE,
    Candidate,
    Effect,
    Probe,
    Row,
    calls_for,
    expected_error,
    mean_size,
    prescreened,
    probes,
    verdicts,
)
from tdsys.core.estimating import Estimate, chance, estimate, quantile
from tests.planted import ITEMS, World, nothing, planted, precision

CALLS = 2000
FOUND = {Effect.HELPFUL, Effect.HARMFUL}


@pytest.fixture(scope="module")
def worlds() -> list[tuple[World, Estimate]]:
    made = [planted(seed) for seed in range(8)]
    return [
        (one, estimate(one.evidence(calls=CALLS, seed=n), one.pool)) for n, one in enumerate(made)
    ]


@given(
    pool=st.integers(4, 80), items=st.integers(1, 30), calls=st.integers(1, 300), seed=st.integers()
)
@settings(max_examples=40, deadline=None)
def test_every_example_and_item_is_tried_equally_often_and_the_budget_is_met(
    pool: int, items: int, calls: int, seed: int
) -> None:
    names, asked = [f"e{n}" for n in range(pool)], [f"v{n}" for n in range(items)]
    tries = probes(names, asked, calls=calls, seed=seed)
    assert sum(len(one.items) for one in tries) == calls
    assert all(len(set(one.demos)) == len(one.demos) for one in tries)
    assert tries == probes(names, asked, calls=calls, seed=seed)
    for cards, dealt in ((names, [one.demos for one in tries]), (asked, [o.items for o in tries])):
        seen = Counter(card for hand in dealt for card in hand)
        counts = [seen[card] for card in cards]
        # Who was passed over for being in the hand comes next: one more or less, not two.
        assert max(counts) - min(counts) <= 2


def test_subsets_are_of_many_sizes_up_to_14_and_the_larger_ones_more_often() -> None:
    tries = probes([f"e{n}" for n in range(60)], ITEMS, calls=CALLS, seed=1)
    sizes = Counter(len(one.demos) for one in tries)
    assert set(range(5, MOST_DEMOS + 1)) <= set(sizes) <= set(range(FEWEST_DEMOS, MOST_DEMOS + 1))
    assert sizes[MOST_DEMOS] > sizes[7] > 0
    assert fmean(len(one.demos) for one in tries) == pytest.approx(mean_size(60), abs=0.3)


@pytest.mark.criterion("9.1")
def test_the_planted_helpful_and_harmful_examples_are_found_at_2000_calls(
    worlds: list[tuple[World, Estimate]],
) -> None:
    helpful = fmean(precision(e.contributions, w.helpful, worst=False) for w, e in worlds)
    harmful = fmean(precision(e.contributions, w.harmful, worst=True) for w, e in worlds)
    assert helpful >= 0.85
    assert harmful >= 0.90


def test_who_is_called_helpful_or_harmful_is_so(worlds: list[tuple[World, Estimate]]) -> None:
    flagged = [(w, one) for w, e in worlds for one in e.contributions if one.verdict in FOUND]
    right = [(w.effects[one.example] > 0) == (one.verdict is Effect.HELPFUL) for w, one in flagged]
    assert len(flagged) >= 10 * len(worlds)
    assert fmean(right) >= 0.95


def test_where_nothing_helps_or_harms_next_to_nothing_is_claimed() -> None:
    claimed = [
        any(one.verdict in FOUND for one in estimate(rows, world.pool).contributions)
        for seed in range(12)
        for world in [nothing(seed)]
        for rows in [world.evidence(calls=800, seed=seed)]
    ]
    # With a true rate of 5 %, five of twelve happen once in five thousand runs.
    assert sum(claimed) <= 4


def test_intervals_hold_what_a_hundred_thousand_answers_would_say(
    worlds: list[tuple[World, Estimate]],
) -> None:
    inside = []
    for seed, (world, found) in enumerate(worlds[:3]):
        truth = dict(zip(world.pool, true_effects(world, seed=1000 + seed), strict=True))
        inside += [
            one.ci_low <= truth[one.example] <= one.ci_high
            for one in found.contributions
            if one.ci_low is not None and one.ci_high is not None
        ]
    assert len(inside) == 180
    assert 0.90 <= fmean(inside) <= 0.99  # `make bench` asks for 0.93 to 0.97 over more worlds


def true_effects(world: World, *, seed: int) -> list[float]:
    """What least squares finds in many noiseless subsets: that is what is estimated."""
    tries = probes(world.pool, ITEMS, calls=4000, seed=seed)
    who = np.array([[float(name in one.demos) for name in world.pool] for one in tries])
    pulls = 2 * np.tanh(who @ np.array(list(world.effects.values())) / 2)
    hardness = np.array(list(world.hardness.values()))
    means = (1 / (1 + np.exp(hardness[None, :] - pulls[:, None]))).mean(axis=1)
    found = np.linalg.lstsq(np.column_stack([who, np.ones(len(who))]), means, rcond=None)[0]
    return [float(value) for value in found[:-1]]


def test_the_error_that_was_announced_is_the_error_that_comes(
    worlds: list[tuple[World, Estimate]],
) -> None:
    announced = expected_error(CALLS, 60)
    assert all(found.error == pytest.approx(announced, rel=0.15) for _, found in worlds)
    assert expected_error(calls_for(0.03, 200), 200) == pytest.approx(0.03, rel=0.01)


def test_scores_of_an_earlier_version_add_up_also_if_some_of_its_examples_are_gone(
    worlds: list[tuple[World, Estimate]],
) -> None:
    world, alone = worlds[0]
    more = world.evidence(calls=CALLS, seed=99)
    left = world.pool[:50]
    old = [row._replace(context="version 1", subset=f"old {row.subset}") for row in more]
    both = estimate([*old, *world.evidence(calls=CALLS, seed=0)], left)
    assert [one.example for one in both.contributions] == left
    assert both.error is not None
    assert alone.error is not None
    assert both.error < 0.8 * alone.error


def test_what_an_instruction_does_is_not_put_down_to_the_examples_it_was_tried_with() -> None:
    world = nothing(3)
    rows = world.evidence(calls=1500, seed=3)
    lucky = world.pool[:3]
    shone = [
        row._replace(demos=tuple(lucky), value=1.0, context="a better instruction", subset="shone")
        for row in rows[:48]
    ]
    found = estimate([*rows, *shone], world.pool)
    assert not [one for one in found.contributions if one.verdict in FOUND]


def test_with_too_few_scores_nothing_is_said_and_that_is_said() -> None:
    world = planted(1)
    found = estimate(world.evidence(calls=100, seed=1), world.pool)
    assert not found.is_enough
    assert "not enough evidence: 100 scores for 60 examples" in found.because
    assert {one.verdict for one in found.contributions} == {Effect.UNKNOWN}
    assert all(one.value is one.ci_low is one.ci_high is None for one in found.contributions)
    assert estimate([], world.pool).error is None


@pytest.mark.parametrize("count", [4, 5, 6])
def test_of_the_smallest_pool_that_is_accepted_something_can_be_told(count: int) -> None:
    pool, draw = [f"e{n}" for n in range(count)], random.Random(count)
    rows = [
        Row(one.demos, item, 0.8 - 0.6 * (pool[0] in one.demos) + draw.random() / 10, "", str(n))
        for n, one in enumerate(probes(pool, ITEMS, calls=300, seed=1))
        for item in one.items
    ]
    assert fmean(len(row.demos) for row in rows) == pytest.approx(mean_size(count), abs=0.2)
    worst = min(estimate(rows, pool).contributions, key=lambda one: one.value or 0.0)
    assert (worst.example, worst.verdict) == (pool[0], Effect.HARMFUL)


def test_scores_of_another_major_version_add_up_although_it_asks_none_of_the_same_items(
    worlds: list[tuple[World, Estimate]],
) -> None:
    world, alone = worlds[0]
    rows = world.evidence(calls=CALLS, seed=99)
    old = [
        row._replace(context=f"version {1 + n % 2}", item=f"old {row.item}", subset=f"old {n}")
        for n, row in enumerate(rows)
    ]
    both = estimate([*world.evidence(calls=CALLS, seed=0), *old], world.pool)
    assert both.error is not None
    assert alone.error is not None
    assert both.error < 0.8 * alone.error


def test_scores_that_never_differ_are_no_evidence_that_nothing_matters() -> None:
    world = planted(1)
    rows = [
        row._replace(value=float(row.item < "item 3"))
        for row in world.evidence(calls=CALLS, seed=1)
    ]
    found = estimate(rows, world.pool)
    assert not found.is_enough
    assert {(one.verdict, one.value) for one in found.contributions} == {(Effect.UNKNOWN, None)}
    assert "no two of one request differ" in found.because


def test_an_example_that_was_never_tried_is_unknown_beside_the_others() -> None:
    world = planted(1)
    rows = world.evidence(calls=CALLS, seed=1)
    found = estimate(rows, [*world.pool, "a newcomer"])
    assert found.contributions[-1].verdict is Effect.UNKNOWN
    assert found.contributions[-1].n == 0
    assert "1 of 61 examples have too few scores" in found.because


def test_the_interval_of_a_sum_allows_for_its_parts_having_been_picked(
    worlds: list[tuple[World, Estimate]],
) -> None:
    _, found = worlds[0]
    worst = sorted(found.contributions, key=lambda one: one.value or 0.0)[:8]
    gain = found.contrast({one.example: -1 / 8 for one in worst})
    assert gain.value == pytest.approx(-fmean(one.value or 0.0 for one in worst))
    assert found.error is not None
    # Eight independent errors would make it 2 / sqrt(8) of one.
    assert gain.high - gain.value > 2 * found.error / 8**0.5
    assert gain.value - gain.low == pytest.approx(gain.high - gain.value)


def test_benjamini_hochberg_takes_the_largest_rank_that_passes() -> None:
    wide = (0.1, -0.2, 0.4)
    found = verdicts([(*wide, p) for p in (0.04, 0.01, 0.9, 0.03)], share=0.08)
    assert found == [Effect.HELPFUL, Effect.HELPFUL, Effect.UNKNOWN, Effect.HELPFUL]
    assert verdicts([(-0.1, -0.2, 0.0, 0.001)]) == [Effect.HARMFUL]
    inside = NEGLIGIBLE / 2
    assert verdicts([(0.0, -inside, inside, 0.9)]) == [Effect.NEUTRAL]


def test_the_live_programs_demos_and_the_best_of_each_cluster_are_attributed_first() -> None:
    many = [Candidate(f"e{n:03}", n // 2, n / 300, in_program=n == 0) for n in range(300)]
    chosen = prescreened(many)
    assert len(chosen) == MOST_CANDIDATES
    assert "e000" in chosen
    clusters = Counter(int(name[1:]) // 2 for name in chosen)
    assert max(clusters.values()) == 1
    assert prescreened(many[:7]) == [one.example for one in many[:7]]


def test_quantiles_and_chances_are_students() -> None:
    for freedom, value in ((10, 2.2281), (30, 2.0423), (200, 1.9719)):
        assert quantile(freedom) == pytest.approx(value, abs=2e-3)
        assert chance(value, freedom) == pytest.approx(0.05, abs=5e-4)


@pytest.mark.criterion("9.4")
def test_without_what_is_called_harmful_a_random_prompt_scores_better_about_as_predicted(
    worlds: list[tuple[World, Estimate]],
) -> None:
    gains, promised, inside = [], [], 0
    for seed, (world, found) in enumerate(worlds):
        gone = [one.example for one in found.contributions if one.verdict is Effect.HARMFUL]
        left = [name for name in world.pool if name not in gone]
        predicted = effect_of_leaving(gone, world.pool, found.contrast)
        assert predicted is not None
        gains.append(of_prompts(world, left, seed) - of_prompts(world, world.pool, seed))
        promised.append(predicted.value)
        assert predicted.low > 0
        inside += predicted.low <= gains[-1] <= predicted.high
    assert inside >= len(gains) - 2
    assert sum(gain > 0 for gain in gains) == len(gains)
    assert fmean(promised) == pytest.approx(fmean(gains), rel=0.15)


def of_prompts(world: World, pool: list[str], seed: int) -> float:
    """The true mean score of prompts of eight random demos."""
    draw = random.Random(seed)
    prompts = [tuple(draw.sample(pool, DEMOS)) for _ in range(150)]
    return fmean(world.mean_of(Probe(demos, ())) for demos in prompts)
