"""Which problems are near-duplicates."""

from __future__ import annotations

import json
import random
import re
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.matching import clusters
from tdsys.core.sketching import (
    LINKED,
    Forest,
    Probe,
    likeness,
    linked,
    packed,
    restored,
    sketch,
)
from tests.editing import EDITS

GSM8K = Path(__file__).parents[2] / "tdsys" / "reference" / "gsm8k"
ANN = "Ann has 12 red apples. She gives five of them to Ben. How many apples does Ann keep?"
CARL = "Carl has 7,000 red apples. She gives 3.5 of them to Dora. How many apples does Carl keep?"
NEAR = "Ann has 12 red apples. She gives five of them to Ben. How many apples are left for Ann?"
FAR = "A train leaves the station at noon and drives for 3 hours at 60 miles per hour. How far?"
# What of two hundred problems each edit leaves in its cluster, at least; docs/diversity.md has
# what is found of thousands.
FLOORS = {
    "other numbers": 1.0,
    "other names": 0.99,
    "both": 0.99,
    "a sentence more": 0.85,
    "a sentence less": 0.95,
    "other order": 0.99,
    "another question": 0.55,
    "other words": 0.65,
}

words = st.sampled_from(["a", "b", "red", "Ann", "Ben", "gives", "3", "17", "apples", "how", "?"])
texts = st.lists(words, max_size=14).map(" ".join)


def test_near_duplicates_share_a_cluster_named_by_its_first_member() -> None:
    assert clusters([FAR, ANN, NEAR, FAR, CARL]) == [0, 1, 1, 0, 1]
    assert clusters([]) == []


def test_likeness_is_one_for_one_template_and_falls_with_what_differs() -> None:
    ann, carl, near, far = map(sketch, (ANN, CARL, NEAR, FAR))
    assert likeness(ann, carl) == 1.0
    assert 0.5 < likeness(ann, near) < 1.0
    assert likeness(ann, far) < 0.2
    assert likeness(ann, near) == likeness(near, ann)


def test_the_same_numbers_link_what_is_told_in_other_words() -> None:
    told = "Tom buys 13 pens for 4 dollars each and pays with 100 dollars. What is his change?"
    again = "Thirsty Tom pays with 100 dollars: 13 pens, 4 dollars each. Change?"
    left, right = sketch(told), sketch(again)
    assert left.numbers == right.numbers is not None
    assert linked(likeness(left, right), same_numbers=True)
    assert not linked(likeness(left, right), same_numbers=False)
    assert clusters([told, again]) == [0, 0]
    assert clusters([told, again.replace("13", "14")]) == [0, 1]


def test_one_number_alone_says_nothing() -> None:
    assert sketch("Tom has 3 pens and 3 pencils.").numbers is None


@given(texts)
def test_a_sketch_is_kept_as_it_was(text: str) -> None:
    made = sketch(text)
    assert restored(made.template, packed(made.features)) == made._replace(numbers=None)


@given(texts, texts, st.sampled_from([0.0, 0.4, 0.55, 0.7, 1.0]))
def test_likeness_needs_no_more_of_the_other_than_what_is_packed(
    left: str, right: str, least: float
) -> None:
    one, other = sketch(left), sketch(right)
    found = Probe(one).likeness(packed(other.features), least=least)
    if one.template != other.template:
        alike = likeness(one, other)
        assert found == pytest.approx(alike) or (found == 0 and alike < least)


def test_a_quick_look_rules_out_most_of_what_is_not_linked_and_nothing_that_is(
    problems: list[str],
) -> None:
    rng = random.Random(2)
    edited = [EDITS["other words"](problem, rng, problems) for problem in problems[:60]]
    sketches = [sketch(problem) for problem in [*problems[:60], *edited]]
    far: list[float] = []
    for one, other in permutations(sketches, 2):
        alike = likeness(one, other)
        found = Probe(one).likeness(packed(other.features), least=LINKED)
        if alike >= LINKED:
            assert found == alike
        elif alike > 0:
            far.append(found)
    assert len(far) > 8_000
    assert far.count(0.0) > 0.99 * len(far)


@given(texts)
def test_every_text_is_like_itself(text: str) -> None:
    assert clusters([text, text]) == [0, 0]


@given(st.lists(texts, max_size=12), st.randoms(use_true_random=False))
def test_the_partition_does_not_depend_on_the_order(items: list[str], rng: random.Random) -> None:
    order = list(range(len(items)))
    rng.shuffle(order)
    straight = _partition(range(len(items)), clusters(items))
    shuffled = _partition(order, clusters([items[i] for i in order]))
    assert straight == shuffled


def _partition(members: range | list[int], names: list[int]) -> set[frozenset[int]]:
    groups: dict[int, set[int]] = {}
    for member, name in zip(members, names, strict=True):
        groups.setdefault(name, set()).add(member)
    return {frozenset(group) for group in groups.values()}


@given(texts, st.integers(0, 10**9), st.lists(texts, max_size=5))
def test_a_copy_with_other_numbers_shares_the_cluster(
    text: str, number: int, others: list[str]
) -> None:
    copy = re.sub(r"\d+", str(number), text)
    named = clusters([text, *others, copy])
    assert named[0] == named[-1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_a_forest_knows_the_smallest_of_all_that_is_joined(pairs: list[tuple[int, int]]) -> None:
    forest = Forest()
    owner = list(range(10))
    for left, right in pairs:
        forest.join(left, right)
        low, high = sorted((owner[left], owner[right]))
        owner = [low if one == high else one for one in owner]
    assert [forest.root(member) for member in range(10)] == owner
    assert forest.moved() == {m: root for m, root in enumerate(owner) if m != root}


@pytest.fixture(scope="module")
def problems() -> list[str]:
    found = sorted(GSM8K.rglob("*.jsonl"))
    return [json.loads(line)["question"] for path in found for line in path.open()]


@pytest.mark.criterion("10.2")
@pytest.mark.parametrize("edit", EDITS)
def test_edited_problems_stay_in_their_cluster(edit: str, problems: list[str]) -> None:
    rng = random.Random(1)
    edited = [EDITS[edit](problem, rng, problems) for problem in problems]
    named = clusters([*problems, *edited])
    found = [named[n] == named[n + len(problems)] for n in range(len(problems))]
    assert len(problems) == 200
    assert sum(found) >= FLOORS[edit] * len(found)


def test_different_problems_are_in_different_clusters(problems: list[str]) -> None:
    assert len(set(clusters(problems))) >= 0.98 * len(problems)
