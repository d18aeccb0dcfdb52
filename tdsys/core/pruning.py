"""Which admitted examples leave: what is too old, too much alike, or more than may be kept.

Pure: whoever plans hands in examples in the order in which they would go, and how many of each
cell there are. The fullest cell gives first, its lowest quality first (max-min water-filling, see
docs/lifecycle.md); no cell gives below its floor, and a person's word goes last.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from tdsys.core.example import Cell, Source
from tdsys.core.policy import Policy

TOO_OLD = "too_old"
TOO_ALIKE = "too_alike"
OVER_CAP = "over_cap"
OVER_BYTES = "over_bytes"
MEGABYTE = 1_000_000


class Standing(IntEnum):
    """What speaks for an example; whoever has less goes first, and LIVE never goes."""

    ORDINARY = 0
    APPROVED = 1
    PINNED = 2
    LIVE = 3


class Held(NamedTuple):
    """An admitted example as pruning sees it; LIVE: the active program or a run learns from it."""

    id: int
    cell: Cell
    quality: float
    created_at: datetime
    standing: Standing
    source: Source = Source.CAPTURED
    size: int = 0

    @property
    def order(self) -> tuple[int, float, datetime, int]:
        """Of one cell the smallest goes first; nobody else has the same."""
        return self.standing, self.quality, self.created_at, self.id


class Leaving(NamedTuple):
    """One example that goes, and what a person reads."""

    id: int
    cell: Cell
    size: int
    reason: str
    detail: str


class Amount(NamedTuple):
    """How many examples, and how many bytes they hold."""

    number: int
    size: int


class Limit(NamedTuple):
    """What admitted examples may come to, in number or in bytes, and what says so."""

    name: str
    number: int | None = None
    size: int | None = None

    def broken_by(self, held: Amount) -> str | None:
        """The reason for one to go; None when they are within it."""
        if self.number is not None and held.number > self.number:
            return OVER_CAP
        return OVER_BYTES if self.size is not None and held.size > self.size else None

    def __str__(self) -> str:
        if self.size is not None:
            return f"{self.name} is {self.size / MEGABYTE:g}"
        return f"{self.name} is {self.number}"


def floor(cell: Cell, policy: Policy) -> int:
    """How many of a cell are never retired: its minimum, where it is wanted."""
    return 0 if policy.outside(cell) else policy.cells.least(cell)


class Room:
    """What is admitted while some of it leaves: no cell below its floor, nor the whole."""

    def __init__(self, counts: Mapping[Cell, int], policy: Policy) -> None:
        self.left = Counter(counts)
        self.total = self.left.total()
        self._policy = policy
        self._floors = {cell: floor(cell, policy) for cell in counts}

    def may_lose(self, cell: Cell) -> bool:
        """Whether one of this cell can go."""
        spare = self.left[cell] > self._floors.get(cell, 0)
        return spare and self.total > self._policy.min_examples

    def lose(self, cell: Cell) -> None:
        """One of this cell goes."""
        self.left[cell] -= 1
        self.total -= 1

    def unwanted(self, cell: Cell) -> bool:
        """Whether it stands for nothing the domain asks for."""
        return self._policy.outside(cell) is not None

    @property
    def spared(self) -> list[Cell]:
        """The cells that may lose nothing."""
        return [cell for cell in self.left if not self.may_lose(cell)]


def outdated(held: Iterable[Held], room: Room, because: Callable[[Held], str]) -> Iterator[Leaving]:
    """Of those that are too old, in their order, whoever can go."""
    for one in held:
        if one.standing < Standing.PINNED and room.may_lose(one.cell):
            room.lose(one.cell)
            yield Leaving(one.id, one.cell, one.size, TOO_OLD, because(one))


def thinned(clusters: Iterable[Iterable[Held]], most: int, room: Room) -> Iterator[Leaving]:
    """Of each cluster of near-duplicates what is more than `most`, the worst first."""
    for alike in clusters:
        ordered = sorted(alike, key=lambda one: one.order)
        over = len(ordered) - most
        for one in ordered:
            if over > 0 and one.standing < Standing.LIVE and room.may_lose(one.cell):
                over -= 1
                room.lose(one.cell)
                detail = (
                    f"quality {one.quality:.2f}, the lowest of {len(ordered)} near-duplicates, "
                    f"lifecycle.max_alike is {most}"
                )
                yield Leaving(one.id, one.cell, one.size, TOO_ALIKE, detail)


def levelled(
    cells: Mapping[Cell, Iterable[Held]], room: Room, held: Amount, limit: Limit
) -> Iterator[Leaving]:
    """Whoever goes until the rest is within the limit.

    Each cell hands in its examples by `order`, and is asked for no more than are needed. What
    nobody wants gives first, then the fullest cell, and of equally full ones the lower quality.
    """
    for one in _in_turn(cells, room):
        reason = limit.broken_by(held)
        if reason is None:
            return
        detail = (
            f"quality {one.quality:.2f}, the lowest of {room.left[one.cell]} in "
            f"{one.cell.topic}, {one.cell.difficulty}, of {_told(held, reason)}; {limit}"
        )
        room.lose(one.cell)
        held = Amount(held.number - 1, held.size - one.size)
        yield Leaving(one.id, one.cell, one.size, reason, detail)


def still(planned: Iterable[Leaving], room: Room, most: int | None) -> list[Leaving]:
    """Of what was planned a moment ago, what may go now that others may have gone as well."""
    chosen = []
    for one in planned:
        enough = one.reason == OVER_CAP and most is not None and room.total <= most
        if room.may_lose(one.cell) and not enough:
            room.lose(one.cell)
            chosen.append(one)
    return chosen


def shares(
    held: Mapping[str, Mapping[Cell, Amount]], policies: Mapping[str, Policy], limit: Limit
) -> dict[str, Limit]:
    """How many each domain may keep, so that all together are within a limit.

    Every cell of every domain gives as if they were one set: down to a common level, its floor
    at least. Sizes count as the mean of their cell.
    """
    cells = {(name, cell): amount for name, those in held.items() for cell, amount in those.items()}
    floors = {key: floor(key[1], policies[key[0]]) for key in cells}
    level = _level(cells, floors, limit)
    kept = Counter({key: min(n.number, max(level, floors[key])) for key, n in cells.items()})
    spare = 0 if limit.number is None else limit.number - kept.total()
    fuller = [key for key in sorted(cells) if level <= kept[key] < cells[key].number]
    kept.update(fuller[: max(spare, 0)])
    name = f"the share of {limit.name}"
    return {
        domain: Limit(name, sum(kept[domain, cell] for cell in those))
        for domain, those in held.items()
    }


def _level(
    cells: Mapping[tuple[str, Cell], Amount],
    floors: Mapping[tuple[str, Cell], int],
    limit: Limit,
) -> int:
    """The highest level at which all cells together are within the limit; 0 when none is."""

    def fits(level: int) -> bool:
        count, size = 0, 0.0
        for key, held in cells.items():
            kept = min(held.number, max(level, floors[key]))
            count, size = count + kept, size + held.size * kept / max(held.number, 1)
        return limit.broken_by(Amount(count, math.ceil(size))) is None

    low, high = 0, max((held.number for held in cells.values()), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _in_turn(cells: Mapping[Cell, Iterable[Held]], room: Room) -> Iterator[Held]:
    """Whose turn it is; a cell is asked for its next only after its last one went."""
    heap: list[tuple[tuple[object, ...], Iterator[Held]]] = []

    def push(rest: Iterator[Held]) -> None:
        one = next(rest, None)
        if one and one.standing < Standing.LIVE and room.may_lose(one.cell):
            standing, *order = one.order
            turn = (standing, not room.unwanted(one.cell), -room.left[one.cell], *order, one)
            heapq.heappush(heap, (turn, rest))

    for held in cells.values():
        push(iter(held))
    while heap:
        (*_, one), rest = heapq.heappop(heap)
        if isinstance(one, Held) and room.may_lose(one.cell):
            yield one
            push(rest)


def _told(held: Amount, reason: str) -> str:
    if reason == OVER_CAP:
        return f"{held.number} admitted"
    return f"{held.size / MEGABYTE:.1f} MB admitted"
