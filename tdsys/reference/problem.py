"""What the reference generator hands out: a problem, its inputs and what is wrong with it.

The one rule: `fault` is a label for measuring quality code; it is never part of the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

DIFFICULTIES = ("easy", "medium", "hard")

STEPS = {"easy": (1, 2), "medium": (3, 3), "hard": (4, 5)}
"""Fewest and most steps of a clean solution, by difficulty."""


class Inputs(TypedDict):
    """What a problem generator was asked for."""

    topic: str
    difficulty: str
    context: str


class Outputs(TypedDict):
    """What a problem generator returns."""

    problem: str
    solution: str
    answer: str
    hints: list[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One generated problem; `fault` names what was spoilt on purpose, None when it is clean."""

    domain: str
    inputs: Inputs
    outputs: Outputs
    fault: str | None = None


class Disagreement(Exception):
    """A step and its independent check came to different values: a bug in a story."""
