"""Who is retired, and what keeps an example."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tdsys.core.pruning import Held, choose, spared
from tests.factories import NOW

WANTED: dict[str, Any] = {"topics": ["sums", "ratios"], "difficulties": ["easy", "hard"]}
cells = st.builds(Cell, st.sampled_from(["sums", "ratios", "odd"]), st.sampled_from(["easy", "x"]))


@st.composite
def populations(draw: st.DrawFn) -> list[Held]:
    drawn = draw(st.lists(st.tuples(cells, st.floats(0, 1), st.booleans()), max_size=60))
    return [Held(n, cell, quality, NOW - timedelta(days=n), approved)
            for n, (cell, quality, approved) in enumerate(drawn)]  # fmt: skip


def small(least: int, floor: int) -> Policy:
    """A policy with fewer examples than any that may be published."""
    policy = Policy.model_validate({**WANTED, "cells": {"min": floor}})
    return Policy.model_construct(**{**policy.__dict__, "min_examples": least})


@pytest.mark.criterion("6.2")
@given(populations(), st.integers(0, 50), st.integers(0, 10), st.integers(0, 60))
def test_no_floor_is_ever_broken_and_nobody_stays_who_could_go(
    held: list[Held], least: int, floor: int, most: int
) -> None:
    policy, counts = small(least, floor), Counter(one.cell for one in held)
    gone = choose(held, counts, policy, most=most)
    left = counts - Counter(one.cell for one in gone)
    assert len(gone) <= most
    assert left.total() >= min(least, counts.total())
    for cell in counts:
        kept = floor if policy.outside(cell) is None else 0
        assert left[cell] >= min(kept, counts[cell])
    may_go = [one for one in held if one not in gone and left[one.cell] > (
        floor if policy.outside(one.cell) is None else 0)]  # fmt: skip
    assert len(gone) == most or left.total() <= least or not may_go


@given(populations(), st.integers(0, 10), st.integers(1, 60))
def test_whoever_comes_first_in_a_cell_goes_first(held: list[Held], floor: int, most: int) -> None:
    policy, counts = small(0, floor), Counter(one.cell for one in held)
    gone = choose(held, counts, policy, most=most)
    for cell in counts:
        mine = [one for one in held if one.cell == cell]
        assert [one for one in gone if one.cell == cell] == mine[: sum(
            one.cell == cell for one in gone)]  # fmt: skip


@given(populations(), st.integers(0, 30), st.integers(0, 10), st.integers(1, 7))
def test_batch_by_batch_is_the_same_as_at_once(
    held: list[Held], least: int, floor: int, batch: int
) -> None:
    policy, counts = small(least, floor), Counter(one.cell for one in held)
    at_once = choose(held, counts, policy)
    rest, done = list(held), list[Held]()
    while True:
        but = spared(counts, policy)
        seen = [one for one in rest if one.cell not in but][:batch]
        gone = choose(seen, counts, policy)
        if not gone:
            break
        counts.subtract(one.cell for one in gone)
        rest = [one for one in rest if one not in gone]
        done += gone
    assert sorted(done) == sorted(at_once)
