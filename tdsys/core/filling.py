"""Where examples are lacking and how a number of new ones is dealt out; it only plans.

One rule: the same request on the same counts gives the same plan, whoever computes it.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tdsys.core.batch import PORTION, PORTIONS_AT_ONCE, Kin
from tdsys.core.example import Cell
from tdsys.core.hardness import beside
from tdsys.core.policy import Policy
from tdsys.errors import InvalidInput

# This share of a cell goes to all strategies alike, whatever they yielded: measuring goes on.
EXPLORATION = 0.3
# So many calls of a cell weigh as much as what is known of the strategy elsewhere.
PRIOR_CALLS = 20.0
TOKENS_PER_CALL = 900


class Experience(NamedTuple):
    """What a strategy has yielded in one cell so far."""

    strategy: str
    cell: Cell
    tried: int
    admitted: int
    calls: int
    tokens: int
    seconds: float


class Offer(NamedTuple):
    """A strategy to choose from; `calls` is the most it asks a model for one example.

    One that needs no material can be turned to where others fail for want of it.
    """

    strategy: str
    calls: int
    parents: int = 0
    kin: Kin = Kin.CELL

    @property
    def needs_material(self) -> bool:
        """Whether it makes nothing out of nothing."""
        return self.parents > 0

    def can_begin(self, cell: Cell, admitted: Mapping[Cell, int], listed: Sequence[str]) -> bool:
        """Whether there is enough material for a cell; `listed` as in `easier_first`."""
        topic = {c.difficulty: n for c, n in admitted.items() if c.topic == cell.topic and n}
        if self.kin in {Kin.EASIER, Kin.HARDER}:
            side = beside(cell.difficulty, topic, listed, harder=self.kin is Kin.HARDER)
            return any(topic[one] >= self.parents for one in side)
        return sum(topic.values()) >= self.parents


class Planned(NamedTuple):
    """So many examples of one cell by one strategy, and the calls that are expected of it."""

    topic: str
    difficulty: str
    strategy: str
    wanted: int
    calls: int

    @property
    def cell(self) -> Cell:
        """The cell they are for."""
        return Cell(self.topic, self.difficulty)


class FillingPlan(NamedTuple):
    """A batch before it is begun; cost in US dollars, None: the model's price is not known."""

    wanted: int
    cells: list[Planned]
    calls: int
    tokens: int
    cost: float | None
    seconds: float | None
    before: dict[Cell, int]


def quotas(
    cells: Sequence[Cell], held: Mapping[Cell, int], count: int, policy: Policy
) -> dict[Cell, int]:
    """So many new examples for each cell, `count` together: first minima, then the emptiest.

    InvalidInput when the cells' maxima leave no room for all of them.
    """
    given = dict.fromkeys(cells, 0)
    heap = [_turn(cell, place, held.get(cell, 0), policy) for place, cell in enumerate(cells)]
    heap = [turn for turn in heap if _has_room(cells[turn[2]], turn[1], policy)]
    heapq.heapify(heap)
    for number in range(count):
        if not heap:
            raise InvalidInput(
                f"the policy's cells have room for {number} more examples, not for {count}",
                remedy=f"ask for {number}, or raise cells.max" if number else "raise cells.max",
            )
        _, has, place = heapq.heappop(heap)
        given[cells[place]] += 1
        if _has_room(cells[place], has + 1, policy):
            heapq.heappush(heap, _turn(cells[place], place, has + 1, policy))
    return {cell: n for cell, n in given.items() if n}


def _turn(cell: Cell, place: int, has: int, policy: Policy) -> tuple[bool, int, int]:
    return has >= policy.cells.least(cell), has, place


def _has_room(cell: Cell, has: int, policy: Policy) -> bool:
    most = policy.cells.most(cell)
    return most is None or has < most


def plan(
    wanted: Mapping[Cell, int],
    offers: Sequence[Offer],
    experience: Sequence[Experience],
    *,
    before: Mapping[Cell, int],
    seed: int = 0,
    price: float | None = None,
    able: Callable[[Offer, Cell], bool] = lambda _, __: True,
) -> FillingPlan:
    """Strategies for each cell, and what the whole is expected to take.

    `price` is in US dollars for a million tokens. Where none is `able` to begin in a cell all are
    given it, so that its end says what lacked.
    """
    cells = [
        Planned(*cell, offer.strategy, n, math.ceil(n * calls_per_example(offer, cell, experience)))
        for cell, count in wanted.items()
        for those in [[one for one in offers if able(one, cell)] or offers]
        for offer, n in _dealt(cell, count, those, experience, seed)
    ]
    calls = sum(one.calls for one in cells)
    tokens = round(calls * _tokens_per_call(experience))
    cost = 0.0 if not calls else None if price is None else tokens * price / 1e6
    total = sum(wanted.values())
    seconds = _seconds(cells, experience)
    return FillingPlan(total, cells, calls, tokens, cost, seconds, dict(before))


def calls_per_example(offer: Offer, cell: Cell, experience: Sequence[Experience]) -> float:
    """The calls an admitted example is expected to cost, from what it did cost.

    Each cell's own record counts more the longer it is; the prior is one success in each try.
    """
    if not offer.calls:
        return 0.0
    ours = [one for one in experience if one.strategy == offer.strategy]
    admitted, calls = sum(o.admitted for o in ours), sum(o.calls for o in ours)
    overall = (admitted + 1) / (calls + offer.calls)
    here = [one for one in ours if one.cell == cell]
    gained = sum(o.admitted for o in here) + PRIOR_CALLS * overall
    return (sum(o.calls for o in here) + PRIOR_CALLS) / gained


def _dealt(
    cell: Cell, count: int, offers: Sequence[Offer], experience: Sequence[Experience], seed: int
) -> list[tuple[Offer, int]]:
    """A cell's quota dealt to the strategies by yield, the rest by lot: largest remainders."""
    yields = [1 / (calls_per_example(o, cell, experience) or 1) for o in offers]
    total = sum(yields)
    shares = [
        count * (EXPLORATION / len(offers) + (1 - EXPLORATION) * one / total) for one in yields
    ]
    dealt = [math.floor(share) for share in shares]

    def urgency(place: int) -> float:
        # The lot decides between remainders that are nearly alike.
        return shares[place] - dealt[place] + _lot(seed, cell, offers[place].strategy)

    ranked = sorted(range(len(offers)), key=urgency, reverse=True)
    for place in ranked[: count - sum(dealt)]:
        dealt[place] += 1
    return [(offer, n) for offer, n in zip(offers, dealt, strict=True) if n]


def _lot(seed: int, cell: Cell, strategy: str) -> float:
    key = "\x1f".join((str(seed), *cell, strategy)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / 2**56


def _tokens_per_call(experience: Sequence[Experience]) -> float:
    calls = sum(one.calls for one in experience)
    return sum(one.tokens for one in experience) / calls if calls else TOKENS_PER_CALL


def _seconds(cells: Sequence[Planned], experience: Sequence[Experience]) -> float | None:
    """What all of it takes one worker, from what it took; None before anything was admitted.

    A portion's time is that of one beside others, so as many as a worker makes at once pass in it.
    """
    admitted, seconds = Counter[str](), defaultdict[str, float](float)
    for one in experience:
        admitted[one.strategy] += one.admitted
        seconds[one.strategy] += one.seconds
    if not admitted.total():
        return None
    usual = sum(seconds.values()) / admitted.total()

    def each(strategy: str) -> float:
        known = admitted[strategy]
        return seconds[strategy] / known if known else usual

    portions = sum(math.ceil(one.wanted / PORTION) for one in cells)
    at_once = max(1, min(PORTIONS_AT_ONCE, portions))
    return sum(one.wanted * each(one.strategy) for one in cells) / at_once
