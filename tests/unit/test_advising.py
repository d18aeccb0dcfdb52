"""What follows from what is amiss: whom to retire, what to collect, and by how much it helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tdsys.core.advising import Advice, Kind, advice, effect_of_leaving
from tdsys.core.attribution import Contribution, Effect
from tdsys.core.dataset import Split
from tdsys.core.impact import Finding, Pair, impact
from tdsys.core.policy import Policy
from tdsys.core.suspecting import Known, ProgramScore, suspects
from tests.suspected import TODAY, known, worth

REQUESTS = [f"request {n}" for n in range(12)]


def contrast(weights: Mapping[str, float]) -> tuple[float, float, float]:
    """As if each example whose name begins with `bad` did -0.1, and all others nothing."""
    value = sum(-0.1 * w for name, w in weights.items() if name.startswith("bad"))
    return value, value - 0.05, value + 0.05


def given(
    members: Sequence[Known],
    worths: Sequence[Contribution] = (),
    tested: Sequence[ProgramScore] = (),
) -> list[Advice]:
    found = suspects(members, {one.example: one for one in worths}, tested, TODAY)
    return advice(members, found, worths, tested, Policy(), contrast)


def pool(bad: int, good: int) -> tuple[list[Known], list[Contribution]]:
    names = [*(f"bad {n}" for n in range(bad)), *(f"good {n}" for n in range(good))]
    members = [known(name, quality=0.65 if name.startswith("bad") else 0.9) for name in names]
    worths = [
        worth(name, -0.1, Effect.HARMFUL) if name.startswith("bad") else worth(name, 0.0)
        for name in names
    ]
    return members, worths


@pytest.mark.criterion("9.3")
def test_harmful_examples_are_to_be_retired_with_reason_evidence_and_predicted_effect() -> None:
    members, worths = pool(2, 18)
    (one,) = given(members, worths)
    assert (one.kind, one.examples) == (Kind.RETIRE, ("bad 0", "bad 1"))
    assert "beyond chance" in one.reason
    assert len(one.evidence) == 2
    assert one.predicted is not None
    # A prompt of eight holds 0.8 of them on average, each of which costs 0.1.
    assert one.predicted.value == pytest.approx(0.08)
    assert "drawn from 18 instead of 20" in one.predicted.meaning


def test_enough_remains_for_an_optimizer_to_choose_from() -> None:
    members, worths = pool(6, 5)
    retired = next(one for one in given(members, worths) if one.kind is Kind.RETIRE)
    assert len(retired.examples) == 3
    assert effect_of_leaving([m.example for m in members], ["bad 0"], contrast) is None


@pytest.mark.criterion("9.3")
def test_a_threshold_is_raised_where_what_it_keeps_out_does_harm_and_nothing_good() -> None:
    members, worths = pool(3, 18)
    change = next(one for one in given(members, worths) if one.kind is Kind.CHANGE_THRESHOLD)
    assert change.change == {"admit_quality": 0.775}
    assert change.predicted is not None
    assert change.predicted.value > 0
    helps = [w if w.example != "bad 0" else worth("bad 0", 0.3, Effect.HELPFUL) for w in worths]
    assert all(one.kind is not Kind.CHANGE_THRESHOLD for one in given(members, helps))


def test_a_threshold_that_is_to_be_raised_is_higher_than_the_one_in_force() -> None:
    members, worths = pool(3, 18)
    # A person let them in, far below what scores alone need.
    low = [m._replace(quality=0.3) if m.example.startswith("bad") else m for m in members]
    change = next(one for one in given(low, worths) if one.kind is Kind.CHANGE_THRESHOLD)
    assert Policy().admit_quality < float(str(change.change["admit_quality"])) < 0.9


def test_a_threshold_between_two_qualities_that_round_alike_keeps_the_lower_one_out() -> None:
    members, worths = pool(3, 18)
    close = [m._replace(quality=0.80004 if "bad" in m.example else 0.80008) for m in members]
    change = next(one for one in given(close, worths) if one.kind is Kind.CHANGE_THRESHOLD)
    assert 0.80004 < float(str(change.change["admit_quality"])) <= 0.80008


def test_where_not_all_can_go_the_most_harmful_go() -> None:
    members, _ = pool(4, 6)
    worths = [worth(f"bad {n}", -0.1 * (n + 1), Effect.HARMFUL) for n in range(4)]
    retired = next(one for one in given(members, worths) if one.kind is Kind.RETIRE)
    assert retired.examples == ("bad 3", "bad 2")


def test_what_is_redundant_is_like_one_that_stays_and_leaves_enough_together_with_the_harmful() -> (
    None
):
    alike = [known(f"twin {n}", cluster=1, quality=0.9 - n / 10) for n in range(3)]
    others = [known(f"other {n}", cluster=10 + n) for n in range(8)]
    worths = [worth("twin 0", -0.1, Effect.HARMFUL), worth("twin 1", -0.2), worth("twin 2", -0.3)]
    found = [one for one in given([*alike, *others], worths) if one.kind is Kind.RETIRE]
    assert [one.examples for one in found] == [("twin 0",), ("twin 2",)]
    assert "near-duplicate of twin 1" in found[1].evidence[0]
    few = [one for one in given([*alike, *others[:6]], worths) if one.kind is Kind.RETIRE]
    assert [one.examples for one in few] == [("twin 0",)]


@pytest.mark.criterion("9.3")
def test_what_was_not_measured_is_not_retired_for_being_like_another() -> None:
    twins = [known(f"twin {n}", cluster=1) for n in range(3)]
    others = [known(f"other {n}") for n in range(9)]
    assert given([*twins, *others]) == []
    (one,) = given([*twins, *others], [worth("twin 0", -0.1), worth("twin 1", -0.2)])
    assert (one.kind, one.examples) == (Kind.RETIRE, ("twin 1",))
    assert one.reason.endswith("adds nothing by itself, as measured")


def test_what_was_not_measured_has_no_predicted_effect_and_counts_as_nothing_in_none() -> None:
    unknown = [known(f"low {n}", quality=0.61) for n in range(3)]
    untried = [
        Contribution(
            example=m.example, value=None, ci_low=None, ci_high=None, verdict=Effect.UNKNOWN, n=0
        )
        for m in unknown
    ]
    bad, values = pool(4, 18)
    found = given([*unknown, *bad], [*untried, *values])
    change = next(one for one in found if one.kind is Kind.CHANGE_THRESHOLD)
    assert (len(change.examples), change.predicted) == (7, None)
    members, worths = pool(2, 18)
    unmeasured = [known(f"late {n}") for n in range(20)]
    (retired,) = given([*members, *unmeasured], worths)
    assert retired.predicted is not None
    # As without them: what they do is not known, so it is not taken to be nothing.
    assert retired.predicted.value == pytest.approx(0.08)
    assert "20 others were not measured" in retired.predicted.meaning


@pytest.mark.criterion("9.3")
def test_examples_are_to_be_collected_where_programs_answer_worst() -> None:
    items = [
        known(f"{topic} {n}", split=Split.VAL, topic=topic)
        for topic in ("sums", "areas", "ages")
        for n in range(3)
    ]
    tested = [
        ProgramScore("p", 0.4, one.example, 0.3 if one.topic == "ages" else 0.9) for one in items
    ]
    (one,) = given(items, tested=tested)
    assert (one.kind, [cell.topic for cell in one.cells]) == (Kind.COLLECT, ["ages"])
    assert "0.30 over 3 requests, 0 examples to learn from" in one.evidence[0]
    assert given(items[:6], tested=tested[:6]) == []


@pytest.mark.criterion("9.3")
def test_wrong_labels_go_to_a_person_and_stale_scores_to_the_judge() -> None:
    a, b = known("a", problem="2 + 2?"), known("b", problem="2 + 2?", answer="5")
    labels, again = given([a, b, known("c", rubric="r1")])
    assert (labels.kind, labels.examples) == (Kind.FIX_LABEL, ("a", "b"))
    assert (again.kind, again.examples) == (Kind.REJUDGE, ("c",))
    assert labels.predicted is again.predicted is None


def test_where_nothing_is_amiss_nothing_is_recommended() -> None:
    members, worths = pool(0, 20)
    assert given(members, worths) == []


def paired(before: Sequence[float | None], after: Sequence[float | None]) -> Pair:
    return Pair(with_=tuple(before), without=tuple(after))


@pytest.mark.criterion("9.4")
def test_an_impact_is_a_verdict_with_its_interval() -> None:
    rising = [0.1 * (n % 3) for n in range(12)]
    better = impact([paired([0.2] * 12, [0.5 + x for x in rising])], REQUESTS)
    assert better is not None
    assert better.finding is Finding.IMPROVED
    assert 0.3 < better.gain_low < better.gain < better.gain_high < 0.5
    assert better.gain == pytest.approx(better.without - better.with_)
    worse = impact([paired([0.5 + x for x in rising], [0.2] * 12)], REQUESTS)
    assert worse is not None
    assert worse.finding is Finding.WORSE
    even = impact([paired([0.5] * 12, [0.5 + (-1) ** n * 0.2 for n in range(12)])], REQUESTS)
    assert even is not None
    assert even.finding is Finding.NOTHING_SHOWN


def test_seeds_that_disagree_widen_the_interval() -> None:
    one, other = paired([0.2] * 12, [0.6] * 12), paired([0.6] * 12, [0.55] * 12)
    together = impact([one, other], REQUESTS)
    assert together is not None
    assert together.finding is Finding.NOTHING_SHOWN
    assert together.gain_low == pytest.approx(-0.05)


def test_an_item_without_an_answer_is_left_out_and_counted_never_a_zero() -> None:
    found = impact([paired([0.2, *[0.4] * 11], [None, *[0.4] * 11])], REQUESTS)
    assert found is not None
    assert (found.unanswered, found.requests, found.gain) == (1, 11, 0)
    assert impact([paired([None], [0.1])], ["r"]) is None


def test_items_that_ask_for_the_same_count_once() -> None:
    found = impact([paired([0.0] * 8, [1.0] * 8)], ["a", "b"] * 4)
    assert found is not None
    assert (found.requests, found.finding) == (2, Finding.NOT_ENOUGH)


def test_the_gain_is_the_difference_of_the_two_means_that_are_told_beside_it() -> None:
    found = impact([paired([0.0] * 8, [1.0, 1.0, 1.0, 0, 0, 0, 0, 0])], ["a", "a", *"bcdefg"])
    assert found is not None
    assert found.gain == pytest.approx(found.without - found.with_)
    assert found.gain == pytest.approx(2 / 7)


def test_where_many_answers_are_missing_nothing_is_concluded_from_the_rest() -> None:
    found = impact([paired([0.2] * 12, [0.9] * 10 + [None] * 2)], REQUESTS)
    assert found is not None
    assert (found.finding, found.unanswered) == (Finding.UNANSWERED, 2)


def test_too_few_requests_are_told_from_too_few_answers_to_enough_of_them() -> None:
    few = impact([paired([0.0] * 8, [None, *[1.0] * 7])], ["a", "b"] * 4)
    assert few is not None
    assert few.finding is Finding.NOT_ENOUGH
    asked = [*"abcde", *"a" * 15]
    rest = impact([paired([0.0] * 20, [1.0] * 4 + [None] + [1.0] * 15)], asked)
    assert rest is not None
    assert (rest.requests, rest.unanswered, rest.finding) == (4, 1, Finding.UNANSWERED)
