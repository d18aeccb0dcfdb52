"""Which problems are worth comparing: the keys of many at once, and who has enough in common."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations, islice
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core import matching
from tdsys.core.matching import (
    HEAVIEST_PAIRS,
    LIKELIEST,
    SAMPLED,
    TELLING,
    Keyed,
    Pairs,
    joined,
    keyed,
    met,
    read,
)
from tdsys.core.sketching import Forest, Sketch, alike, packed, salt, sketch

WORDS = [
    "red",
    "apples",
    "gives",
    "keeps",
    "the",
    "baker",
    "sells",
    "twenty",
    "buns",
    "in",
    "total",
    "how",
    "many",
]
texts = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
MASK_32, MASK_64 = (1 << 32) - 1, (1 << 64) - 1


def rank(feature: int, weight: int) -> float:
    """The module's, for one feature: an exponential number of its own, its weight the rate."""
    mixed = (feature * 0x9E3779B1 ^ feature >> 15) & MASK_64
    return -log(((mixed * 0x85EBCA77 & MASK_32) + 1) / (MASK_32 + 2)) / weight


def paired(features: Mapping[int, int]) -> list[int]:
    """The heaviest pairs of those that are sampled, step by step."""
    sampled = sorted(sorted(features, key=lambda one: rank(one, features[one]))[:SAMPLED])
    heavy = [(-features[a] - features[b], a << 32 | b) for a, b in combinations(sampled, 2)]
    chosen = sorted(heavy)[:HEAVIEST_PAIRS]
    return [pair for n, (weight, pair) in enumerate(chosen) if n == 0 or -weight >= TELLING]


def keys(one: Sketch, *, leads: bool = True) -> list[int]:
    """Of one problem."""
    found = paired(dict(islice(one.details.items(), one.named)))
    found += [one.numbers] if one.numbers is not None else []
    if leads:
        found += [*paired(one.wording), *one.sentences]
    mixed = [key * 0x9E3779B97F4A7C15 & MASK_64 for key in found]
    return [key - (1 << 64) if key >> 63 else key for key in mixed]


def found(problems: list[str], *, salt: int = 0) -> Keyed:
    return keyed(dict(enumerate(map(sketch, problems))), salt=salt)


@given(st.lists(texts, max_size=8), st.integers(-(2**63), 2**63 - 1), st.sets(st.integers(0, 7)))
def test_the_keys_of_many_are_those_of_each(
    problems: list[str], salt: int, leading: set[int]
) -> None:
    sketches = dict(enumerate(map(sketch, problems)))
    told = keyed(sketches, salt=salt, leading=leading)
    expected = sorted(
        (salt ^ key, place)
        for place, one in sketches.items()
        for key in keys(one, leads=place in leading)
    )
    assert list(zip(told.keys.tolist(), told.owners.tolist(), strict=True)) == expected


def test_a_problem_has_few_keys_however_long_it_is() -> None:
    long = " ".join(
        f"{WORDS[n % 12]}{chr(97 + n % 26)}{chr(97 + n // 26 % 26)} Ann{chr(97 + n % 26)} {n}."
        for n in range(5000)
    )
    told = found(["", "Buns.", "red apples", long])
    assert Counter(told.owners.tolist()) == {2: 3, 3: 2 * HEAVIEST_PAIRS + 1}


def test_the_keys_of_another_domain_are_others() -> None:
    one, other = (set(found([" ".join(WORDS)], salt=salt(name)).keys.tolist()) for name in "ab")
    assert len(one) == HEAVIEST_PAIRS + 1
    assert not one & other


def told(owned: Iterable[tuple[int, int]]) -> Keyed:
    """Keys as if these owners had them."""
    pairs = np.array(sorted(owned), dtype=np.int64).reshape(-1, 2)
    return Keyed(pairs[:, 0], pairs[:, 1])


owned = st.sets(st.tuples(st.integers(0, 5), st.integers(0, LIKELIEST)))


def pairs_of(met_by: Pairs) -> list[tuple[int, int]]:
    """The smaller first."""
    both = zip(met_by.ones.tolist(), met_by.others.tolist(), strict=True)
    return [(min(pair), max(pair)) for pair in both]


@given(owned, st.integers(0, 10))
def test_two_are_compared_that_have_a_key_in_common_and_one_of_them_is_new(
    owned: set[tuple[int, int]], first_new: int
) -> None:
    held = {one: {key for key, owner in owned if owner == one} for one in range(LIKELIEST + 1)}
    expected = {
        (one, other)
        for one, other in combinations(range(LIKELIEST + 1), 2)
        if other >= first_new and held[one] & held[other]
    }
    before = told(pair for pair in owned if pair[1] < first_new)
    new = told(pair for pair in owned if pair[1] >= first_new)
    pairs, kept = met(new, before=before)
    assert sorted(pairs_of(pairs)) == sorted(expected)
    assert (kept.keys.tolist(), kept.owners.tolist()) == (new.keys.tolist(), new.owners.tolist())


@given(owned, st.integers(0, 10), st.integers(1, 4))
def test_of_a_key_that_many_have_the_first_stand_for_all(
    owned: set[tuple[int, int]], first_new: int, most: int
) -> None:
    kept: dict[int, list[int]] = defaultdict(list)
    for key, owner in sorted(owned):
        if len(kept[key]) < most:
            kept[key].append(owner)
    stand = {(key, owner) for key, owners in kept.items() for owner in owners}
    new = {pair for pair in owned if pair[1] >= first_new}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "MOST_PER_KEY", most)
        found = met(told(new), before=told(owned - new))
    assert (
        set(zip(found.kept.keys.tolist(), found.kept.owners.tolist(), strict=True)) == stand & new
    )
    expected = {(one, owner) for key, owner in new for one in kept[key] if one < owner}
    assert set(pairs_of(found.pairs)) == expected


def test_who_has_the_rarest_keys_in_common_is_compared_if_not_all_can_be() -> None:
    crowd = [(key, owner) for key in (1, 2) for owner in range(20)]
    pairs, _ = met(told([(1, 30), (2, 30), (3, 30)]), before=told([*crowd, (3, 19), (3, 29)]))
    assert pairs_of(pairs)[:2] == [(19, 30), (29, 30)]
    assert len(pairs.ones) == LIKELIEST


def test_who_is_placed_again_meets_the_others_and_keeps_no_key_twice() -> None:
    pairs, kept = met(told([(1, 5), (2, 5), (3, 5)]), before=told([(1, 4), (1, 5), (2, 5)]))
    assert pairs_of(pairs) == [(4, 5)]
    assert (kept.keys.tolist(), kept.owners.tolist()) == ([3], [5])


def test_many_pairs_are_counted_in_parts_that_come_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(4)
    crowd = told({(rng.randrange(40), owner) for owner in range(60) for _ in range(9)})
    whole = pairs_of(met(crowd).pairs)
    monkeypatch.setattr(matching, "AT_ONCE", 100)
    parts = pairs_of(met(crowd).pairs)
    assert len(whole) > 100
    assert parts != whole
    assert sorted(parts) == sorted(whole)


@given(st.lists(texts, min_size=2, max_size=9))
def test_clusters_are_joined_wherever_two_are_linked_and_who_is_gone_joins_none(
    problems: list[str],
) -> None:
    sketches = [sketch(problem) for problem in problems]
    every = [*combinations(range(len(problems)), 2)]
    ones, others = np.array(every).T
    homes = {place: place + 100 for place in range(1, len(problems))}
    features = dict(enumerate(map(packed, sketches)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "FEATURES_AT_ONCE", 3)
        forest = joined(Pairs(ones, others), homes, features)
    expected = Forest()
    for left, right in every:
        if left and alike(sketches[left], sketches[right]).linked:
            expected.join(left + 100, right + 100)
    assert forest.moved() == expected.moved()


def test_what_is_stored_is_read_as_it_is_told() -> None:
    said = read("-5,7", "2,1", "11,12,1099511627776")
    assert said.keys.tolist() == [-5, -5, 7]
    assert said.owners.tolist() == [11, 12, 1 << 40]
    assert read(None, None, None).keys.tolist() == []
