"""Which problems are near-duplicates."""

from __future__ import annotations

import json
import random
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.matching import beside, clusters, groups
from tdsys.core.sketching import (
    Alike,
    Forest,
    alike,
    belongs,
    likeness,
    packed,
    same_numbers,
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
    "a sentence more": 0.99,
    "a sentence less": 0.99,
    "other order": 0.99,
    "another question": 0.92,
    "other words": 0.98,
}

ENDS = ("mba", "nco", "rdu", "lgo", "ski")
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


def test_numbers_and_names_in_common_link_what_is_told_in_other_words() -> None:
    told = "Tom buys 13 pens for 4 dollars each and pays with 100 dollars. What is his change?"
    again = "Thirsty Tom pays with 100 dollars: 13 pens, 4 dollars each. Change?"
    other = again.replace("13", "17").replace("100", "50").replace("Tom", "Eve")
    assert (same_numbers(told, again), same_numbers(told, other)) == (True, False)
    assert likeness(sketch(told), sketch(again)) == likeness(sketch(told), sketch(other)) < 0.7
    assert clusters([told, again]) == [0, 0]
    assert clusters([told, other]) == [0, 1]


@pytest.mark.parametrize(
    ("wording", "details", "whole", "is_linked", "is_near"),
    [
        (0.7, 0.0, 0.0, True, True),
        (0.69, 0.0, 0.5, False, True),
        (0.3, 0.3, 0.33, True, True),
        (0.3, 0.29, 0.5, False, False),
        (0.3, 0.9, 0.32, False, False),
        (0.55, 0.0, 0.4, False, True),
    ],
)
def test_less_in_common_is_enough_where_it_is_in_numbers_and_names(
    wording: float, details: float, whole: float, *, is_linked: bool, is_near: bool
) -> None:
    found = Alike(wording, details, whole)
    arrays = belongs(*np.array(found)[:, None])
    assert arrays.tolist() == [is_linked]
    assert (found.linked, found.near) == (is_linked, is_near)


def test_one_number_alone_says_nothing() -> None:
    assert sketch("Tom has 3 pens and 3 pencils.").numbers is None
    assert not same_numbers("Tom has 3 pens.", "Eve sees 3 ships.")


def test_what_is_a_name_here_is_no_word_there() -> None:
    """Both begin with the same letters, and so would their hashes."""
    named, meant = sketch("My friend Rose sings."), sketch("A rose is red.")
    assert not named.details.keys() & {**meant.wording, **meant.details}.keys()


@given(st.lists(texts, min_size=1, max_size=5))
def test_likeness_needs_no_more_of_the_others_than_what_is_packed(told: list[str]) -> None:
    one, *others = [sketch(problem) for problem in [*told, told[0]]]
    there = {n: packed(other) for n, other in enumerate(others)}
    found = beside([one], there, [(0, n) for n in there])
    expected = [alike(one, other) for other in others]
    assert np.array(found) == pytest.approx(np.array(expected))


def test_a_long_chain_is_together_by_its_wording_alone() -> None:
    """Each has three names of four in common with the next, and with the one after that two."""
    names = [one + other for one, other in product(("Al", "Be", "Ca", "Do", "El", "Fi"), ENDS)]
    trades = [one + other for one, other in product(("bra", "clo", "dri", "fle"), ENDS)]
    chain = [
        ", and ".join(f"{names[n + m]} {trades[(2 * n + m) % 20]}" for m in range(4)) + "."
        for n in range(26)
    ]
    assert set(clusters(chain)) == {0}
    assert len(set(groups(chain, chosen=26))) > 1
    assert groups(chain, chosen=1000) == clusters(chain)


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
