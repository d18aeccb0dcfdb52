"""What a domain's examples are worth and what they cover; reads only."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from tdsys.core.agreement import Kappa, Raters, between, kappa
from tdsys.core.calibration import Accepted, accepted
from tdsys.core.example import Cell
from tdsys.core.lifecycle import Move, State
from tdsys.core.policy import Policy
from tdsys.core.reviewing import Act
from tdsys.core.rubric import Dimension
from tdsys.stages.calibrating import weighed
from tdsys.store import Store, calibrations, examples, policies, reviews
from tdsys.store.calibrations import Kept
from tdsys.store.examples import Tenth

TENTHS = 10
WAITING = (State.CANDIDATE, State.IN_REVIEW, State.PARKED)


class Spread(NamedTuple):
    """One dimension's newest scores: how many fell into each tenth, and into each of admitted."""

    dimension: str
    all: list[int]
    admitted: list[int]
    reject_below: float
    admit_from: float


@dataclass(frozen=True)
class Agreed:
    """How far the judge that scored last and people agree about the `n` examples both looked at."""

    n: int
    kappa: Kappa | None
    accepted: Accepted
    simulated: bool


class Quality(NamedTuple):
    """How good a domain's examples are; who has no score is in `states` and in no spread."""

    domain: str
    policy_version: int
    states: dict[str, int]
    sources: dict[str, int]
    reasons: list[tuple[str, str, int]]
    scored: int
    simulated: int
    spreads: list[Spread]


class Covered(NamedTuple):
    """One cell; `lacking` admitted examples to have its share, and at least its minimum.

    `goal` is that share between its bounds: what is beyond `most` (None: no bound) goes into no
    version. A cell that is not wanted lacks nothing, and has no goal.
    """

    topic: str
    difficulty: str
    admitted: int
    waiting: int
    rejected: int
    wanted: bool
    least: int
    most: int | None
    goal: int
    lacking: int

    @property
    def beyond(self) -> int:
        """How many are more than a version may take."""
        return max(0, self.admitted - self.most) if self.most is not None else 0


class Coverage(NamedTuple):
    """A domain's cells, the emptiest first; `share` is what each would hold if all were even.

    Wanted cells are among them when nothing is in them.
    """

    domain: str
    policy_version: int
    max_examples: int
    share: int
    cells: list[Covered]


def quality(store: Store, *, domain: str) -> Quality:
    """The domain's states, reasons and scores; InvalidInput when there is no such domain."""
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
        counts = examples.counts(tx, domains=[domain])
        reasons = examples.reasons(tx, domains=[domain])
        tenths = examples.tenths(tx, domain=domain)
    states, sources = Counter[str](), Counter[str]()
    for one in counts:
        states[one.state] += one.n
        sources[one.source] += one.n
    told = [(r.state, r.reason, r.n) for r in reasons if r.reason is not None]
    # Every scored example has a number in each dimension.
    first = [one for one in tenths if one.dimension == Dimension.ACCURACY]
    return Quality(
        domain=domain,
        policy_version=version,
        states=dict(states),
        sources=dict(sources),
        reasons=sorted(told, key=lambda row: (-row[2], row)),
        scored=sum(one.n for one in first),
        simulated=sum(one.simulated for one in first),
        spreads=[_spread(d, tenths, policy) for d in Dimension],
    )


def agreement(store: Store, *, domain: str) -> Agreed | None:
    """How far judge and people agree; None where no judge scored yet.

    It reads what became of every scored example: seconds in a domain of a million.
    """
    with store.begin() as tx:
        _, policy = policies.current(tx, domain=domain)
        judge = calibrations.newest_judge(tx, domain=domain)
        if judge is None:
            return None
        found = weighed(tx, domain=domain, judge=judge, policy=policy)
    accepts = [one.move is Move.ADMIT for one in found.items]
    goods, counted = [o.good for o in found.items], [o.weight for o in found.items]
    agreed = kappa(accepts, goods, weights=counted)
    return Agreed(len(accepts), agreed, accepted(found.items, accepts), found.simulated)


def people(store: Store, *, domain: str) -> Raters | None:
    """How far people agree among themselves; None where no two decided about the same example."""
    with store.begin() as tx:
        said = reviews.ratings(tx, domains=[domain])
    raters = sorted({one.rater for one in said})
    items: dict[tuple[int, UUID], list[float | None]] = {}
    for one in said:
        row = items.setdefault((one.example_id, one.entry), [None] * len(raters))
        row[raters.index(one.rater)] = float(one.decision == Act.APPROVE)
    return between(list(items.values()))


def calibration(store: Store, *, domain: str) -> Kept | None:
    """What the domain's judge was found to be worth, the last time somebody asked."""
    with store.begin() as tx:
        return calibrations.latest(tx, domain=domain)


def _spread(dimension: Dimension, tenths: list[Tenth], policy: Policy) -> Spread:
    every, admitted = [0] * TENTHS, [0] * TENTHS
    for one in tenths:
        if one.dimension == dimension:
            every[one.tenth] += one.n
            admitted[one.tenth] += one.n * (one.state == State.ADMITTED)
    limits = policy.reject_below.of(dimension), policy.admit_from.of(dimension)
    return Spread(dimension.value, every, admitted, *limits)


def coverage(store: Store, *, domain: str) -> Coverage:
    """How evenly the admitted examples lie; InvalidInput when there is no such domain."""
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
        counts = examples.cells(tx, domain=domain)
    cells: dict[Cell, Counter[str]] = defaultdict(Counter)
    for one in counts:
        cells[Cell(one.topic, one.difficulty)][one.state] += one.n
    # A label that only rejected examples have makes no cell that another one lacks.
    listed = policy.topics or policy.difficulties
    kept = [c for c, held in cells.items() if not listed or held.total() > held[State.REJECTED]]
    wanted = policy.wanted_cells(kept)
    share = math.ceil(policy.max_examples / len(wanted)) if wanted else 0
    found = [_covered(cell, cells[cell], policy, share) for cell in wanted]
    found += [_covered(cell, cells[cell], policy, None) for cell in cells if cell not in wanted]
    found.sort(key=lambda cell: (-cell.lacking, cell.topic, cell.difficulty))
    return Coverage(domain, version, policy.max_examples, share, found)


def _covered(cell: Cell, held: Counter[str], policy: Policy, share: int | None) -> Covered:
    """One cell of a domain; `share` is None where it is not wanted."""
    least, most = policy.cells.least(cell), policy.cells.most(cell)
    target = 0 if share is None else max(least, share if most is None else min(share, most))
    return Covered(
        cell.topic,
        cell.difficulty,
        admitted=held[State.ADMITTED],
        waiting=sum(held[state] for state in WAITING),
        rejected=held[State.REJECTED],
        wanted=policy.outside(cell) is None,
        least=0 if share is None else least,
        most=None if share is None else most,
        goal=target,
        lacking=max(0, target - held[State.ADMITTED]),
    )
