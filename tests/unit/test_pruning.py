"""Who is retired, and what keeps an example."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsys.core import pruning
from tdsys.core.example import Cell, Source
from tdsys.core.policy import Policy
from tdsys.core.pruning import Amount, Held, Leaving, Limit, Room, Standing
from tests.factories import NOW

WANTED: dict[str, Any] = {"topics": ["sums", "ratios"], "difficulties": ["easy", "hard"]}
cells = st.builds(Cell, st.sampled_from(["sums", "ratios", "odd"]), st.sampled_from(["easy", "x"]))
standings = st.sampled_from([Standing.ORDINARY] * 6 + list(Standing))
qualities = st.integers(0, 20).map(lambda n: n / 20)


@st.composite
def populations(draw: st.DrawFn) -> list[Held]:
    drawn = draw(st.lists(st.tuples(cells, qualities, standings, st.integers(1, 9)), max_size=60))
    return [
        Held(n, cell, quality, NOW - timedelta(days=n % 7), standing, Source.CAPTURED, size)
        for n, (cell, quality, standing, size) in enumerate(drawn)
    ]


def small(least: int, floor: int) -> Policy:
    """A policy with fewer examples than any that may be published."""
    policy = Policy.model_validate({**WANTED, "cells": {"min": floor}})
    return Policy.model_construct(**{**policy.__dict__, "min_examples": least})


def counted(held: Sequence[Held]) -> Counter[Cell]:
    return Counter(one.cell for one in held)


def levelled(held: Sequence[Held], policy: Policy, limit: Limit) -> list[Leaving]:
    by_cell: dict[Cell, list[Held]] = defaultdict(list)
    for one in sorted(held, key=lambda one: one.order):
        by_cell[one.cell].append(one)
    amount = Amount(len(held), sum(one.size for one in held))
    return list(pruning.levelled(by_cell, Room(counted(held), policy), amount, limit))


def entropy(counts: Counter[Cell]) -> float:
    """Of the strata, 1 when they are level."""
    shares = [n / counts.total() for n in counts.values() if n]
    return -sum(p * math.log(p) for p in shares) / math.log(len(counts))


@pytest.mark.criterion("6.2")
@given(
    populations(),
    st.integers(0, 50),
    st.integers(0, 10),
    st.integers(0, 60),
    st.sampled_from(["number", "size"]),
)
def test_no_floor_is_ever_broken_and_nobody_stays_who_could_go(
    held: list[Held], least: int, floor: int, most: int, by: str
) -> None:
    policy = small(least, floor)
    limit = Limit("most", **{by: most})
    gone = {one.id for one in levelled(held, policy, limit)}
    left = [one for one in held if one.id not in gone]
    counts = counted(left)
    assert len(left) >= min(least, len(held))
    for cell, before in counted(held).items():
        assert counts[cell] >= min(pruning.floor(cell, policy), before)
    room = Room(counts, policy)
    within = limit.broken_by(Amount(len(left), sum(one.size for one in left))) is None
    assert within or not any(
        room.may_lose(one.cell) for one in left if one.standing is not Standing.LIVE
    )
    assert not gone & {one.id for one in held if one.standing is Standing.LIVE}


@pytest.mark.criterion("6.3")
@given(populations(), st.integers(0, 10), st.integers(0, 60))
def test_nothing_better_goes_before_something_worse_of_its_cell(
    held: list[Held], floor: int, most: int
) -> None:
    gone = {one.id for one in levelled(held, small(0, floor), Limit("most", number=most))}
    for cell in counted(held):
        mine = sorted((one for one in held if one.cell == cell), key=lambda one: one.order)
        assert [one.id in gone for one in mine] == sorted(
            (one.id in gone for one in mine), reverse=True
        )
        ordinary = [one for one in mine if one.standing is Standing.ORDINARY]
        lost = [one.quality for one in ordinary if one.id in gone]
        kept = [one.quality for one in ordinary if one.id not in gone]
        assert not lost or not kept or max(lost) <= min(kept)


@given(populations(), st.integers(0, 60))
def test_a_persons_word_goes_last_whatever_its_cell(held: list[Held], most: int) -> None:
    leaving = levelled(held, small(0, 0), Limit("most", number=most))
    standing = {one.id: one.standing for one in held}
    order = [standing[one.id] for one in leaving]
    assert order == sorted(order)


@given(populations(), st.integers(0, 60), st.randoms())
def test_the_plan_is_the_same_in_whatever_order_they_come(
    held: list[Held], most: int, chance: Any
) -> None:
    plan = levelled(held, small(0, 2), Limit("most", number=most))
    chance.shuffle(held)
    assert levelled(held, small(0, 2), Limit("most", number=most)) == plan


@pytest.mark.criterion("6.2")
@given(st.lists(st.integers(30, 200), min_size=2, max_size=9), st.integers())
@settings(max_examples=30)
def test_a_skewed_set_capped_to_a_fifth_is_level(sizes: list[int], seed: int) -> None:
    held, total, chance = list[Held](), sum(sizes), Random(seed)
    for n, size in enumerate(sizes):
        quality = chance.random() / 2
        held += [Held(len(held) + i, Cell(f"topic {n}", "easy"), quality + chance.random() / 2, NOW,
                      Standing.ORDINARY) for i in range(size)]  # fmt: skip
    most = total // 5
    gone = {one.id for one in levelled(held, small(0, 0), Limit("most", number=most))}
    left = counted([one for one in held if one.id not in gone])
    assert left.total() == most
    # Max-min: no cell could be fuller without another that is not fuller being emptier.
    assert all(left[cell] == n or left[cell] >= max(left.values()) - 1
               for cell, n in counted(held).items())  # fmt: skip
    assert entropy(left) >= 0.99 or min(sizes) < max(left.values())


def test_what_nobody_wants_goes_before_the_fullest_cell() -> None:
    full = [Held(n, Cell("sums", "easy"), 0.1, NOW, Standing.ORDINARY) for n in range(9)]
    odd = [Held(10 + n, Cell("odd", "easy"), 0.9, NOW, Standing.ORDINARY) for n in range(2)]
    leaving = levelled([*full, *odd], small(0, 0), Limit("lifecycle.max_admitted", number=8))
    assert [one.id for one in leaving] == [10, 11, 0]
    assert leaving[-1].detail == (
        "quality 0.10, the lowest of 9 in sums, easy, of 9 admitted; lifecycle.max_admitted is 8"
    )


def test_of_near_duplicates_the_best_stay() -> None:
    alike = [Held(n, Cell("sums", "easy"), q, NOW, standing) for n, (q, standing) in enumerate([
        (0.9, Standing.ORDINARY), (0.2, Standing.PINNED), (0.8, Standing.ORDINARY),
        (0.3, Standing.APPROVED), (0.1, Standing.LIVE)])]  # fmt: skip
    leaving = list(pruning.thinned([alike], 3, Room(counted(alike), small(0, 0))))
    assert [one.id for one in leaving] == [2, 0]
    assert leaving[0].detail == (
        "quality 0.80, the lowest of 5 near-duplicates, lifecycle.max_alike is 3"
    )
    assert not list(pruning.thinned([alike], 3, Room(counted(alike), small(0, 5))))[1:]


@given(populations(), st.integers(0, 40))
def test_all_domains_together_give_as_one_set_would(held: list[Held], most: int) -> None:
    domains: dict[str, dict[Cell, Amount]] = {"a": {}, "b": {}}
    for n, (cell, count) in enumerate(counted(held).items()):
        domains["ab"[n % 2]][cell] = Amount(count, 10 * count)
    policies = {"a": small(0, 2), "b": small(0, 2)}
    limits = pruning.shares(domains, policies, Limit("ALL", number=most))
    kept = {name: limit.number or 0 for name, limit in limits.items()}
    floors = sum(min(n.number, pruning.floor(cell, policies[name]))
                 for name, those in domains.items() for cell, n in those.items())  # fmt: skip
    assert sum(kept.values()) == max(min(most, len(held)), floors)
    by_size = pruning.shares(domains, policies, Limit("ALL", size=10 * most))
    assert sum(one.number or 0 for one in by_size.values()) <= max(most, floors)
    assert str(limits["a"]) == f"the share of ALL is {kept['a']}"


@given(populations(), st.integers(0, 30), st.integers(0, 10), st.integers(1, 7))
def test_batch_by_batch_is_the_same_as_at_once(
    held: list[Held], most: int, floor: int, batch: int
) -> None:
    policy = small(0, floor)
    plan = levelled(held, policy, Limit("most", number=most))
    left, done = counted(held), list[Leaving]()
    for start in range(0, len(plan), batch):
        chosen = pruning.still(plan[start : start + batch], Room(left, policy), most)
        left.subtract(one.cell for one in chosen)
        done += chosen
    assert done == plan
    assert pruning.still(plan, Room(left, policy), left.total()) == []
