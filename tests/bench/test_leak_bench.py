"""Sets of 900 with sibling problems: how many val examples have a sibling in train, and how even.

A sibling is an edit of a problem (other numbers, names, words, order, a sentence more or less, or
another question), so who is whose sibling is known without the rule that is measured.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from typing import NamedTuple

import pytest

from tdsys.core.dataset import Split, divide
from tdsys.core.example import Cell
from tdsys.core.matching import groups
from tdsys.core.policy import Shares
from tdsys.reference import DOMAINS, ReferenceGenerator
from tests.editing import EDITS
from tests.factories import make_admitted

pytestmark = pytest.mark.bench

SIZE = 900
# Of the set; with so many a random split leaves about a sixth of val with one in train.
SIBLINGS = 0.2
SEEDS = (1, 2, 3)
LEAKS = 0.005
DISTANCE = 0.02


class Placed(NamedTuple):
    """One problem: whose edit it is, or itself; its cell, and the split it was given."""

    family: int
    cell: Cell
    split: Split


def problems(domain: str, seed: int) -> list[tuple[int, Cell, str]]:
    """Family, cell and text of each."""
    rng = random.Random(seed)
    made = list(ReferenceGenerator(seed=seed).stream([domain], SIZE))
    pool = [one.outputs["problem"] for one in made]
    found = [
        (n, Cell(one.inputs["topic"], one.inputs["difficulty"]), one.outputs["problem"])
        for n, one in enumerate(made[: int(SIZE * (1 - SIBLINGS))])
    ]
    originals = list(found)
    while len(found) < SIZE:
        family, cell, told = rng.choice(originals)
        edit = rng.choice(list(EDITS.values()))
        found.append((family, cell, edit(told, rng, pool)))
    return found


def divided(told: list[tuple[int, Cell, str]]) -> list[Placed]:
    examples = [
        make_admitted(
            n, topic=cell.topic, difficulty=cell.difficulty,
            outputs={"problem": text, "solution": "s", "answer": "1"},
        )
        for n, (_, cell, text) in enumerate(told)
    ]  # fmt: skip
    together = groups([text for *_, text in told], chosen=len(told))
    members = divide(examples, together, shares=Shares())
    return [Placed(*told[m.example.id][:2], m.split) for m in members]


def dealt(told: list[tuple[int, Cell, str]], seed: int) -> list[Placed]:
    """By lot, as DSPy's own examples do it."""
    shares = Shares()
    deck = random.Random(seed).sample(told, len(told))
    train, val = round(shares.train * SIZE), round((shares.train + shares.val) * SIZE)
    return [
        Placed(*one[:2], Split.TRAIN if n < train else Split.VAL if n < val else Split.TEST)
        for n, one in enumerate(deck)
    ]


def leaks(placed: list[Placed]) -> float:
    """The share of val that has a sibling in train."""
    taught = {one.family for one in placed if one.split is Split.TRAIN}
    asked = [one.family for one in placed if one.split is Split.VAL]
    return sum(family in taught for family in asked) / len(asked)


def distance(placed: list[Placed], split: Split) -> float:
    """Total variation between the cells of a split and of the whole."""
    whole = Counter(one.cell for one in placed)
    part = Counter(one.cell for one in placed if one.split is split)
    held = part.total()
    return sum(abs(whole[c] / len(placed) - part[c] / held) for c in whole) / 2


def test_few_of_val_have_a_sibling_in_train_and_cells_are_even() -> None:
    ours, random_ = [], []
    for domain in DOMAINS:
        for seed in SEEDS:
            told = problems(domain, seed)
            ours.append(divided(told))
            random_.append(dealt(told, seed))
    leaked, by_lot = statistics.mean(map(leaks, ours)), statistics.mean(map(leaks, random_))
    apart = [distance(placed, split) for placed in ours for split in Split]
    lot = [distance(placed, split) for placed in random_ for split in Split]
    print(
        f"\n{len(ours)} sets of {SIZE}: {leaked:.2%} of val have a sibling in train (worst set "
        f"{max(map(leaks, ours)):.2%}), by lot {by_lot:.1%}; stratum distance "
        f"{statistics.mean(apart):.4f} (worst {max(apart):.4f}), by lot {statistics.mean(lot):.4f}"
    )
    assert leaked < LEAKS
    assert statistics.mean(apart) <= DISTANCE
    assert by_lot > 0.1
