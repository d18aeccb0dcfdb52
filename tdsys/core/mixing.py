"""Where examples come from, and how many synthetic ones may be among the others.

One rule: synthetic is what a model was asked to make; what the customer's own generator makes on
request is as real as what it makes unasked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from tdsys.core.example import Cell, Source
from tdsys.core.policy import Policy

SYNTHETIC, REAL, IMPORTED = "synthetic", "real", "imported"
KINDS: Mapping[str, str] = {
    Source.CAPTURED: REAL,
    Source.BOOTSTRAPPED: REAL,
    Source.MANUAL: REAL,
    Source.SYNTHETIC: SYNTHETIC,
    Source.IMPORTED: IMPORTED,
}


class Counted(NamedTuple):
    """How many of a cell are synthetic and how many are not."""

    made: int = 0
    real: int = 0

    def plus(self, *, is_made: bool) -> Counted:
        """With one more of a kind."""
        return Counted(self.made + is_made, self.real + (not is_made))


class _Bounds(NamedTuple):
    """What a cell that has `taken` can still come to, all in whole numbers.

    `most_real` is how many of it can be real in the end; `least` how many it must hold, so that
    its share is kept by what is taken; `more_made` how many synthetic ones can be added besides.
    """

    most_real: int
    least: int
    more_made: int
    is_possible: bool


class Room:
    """Which example may be taken, so that in the end no share is exceeded and no place is wasted.

    The largest version that the shares allow holds every real example there is a place for, and as
    many synthetic ones as go with those. One is taken only if such a version can still be had;
    what cannot be taken once never can be later, so nobody needs to look back. Where what is `held`
    exceeds a share already, only real ones are added.
    """

    def __init__(
        self,
        policy: Policy,
        supply: Mapping[Cell, Counted],
        *,
        held: Mapping[Cell, Counted] | None = None,
    ) -> None:
        self._policy = policy
        self._held = held or {}
        self._taken = {cell: self._held.get(cell, Counted()) for cell in {**supply, **self._held}}
        self._supply = {
            cell: Counted(had.made + more.made, had.real + more.real)
            for cell, had in self._taken.items()
            for more in [supply.get(cell, Counted())]
        }
        self._bounds = {cell: self._bound(cell, taken) for cell, taken in self._taken.items()}
        self._real = sum(one.most_real for one in self._bounds.values())
        self._least = sum(one.least for one in self._bounds.values())
        self._more = sum(one.more_made for one in self._bounds.values())
        self._made = sum(one.made for one in self._held.values())
        share = _exact(policy.synthetic_share)
        made = self._made + self._more
        if share < 1:
            made = max(self._made, min(made, _beside(share, self._real)))
        self._size = min(policy.max_examples, self._real + made)
        self._allowed = max(self._made, floor(share * self._size))

    def takes(self, cell: Cell, *, is_made: bool) -> bool:
        """Take one more of a cell, or say that it may not be."""
        after = self._taken[cell].plus(is_made=is_made)
        old, new = self._bounds[cell], self._bound(cell, after)
        real = self._real - old.most_real + new.most_real
        least = self._least - old.least + new.least
        more = self._more - old.more_made + new.more_made
        made = self._made + is_made
        lacking = max(0, self._size - made - real)
        if (
            after.made + after.real > self._most(cell)
            or not new.is_possible
            or least > max(self._size, self._least)
            or made + lacking > self._allowed
            or lacking > more
        ):
            return False
        self._taken[cell], self._bounds[cell] = after, new
        self._real, self._least, self._more, self._made = real, least, more, made
        return True

    def _bound(self, cell: Cell, taken: Counted) -> _Bounds:
        share = _exact(self._policy.cells.synthetic_share_of(cell))
        supply, most = self._supply[cell], self._most(cell)
        most_real = min(supply.real, max(taken.real, most - taken.made))
        needed = _needed(share, taken.made)
        if needed is None or needed > most_real:  # more than its share whatever is added
            is_possible, needed, more = taken.made <= self._held_made(cell), 0, 0
        else:
            beside = supply.made if share == 1 else _beside(share, most_real)
            is_possible, more = True, min(supply.made, beside, most - most_real) - taken.made
        return _Bounds(
            most_real=most_real,
            least=taken.made + max(taken.real, needed),
            more_made=max(0, more),
            is_possible=is_possible,
        )

    def _held_made(self, cell: Cell) -> int:
        return self._held.get(cell, Counted()).made

    def _most(self, cell: Cell) -> int:
        most = self._policy.cells.most(cell)
        return self._policy.max_examples if most is None else most


def counted(examples: Iterable[tuple[Cell, Source]]) -> dict[Cell, Counted]:
    """How many of each cell are synthetic, and how many are not."""
    kinds = Counter((cell, source == Source.SYNTHETIC) for cell, source in examples)
    cells = {cell for cell, _ in kinds}
    return {cell: Counted(kinds[cell, True], kinds[cell, False]) for cell in cells}


def exceeded(policy: Policy, held: Mapping[Cell, Counted]) -> Iterator[str]:
    """Which shares of synthetic examples a set is above, in words."""
    made, real = (sum(one[n] for one in held.values()) for n in (0, 1))
    if made > _exact(policy.synthetic_share) * (made + real):
        share = f"{policy.synthetic_share:.0%}"
        yield f"{made} of {made + real} examples are synthetic, synthetic_share is {share}"
    for cell, (made, real) in sorted(held.items()):
        allowed = policy.cells.synthetic_share_of(cell)
        if made > _exact(allowed) * (made + real):
            yield (
                f"{made} of {made + real} examples of {cell.topic}, {cell.difficulty} are "
                f"synthetic, cells.synthetic_share is {allowed:.0%}"
            )


def _exact(share: float) -> Fraction:
    """The share as somebody meant it: 0.1 is a tenth, 0.3333333333333333 a third."""
    return Fraction(share).limit_denominator(10**6)


def _beside(share: Fraction, real: int) -> int:
    """How many synthetic ones go with so many real ones; for shares below 1."""
    return floor(share / (1 - share) * real)


def _needed(share: Fraction, made: int) -> int | None:
    """How many real ones so many synthetic ones need; None: no number is enough."""
    if not made:
        return 0
    return ceil((1 - share) / share * made) if share else None
