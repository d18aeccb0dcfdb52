"""A world with planted truth: some examples help a prompt, some harm it, the rest do nothing.

Simulated throughout: an answer is right with a chance that is a logistic function of the demos'
effects, which saturate, and of how hard the item is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from tdsys.core.attribution import Contribution, Probe, Row, probes

ITEMS = tuple(f"item {n}" for n in range(48))
CAP = 2.0
HELPS, HARMS, REST = 0.6, -0.7, 0.08


class World(NamedTuple):
    """What is true of each example and each item."""

    effects: dict[str, float]
    hardness: dict[str, float]
    helpful: frozenset[str]
    harmful: frozenset[str]

    @property
    def pool(self) -> list[str]:
        return list(self.effects)

    def chance(self, demos: Sequence[str], item: str) -> float:
        pull = CAP * math.tanh(sum(self.effects[one] for one in demos) / CAP)
        return 1 / (1 + math.exp(self.hardness[item] - pull))

    def evidence(self, *, calls: int, seed: int) -> list[Row]:
        draw = random.Random(f"answers {seed}")
        return [
            Row(one.demos, item, float(draw.random() < self.chance(one.demos, item)), "", str(n))
            for n, one in enumerate(probes(self.pool, ITEMS, calls=calls, seed=seed))
            for item in one.items
        ]

    def mean_of(self, one: Probe) -> float:
        return fmean(self.chance(one.demos, item) for item in ITEMS)


def planted(seed: int, *, count: int = 60, planted: int = 8, rest: float = REST) -> World:
    draw = random.Random(f"world {seed}")
    names = [f"example {n:02}" for n in range(count)]
    drawn = draw.sample(names, 2 * planted)
    helpful, harmful = frozenset(drawn[:planted]), frozenset(drawn[planted:])
    effects = {
        name: draw.gauss(HELPS, 0.1) if name in helpful
        else draw.gauss(HARMS, 0.1) if name in harmful
        else draw.gauss(0, rest)
        for name in names
    }  # fmt: skip
    return World(effects, {item: draw.uniform(-1.2, 1.2) for item in ITEMS}, helpful, harmful)


def nothing(seed: int) -> World:
    """A world in which no example does anything."""
    return planted(seed, planted=0, rest=0.0)


def precision(found: Sequence[Contribution], truth: frozenset[str], *, worst: bool) -> float:
    """Of the best, or worst, eight by measured value: the share that is in truth among them."""
    ranked = sorted(found, key=lambda one: one.value or 0.0, reverse=not worst)
    return fmean(one.example in truth for one in ranked[:8])
