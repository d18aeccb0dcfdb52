"""Which problems are the same problem with other numbers, names or a few other words."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.similarity import clusters, jaccard, shingles, signature, template_key

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "train.jsonl"
ANN = "Ann has 12 red apples. She gives five of them to Ben. How many apples does Ann keep?"
CARL = "Carl has 7,000 red apples. She gives 3.5 of them to Dora. How many apples does Carl keep?"
NEAR = "Ann has 12 red apples. She gives five of them to Ben. How many apples are left for Ann?"
FAR = "A train leaves the station at noon and drives for 3 hours at 60 miles per hour. How far?"

words = st.sampled_from(["a", "b", "red", "Ann", "Ben", "gives", "3", "17", "apples", "how", "?"])
texts = st.lists(words, max_size=14).map(" ".join)


def test_a_template_stays_the_same_under_other_numbers_and_names() -> None:
    assert template_key(ANN) == template_key(CARL)
    assert template_key(ANN) != template_key(NEAR)
    assert len(template_key(ANN)) == 16


def test_a_possessive_or_a_name_at_the_start_is_a_name_too() -> None:
    assert template_key("Janet's ducks lay 16 eggs.") == template_key("Omar's ducks lay 9 eggs.")


def test_operators_belong_to_the_template() -> None:
    assert template_key("Solve 3*x + 2 = 8.") == template_key("Solve 5*x + 1 = 9.")
    assert template_key("Solve 3*x + 2 = 8.") != template_key("Solve 3*x - 2 = 8.")


def test_near_duplicates_share_a_cluster_named_by_its_first_member() -> None:
    assert clusters([FAR, ANN, NEAR, FAR, CARL]) == [0, 1, 1, 0, 1]


def test_a_higher_threshold_separates() -> None:
    assert clusters([ANN, NEAR], threshold=0.99) == [0, 1]
    assert clusters([], threshold=0.5) == []


def test_the_signature_estimates_the_overlap() -> None:
    left, right = shingles(ANN), shingles(NEAR)
    agreeing = [a == b for a, b in zip(signature(left), signature(right), strict=True)]
    assert sum(agreeing) / len(agreeing) == pytest.approx(jaccard(left, right), abs=0.15)


@given(texts)
def test_every_text_is_like_itself(text: str) -> None:
    assert jaccard(shingles(text), shingles(text)) == 1.0
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


@pytest.mark.skipif(not GSM8K.exists(), reason="the shared GSM8K copy is absent")
def test_gsm8k_has_few_siblings_and_a_thousand_texts_take_two_seconds_at_most() -> None:
    problems = [json.loads(line)["question"] for line in GSM8K.read_text().splitlines()][:3000]
    edited = [re.sub(r"\d+", lambda m: str(int(m[0]) + 7), text) for text in problems[:300]]
    started = time.process_time()
    named = clusters([*problems, *edited])
    assert (len(problems) + len(edited)) / (time.process_time() - started) >= 500
    assert named[3000:] == named[:300]
    assert len(set(named)) >= 0.97 * len(problems)
