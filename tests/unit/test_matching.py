"""Which problems are worth comparing: the keys of many at once, and who has enough in common."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core import matching
from tdsys.core.matching import COMMON_KEYS, SAMPLED, Keyed, keyed, met, read
from tdsys.core.sketching import packed, salt, sketch

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


def keys(features: Mapping[int, int]) -> list[int]:
    """Of one template, step by step."""
    sampled = sorted(sorted(features, key=lambda one: rank(one, features[one]))[:SAMPLED])
    mixed = [(a << 32 | b) * 0x9E3779B97F4A7C15 & MASK_64 for a, b in combinations(sampled, 2)]
    return [key - (1 << 64) if key >> 63 else key for key in mixed]


def found(problems: list[str], *, salt: int = 0) -> Keyed:
    features = [packed(sketch(problem).features) for problem in problems]
    return keyed(dict(enumerate(features)), salt=salt)


@given(st.lists(texts, max_size=8), st.integers(-(2**63), 2**63 - 1))
def test_the_keys_of_many_are_those_of_each(problems: list[str], salt: int) -> None:
    told = found(problems, salt=salt)
    expected = sorted(
        (salt ^ key, place)
        for place, problem in enumerate(problems)
        for key in keys(sketch(problem).features)
    )
    assert list(zip(told.keys.tolist(), told.owners.tolist(), strict=True)) == expected


def test_a_template_has_a_key_for_each_two_of_seven_features_however_long_it_is() -> None:
    long = " ".join(
        f"{WORDS[n % 12]}{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}" for n in range(5000)
    )
    told = found(["", "Buns.", "red apples", long])
    assert Counter(told.owners.tolist()) == {2: 3, 3: 21}


def test_the_keys_of_another_domain_are_others() -> None:
    one, other = (set(found([" ".join(WORDS)], salt=salt(name)).keys.tolist()) for name in "ab")
    assert len(one) == 21
    assert not one & other


def told(owned: Iterable[tuple[int, int]]) -> Keyed:
    """Keys as if these owners had them."""
    pairs = np.array(sorted(owned), dtype=np.int64).reshape(-1, 2)
    return Keyed(pairs[:, 0], pairs[:, 1])


owned = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 9)))


@given(owned, st.integers(0, 10))
def test_two_are_compared_that_have_keys_enough_in_common_and_one_of_them_is_new(
    owned: set[tuple[int, int]], first_new: int
) -> None:
    held = {one: {key for key, owner in owned if owner == one} for one in range(10)}
    counts = {
        (one, other): len(held[one] & held[other])
        for one, other in combinations(range(10), 2)
        if other >= first_new
    }
    before = told(pair for pair in owned if pair[1] < first_new)
    new = told(pair for pair in owned if pair[1] >= first_new)
    pairs, kept = met(new, before=before)
    assert sorted(pairs) == sorted(pair for pair in counts if counts[pair] >= COMMON_KEYS)
    assert [counts[pair] for pair in pairs] == sorted((counts[p] for p in pairs), reverse=True)
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
    found = met(told(new), before=told(owned - new), most=most)
    assert (
        set(zip(found.kept.keys.tolist(), found.kept.owners.tolist(), strict=True)) == stand & new
    )
    counts = Counter((one, owner) for key, owner in new for one in kept[key] if one < owner)
    assert set(found.pairs) == {pair for pair, count in counts.items() if count >= COMMON_KEYS}


def test_many_pairs_are_counted_in_parts_that_come_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(4)
    crowd = told((rng.randrange(40), owner) for owner in range(60) for _ in range(9))
    whole = met(crowd).pairs
    monkeypatch.setattr(matching, "AT_ONCE", 100)
    parts = met(crowd).pairs
    assert len(whole) > 100
    assert parts != whole
    assert sorted(parts) == sorted(whole)


def test_what_is_stored_is_read_as_it_is_told() -> None:
    said = read("-5,7", "2,1", "11,12,1099511627776")
    assert said.keys.tolist() == [-5, -5, 7]
    assert said.owners.tolist() == [11, 12, 1 << 40]
    assert read(None, None, None).keys.tolist() == []
