"""What scores are worth beside people's words; every example here is simulated with known truth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.calibration import (
    QUALITY,
    Compared,
    Sampled,
    Stratum,
    best,
    calibrate,
    compared,
    fields,
    limits_of,
    lowest,
    meets,
    missing,
    stratum,
    weights,
)
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import Dimension, decide
from tests.factories import make_assessment, make_verdict

VALUE = st.integers(0, 5).map(lambda n: n / 5)


def item(value: float, *, good: bool, weight: float = 1.0, **dimensions: float) -> Compared:
    found = compared(
        make_verdict(), make_assessment(value, **dimensions), Policy(), good=good, weight=weight
    )
    assert found
    return found


def simulated(count: int, *, seed: int = 1, flaw: float = 0.0) -> list[Compared]:
    """Examples whose chance to be good is their accuracy squared; `flaw` of the labels turned."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        accuracy = draw.randint(3, 10) / 10
        good = (draw.random() < accuracy**2) is not (draw.random() < flaw)
        made.append(item(0.9, accuracy=accuracy, good=good))
    return made


ITEMS = st.lists(
    st.builds(
        lambda value, accuracy, good, weight: item(
            value, accuracy=accuracy, good=good, weight=weight
        ),
        VALUE, VALUE, st.booleans(), st.sampled_from([1.0, 4.0]),
    ),
    max_size=40,
)  # fmt: skip


def test_a_perfect_judge_is_called_perfect() -> None:
    items = [item(0.9, good=True)] * 20 + [item(0.1, good=False)] * 20
    found = calibrate(items, Policy(), wanted=0.8)
    assert found.kappa
    assert (found.kappa.value, found.weighted_kappa, found.alpha) == (1, 1, 1)
    assert found.accepted.precision
    assert found.accepted.recall
    assert (found.accepted.precision.value, found.accepted.recall.value) == (1, 1)
    assert found.accepted.precision.low == pytest.approx(0.839, abs=5e-4)


def test_a_judge_that_answers_anything_agrees_no_more_than_chance() -> None:
    draw = random.Random(3)
    items = [item(draw.choice([0.1, 0.9]), good=draw.random() < 0.5) for _ in range(2000)]
    found = calibrate(items, Policy(), wanted=0.95)
    assert found.kappa
    assert found.kappa.low < 0 < found.kappa.high
    assert found.thresholds == ()
    assert best(found.thresholds) is None


def test_to_ask_a_person_is_half_a_disagreement() -> None:
    items = [item(0.9, good=True)] * 10 + [item(0.55, good=True)] * 10 + [item(0.1, good=False)] * 9
    asked = calibrate(items, Policy(), wanted=0.9).weighted_kappa
    wrong = [*items[:10], *[item(0.1, good=True)] * 10, *items[20:]]
    refused = calibrate(wrong, Policy(), wanted=0.9).weighted_kappa
    assert asked is not None
    assert refused is not None
    assert 1 > asked > refused


@given(ITEMS, st.sampled_from([QUALITY, *(d.value for d in Dimension)]), st.floats(0.1, 1))
def test_the_lowest_threshold_reaches_what_is_wanted_and_none_below_it_does(
    items: list[Compared], knob: str, wanted: float
) -> None:
    limits = limits_of(Policy())
    at = lowest(items, limits, knob, wanted, basis="estimate")
    values = sorted({one.values[knob] for one in items})

    def reaches(limit: float) -> bool:
        taken = [one for one in items if meets(one, {**limits, knob: limit})]
        total = sum(one.weight for one in taken)
        squares = sum(one.weight**2 for one in taken)
        good = sum(one.weight for one in taken if one.good)
        return bool(taken) and total**2 / squares >= 10 and good / total >= wanted - 1e-6

    reaching = [value for value in values if reaches(value)]
    # Nothing accepted lies between a value below all accepted and the lowest accepted one.
    taken = [one.values[knob] for one in items if meets(one, {**limits, knob: 0.0})]
    assert (at is None) is (not reaching)
    if at is not None:
        assert reaches(at)
        assert min((v for v in taken if v >= reaching[0]), default=None) == at


@given(ITEMS, st.floats(0.1, 1), st.floats(0.1, 1))
def test_a_lower_bound_asks_for_at_least_as_much_as_a_lower_wish(
    items: list[Compared], a: float, b: float
) -> None:
    less, more = sorted((a, b))
    limits = limits_of(Policy())
    for knob in (QUALITY, "accuracy"):
        easy = lowest(items, limits, knob, less, basis="lower bound")
        hard = lowest(items, limits, knob, more, basis="lower bound")
        assert hard is None or (easy is not None and easy <= hard)


def test_a_threshold_holds_on_examples_it_was_not_chosen_by() -> None:
    policy = Policy()
    found = calibrate(simulated(600), policy, wanted=0.8)
    chosen = best(found.thresholds)
    assert chosen
    assert chosen.held_out.precision
    assert chosen.held_out.precision.value >= 0.75
    after = Policy.model_validate(policy.model_dump() | fields(chosen, policy))
    fresh = [one for one in simulated(4000, seed=9) if meets(one, limits_of(after))]
    good = sum(one.good for one in fresh) / len(fresh)
    assert good >= 0.78
    assert good == pytest.approx(chosen.held_out.precision.value, abs=0.06)


def test_a_threshold_of_a_dimension_stays_above_what_is_rejected() -> None:
    items = [item(0.9, accuracy=n % 10 / 10, good=True) for n in range(60)]
    items += [item(0.1, good=False)] * 5
    found = {one.knob: one.at for one in calibrate(items, Policy(), wanted=0.8).thresholds}
    assert found["accuracy"] >= Policy().reject_below.accuracy


def test_few_accepted_examples_reach_nothing() -> None:
    items = [item(0.9, good=True)] * 9 + [item(0.1, good=False)] * 30
    assert calibrate(items, Policy(), wanted=0.5).thresholds != ()
    assert lowest(items, limits_of(Policy()), QUALITY, 0.99, basis="estimate") is None
    assert lowest(items, limits_of(Policy()), QUALITY, 0.99, basis="lower bound") is None


def test_numbers_of_a_person_are_compared_in_their_dimension() -> None:
    items = [
        item(n % 6 / 5, good=True)._replace(given={Dimension.COHERENCE: max(0, n % 6 / 5 - 0.2)})
        for n in range(36)
    ]
    (found,) = calibrate([*items, *[item(0.2, good=False)] * 5], Policy(), wanted=0.9).numbers
    assert (found.dimension, found.n) == ("coherence", 36)
    assert found.bias == pytest.approx(found.distance)
    assert found.bias == pytest.approx(1 / 6)
    assert found.weighted_kappa is not None
    assert found.alpha is not None
    assert found.alpha < found.weighted_kappa < 1


@pytest.mark.parametrize(
    ("good", "bad", "lack"),
    [
        (0, 0, "5 more good, 5 more bad, 20 more of either kind"),
        (30, 0, "5 more bad"),
        (3, 27, "2 more good"),
        (20, 6, "4 more of either kind"),
        (15, 15, ""),
    ],
)
def test_what_is_lacking_is_said_by_kind(good: int, bad: int, lack: str) -> None:
    assert missing([True] * good + [False] * bad) == lack


def test_what_evidence_decides_says_nothing_about_the_scores() -> None:
    for outcome in ("failed", "suspicious"):
        verdict = make_verdict(steps=outcome)
        assert compared(verdict, make_assessment(), Policy(), good=True) is None


def test_where_all_goes_to_people_the_scores_are_asked_what_they_would_have_done() -> None:
    manual = Policy(collection="manual")
    found = compared(make_verdict(), make_assessment(), manual, good=True)
    assert found
    assert found.move is Move.ADMIT


@given(
    st.fixed_dictionaries({d.value: VALUE for d in Dimension}),
    st.sampled_from(["automatic", "manual"]),
)
def test_every_decision_by_scores_belongs_to_a_stratum(
    scores: dict[str, float], collection: str
) -> None:
    policy = Policy.model_validate({"collection": collection})
    decision = decide(make_verdict(), make_assessment(**scores), policy)
    expected = Stratum.ASKED if decision.move is Move.REVIEW else Stratum.ALONE
    assert stratum(decision.move, decision.reason) is expected


@pytest.mark.parametrize(
    ("move", "reason", "kind"),
    [
        (Move.REVIEW, "audit", Stratum.ALONE),
        (Move.REVIEW, "injection", None),
        (Move.REJECT, "steps", None),
        (Move.ADMIT, "trusted", None),
        (Move.FLAG, "I doubt it", None),
    ],
)
def test_only_what_scores_decide_is_in_a_stratum(
    move: Move, reason: str, kind: Stratum | None
) -> None:
    assert stratum(move, reason) is kind


def test_weighing_by_strata_recovers_what_looking_at_everything_would_say() -> None:
    # Simulated: 10,000 examples; people see all of the band and 5 % of what is sure.
    draw = random.Random(5)
    everything = simulated(10_000, seed=4, flaw=0.05)
    alone = [one for one in everything if one.move is not Move.REVIEW]
    asked = [one for one in everything if one.move is Move.REVIEW]
    audit = [one for one in alone if draw.random() < 0.05]
    given = weights(
        [Sampled(Stratum.ALONE, len(alone), len(audit)), Sampled(Stratum.ASKED, len(asked), 300)]
    )
    seen = [one._replace(weight=given[Stratum.ALONE]) for one in audit]
    seen += [one._replace(weight=given[Stratum.ASKED]) for one in asked[:300]]
    truth, estimate, naive = (
        calibrate(items, Policy(), wanted=0.9).accepted.recall
        for items in (everything, seen, [*audit, *asked[:300]])
    )
    assert truth
    assert estimate
    assert naive
    assert estimate.low <= truth.value <= estimate.high
    assert abs(estimate.value - truth.value) < abs(naive.value - truth.value)


def test_a_stratum_nobody_looked_at_has_no_weight() -> None:
    assert weights([Sampled(Stratum.ALONE, 900, 0), Sampled(Stratum.ASKED, 60, 30)]) == {
        Stratum.ASKED: 2.0
    }
