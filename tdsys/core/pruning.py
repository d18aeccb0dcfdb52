"""Which admitted examples a policy's lifecycle retires, and what keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from tdsys.core.example import Cell
from tdsys.core.policy import Policy

TOO_OLD = "too_old"
OVER_CAP = "over_cap"


class Held(NamedTuple):
    """An admitted example as pruning sees it; `approved`: a person's word admitted it."""

    id: int
    cell: Cell
    quality: float
    created_at: datetime
    approved: bool


def floor(cell: Cell, policy: Policy) -> int:
    """How many of a cell are never retired: its minimum, where it is wanted."""
    return 0 if policy.outside(cell) else policy.cells.least(cell)


def spared(counts: Mapping[Cell, int], policy: Policy) -> list[Cell]:
    """The cells that may lose nothing."""
    return [cell for cell, held in counts.items() if held <= floor(cell, policy)]


def choose(
    held: Iterable[Held], counts: Mapping[Cell, int], policy: Policy, *, most: int | None = None
) -> list[Held]:
    """Of `held`, in their order, whoever can go without a floor being broken; at most `most`.

    `counts` says how many of each cell are admitted, whether they are in `held` or not.
    """
    left = Counter(counts)
    spare = left.total() - policy.min_examples
    spare = spare if most is None else min(spare, most)
    chosen: list[Held] = []
    for one in held:
        if len(chosen) >= spare:
            break
        if left[one.cell] > floor(one.cell, policy):
            left[one.cell] -= 1
            chosen.append(one)
    return chosen
