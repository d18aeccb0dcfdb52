"""What looks amiss with an example, and what looks amiss but is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tdsys.core.attribution import Contribution, Effect
from tdsys.core.dataset import Split
from tdsys.core.suspecting import Fault, Known, ProgramScore, Suspect, not_looked_at, suspects
from tests.factories import NOW
from tests.suspected import TODAY, known, worth


def found(
    *members: Known, worths: tuple[Contribution, ...] = (), tested: tuple[ProgramScore, ...] = ()
) -> list[Suspect]:
    return suspects(members, {one.example: one for one in worths}, tested, TODAY)


def faults(
    *members: Known, worths: tuple[Contribution, ...] = (), tested: tuple[ProgramScore, ...] = ()
) -> list[tuple[str, Fault]]:
    rows = found(*members, worths=worths, tested=tested)
    return [(one.known.example, one.fault) for one in rows]


@pytest.mark.criterion("9.2")
def test_an_example_that_harms_the_prompts_it_is_in_is_named_with_its_interval() -> None:
    (one,) = found(known("a"), known("b"), worths=(worth("a", -0.2, Effect.HARMFUL),))
    assert (one.known.example, one.fault) == ("a", Fault.HARMFUL)
    assert "-0.200 (-0.300 to -0.100)" in one.detail
    assert faults(known("a"), worths=(worth("a", -0.2),)) == []


@pytest.mark.criterion("9.2")
def test_of_near_duplicates_the_best_stays_and_one_that_helps_stays_too() -> None:
    a, b, c = (known(name, cluster=7) for name in "abc")
    worths = (worth("a", 0.3, Effect.HELPFUL), worth("b", 0.2, Effect.HELPFUL), worth("c", -0.1))
    (one,) = found(a, b, c, worths=worths)
    assert (one.known.example, one.fault, one.others) == ("c", Fault.REDUNDANT, ("a",))
    assert one.detail == "a near-duplicate of a; by itself -0.100 (-0.200 to +0.000)"
    even = (worth("a", -0.1), worth("b", -0.1))
    assert faults(a._replace(quality=0.9), b, worths=even) == [("b", Fault.REDUNDANT)]
    assert faults(a, b._replace(split=Split.TEST), worths=even) == []


@pytest.mark.criterion("9.2")
def test_a_near_duplicate_is_redundant_only_where_it_is_known_to_add_nothing() -> None:
    a, b, c = (known(name, cluster=7) for name in "abc")

    def of_b(low: float, high: float, verdict: Effect) -> list[tuple[str, Fault]]:
        middle = (low + high) / 2
        measured = worth("b", middle, verdict).model_copy(update={"ci_low": low, "ci_high": high})
        return faults(a, b, worths=(worth("a", 0.3, Effect.HELPFUL), measured))

    assert of_b(-0.03, 0.02, Effect.NEUTRAL) == [("b", Fault.REDUNDANT)]
    # Small, and still above zero.
    assert of_b(0.002, 0.036, Effect.NEUTRAL) == []
    assert of_b(0.002, 0.036, Effect.HELPFUL) == []
    # The evidence is not enough to say that it does nothing.
    assert of_b(-0.1, 0.1, Effect.UNKNOWN) == []
    # Never measured, or tried too seldom for a value: no better and no worse than the others.
    nothing = Contribution(
        example="b", value=None, ci_low=None, ci_high=None, verdict=Effect.UNKNOWN, n=1
    )
    assert faults(a, b, c) == []
    assert faults(a, b, worths=(nothing,)) == []
    assert faults(a, b, c, worths=(worth("a", -0.1), nothing)) == []


def test_near_duplicates_that_were_not_tried_are_counted_and_no_others() -> None:
    clusters = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 3, "f": 3}
    said = not_looked_at(clusters, {"a", "e"})
    assert said
    assert said.startswith("3 near-duplicates in train were not measured")
    one = not_looked_at(clusters, {"a", "b", "c", "e"})
    assert one
    assert one.startswith("1 near-duplicate in train was not measured")
    assert not_looked_at(clusters, {"a", "b", "c", "e", "f"}) is None


@pytest.mark.criterion("9.2")
def test_the_same_problem_with_another_answer_is_contradictory_on_both_sides() -> None:
    a, b = known("a", problem="What is 2 + 2?"), known("b", problem="what is  2 + 2?", answer="5")
    assert faults(a, b) == [("a", Fault.CONTRADICTORY), ("b", Fault.CONTRADICTORY)]
    assert faults(a, b._replace(answer="4.0")) == []
    assert faults(a, b._replace(problem="What is 2 + 3?")) == []


@pytest.mark.criterion("9.2")
def test_an_item_that_good_programs_keep_failing_is_suspected_and_bad_ones_prove_nothing() -> None:
    item = known("a", split=Split.VAL)

    def failed_by(*overalls: float) -> tuple[ProgramScore, ...]:
        return tuple(ProgramScore(f"p{n}", o, "a", 0.1) for n, o in enumerate(overalls))

    (one,) = found(item, tested=failed_by(0.8, 0.8, 0.8, 0.8))
    assert one.fault is Fault.MISLABELLED
    assert "4 programs that score 0.80 on average score 0.10 on it" in one.detail
    assert faults(item, tested=failed_by(0.8, 0.8, 0.8)) == []
    assert faults(item, tested=failed_by(0.3, 0.3, 0.3, 0.3)) == []
    solved = ProgramScore("p9", 0.9, "a", 1.0)
    assert faults(item, tested=(*failed_by(0.8, 0.8, 0.8, 0.8), solved)) == []


@pytest.mark.criterion("9.2")
def test_what_is_old_or_judged_by_an_older_rubric_is_stale() -> None:
    assert faults(known("a", rubric="r1")) == [("a", Fault.STALE)]
    assert faults(known("a", rubric="r2")) == []
    old = NOW - timedelta(days=101)
    assert faults(known("a", stored_at=old)) == [("a", Fault.STALE)]
    assert faults(known("a", stored_at=NOW - timedelta(days=99))) == []


@pytest.mark.criterion("9.2")
def test_where_a_person_and_the_scores_disagree_it_is_disputed() -> None:
    assert faults(known("a", approved=True, accepted=False)) == [("a", Fault.DISPUTED)]
    assert faults(known("a", approved=True, accepted=True)) == []
    assert faults(known("a", accepted=False)) == []


def test_of_many_copies_that_contradict_each_other_a_few_are_named_and_the_rest_counted() -> None:
    many = [known(f"copy {n:03}", problem="2 + 2?", answer=str(n % 40)) for n in range(400)]
    found = suspects(many, {}, [], TODAY)
    (first, *_) = [one for one in found if one.fault is Fault.CONTRADICTORY]
    assert len(found) == len(many)
    assert len(first.others) == 5
    assert first.detail.endswith("and 385 others")
    assert all(len(one.detail) < 200 for one in found)
