"""Counts over topic x difficulty as a table to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tdsys.cli.printing import show_table
from tdsys.core.example import Cell

SHADES = "·░▒▓█"


def show_heatmap(before: Mapping[Cell, int], after: Mapping[Cell, int]) -> None:
    """Each cell's count before and after, the darker the more."""
    topics = list(dict.fromkeys(cell.topic for cell in after))
    difficulties = list(dict.fromkeys(cell.difficulty for cell in after))
    most = max([*before.values(), *after.values()], default=0)
    rows = [
        (topic, *(_square(Cell(topic, d), before, after, most) for d in difficulties))
        for topic in topics
    ]
    show_table(("topic: before → after", *difficulties), rows)


def _square(cell: Cell, before: Mapping[Cell, int], after: Mapping[Cell, int], most: int) -> str:
    if cell not in after:
        return ""
    has, will = before.get(cell, 0), after[cell]
    return f"{shade(has, most)} {has} → {will} {shade(will, most)}"


def shade(n: int, most: int) -> str:
    """A sign for a count: only none at all is empty."""
    steps: Sequence[str] = SHADES
    return steps[-(-n * (len(steps) - 1) // most)] * 2 if most else steps[0] * 2
