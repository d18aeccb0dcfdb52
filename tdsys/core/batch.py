"""A batch: examples that are asked for, what each attempt came to, and how the whole ends.

One rule: nothing ends without a reason that can be counted, whoever was at fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from tdsys.core.example import Cell, Document
from tdsys.core.lifecycle import State
from tdsys.core.resolving import MOST_SOLUTIONS
from tdsys.core.rubric import Check

TEMPLATES = "templates"
GENERATOR = "generator:"
# The last resorts of a cell; only a person can take them.
IMPORT, REVIEW, RESUME = "import", "review", "resume"
# A maker that is away for 75 s ends its strategy's turn: five seconds, doubling, up to fifteen. A
# judge, asked as all candidates' is, ends a portion after five minutes.
MOST_OUTAGES = 7
LONGEST_OUTAGE_WAIT = 15.0
# So many attempts for each example that is wanted, before another strategy gets its turn.
TRIES_PER_EXAMPLE = 3
SPARE_TRIES = 3
# Of so many attempts or more this share were copies: whoever makes them says the same again.
FEWEST_COPIES = 4
SHARE_OF_COPIES = 0.8
# A cell is dealt out in portions of this size, so that several workers can fill it.
PORTION = 16
# Portions may be small: a worker makes those of several cells side by side.
PORTIONS_AT_ONCE = 4


class Kind(StrEnum):
    """What fills a batch: the customer's generator, or strategies of a model."""

    BOOTSTRAP = "bootstrap"
    SYNTHESIS = "synthesis"


class BatchState(StrEnum):
    """Where a batch stands; partial: it ended with fewer than were wanted."""

    OPEN = "open"
    FINISHED = "finished"
    PARTIAL = "partial"
    CANCELLED = "cancelled"


class CellState(StrEnum):
    """Where a portion of a batch stands; judging: what was made is not decided yet."""

    DUE = "due"
    JUDGING = "judging"
    DONE = "done"
    SHORT = "short"
    CANCELLED = "cancelled"


class Kin(StrEnum):
    """Which admitted examples of its topic a new one is made of; crowd: those most alike."""

    CELL = "cell"
    EASIER = "easier"
    HARDER = "harder"
    CROWD = "crowd"


class Parent(NamedTuple):
    """An admitted example that a new one is made of."""

    id: int
    inputs: Document
    outputs: Document


class Order(NamedTuple):
    """One example that is to be made; no two orders ever have the same `serial`.

    `most_calls` are set aside for it; `most_tokens` is what each may take, prompt and answer, and
    `dearest` what a token may cost, in millionths of a dollar; None: any.
    """

    number: int
    serial: int
    domain: str
    cell: Cell
    parents: tuple[Parent, ...] = ()
    context: str = ""
    most_tokens: int | None = None
    most_calls: int | None = None
    dearest: float | None = None


class Draft(NamedTuple):
    """An example as it was made, with what was found out about it on the way.

    `micros` are millionths of a dollar; None: nobody knows the price.
    """

    inputs: Document
    outputs: Document
    made_by: Document
    parents: tuple[int, ...] = ()
    checks: tuple[Check, ...] = ()
    calls: int = 0
    tokens: int = 0
    simulated: bool = False
    micros: float | None = 0.0


class Refused(NamedTuple):
    """An attempt that made no example, and why; `later`: it was nobody's answer, try again.

    `short`: only because too little was set aside for it, and the maker knows better now.
    """

    reason: str
    detail: str = ""
    content: Document | None = None
    checks: tuple[Check, ...] = ()
    calls: int = 0
    tokens: int = 0
    later: bool = False
    micros: float | None = 0.0
    short: bool = False


class Maker(Protocol):
    """Makes examples in one way; `calls` is the most it asks a model for one of them.

    What it makes of a crowd must be unlike whatever is there. Whoever `vouches` for the answers has
    them taken; else each is solved again.
    """

    version: str
    vouches: bool
    calls: int
    parents: int
    kin: Kin

    def make(self, orders: Sequence[Order]) -> list[Draft | Refused]:
        """One outcome for each order, in their order."""
        ...


class Workshop(Protocol):
    """Knows every maker by the name of its strategy."""

    def maker(self, strategy: str) -> Maker:
        """The maker; InvalidInput when there is none of that name."""
        ...


class Tally(NamedTuple):
    """Attempts of one portion with one outcome: an example's state, or None where none was made."""

    cell_id: int
    strategy: str
    state: str | None
    reason: str | None
    n: int


class Standing(BaseModel):
    """How far attempts have come: made = admitted + waiting + undecided + lost."""

    model_config = ConfigDict(frozen=True)

    tried: int
    made: int
    admitted: int
    waiting: int
    undecided: int
    reasons: dict[str, int]

    @property
    def held(self) -> int:
        """What may still be admitted, and what is."""
        return self.admitted + self.waiting + self.undecided

    def lacking(self, wanted: int, *, is_manual: bool) -> int:
        """How many to make; where nothing is admitted without a person, people are waited for."""
        return wanted - self.undecided - self.admitted - (self.waiting if is_manual else 0)


def is_lost(state: State, *, is_manual: bool) -> bool:
    """Whether another is made for an example in this state, as `Standing.lacking` counts."""
    waits = is_manual and state in {State.IN_REVIEW, State.PARKED}
    return not waits and state not in {State.ADMITTED, State.CANDIDATE}


class Fallback(BaseModel):
    """A strategy that was given up in a cell, the one after it, and why."""

    model_config = ConfigDict(frozen=True)

    topic: str
    difficulty: str
    given_up: str
    next: str
    because: str


def standing(tallies: Iterable[Tally]) -> Standing:
    """The sum of all attempts; what is not admitted is counted under its reason."""
    states, reasons = Counter[str](), Counter[str]()
    for one in tallies:
        states[one.state or ""] += one.n
        if one.state not in {State.ADMITTED, State.CANDIDATE}:
            reasons[_reason(one)] += one.n
    return Standing(
        tried=states.total(),
        made=states.total() - states[""],
        admitted=states[State.ADMITTED],
        waiting=states[State.IN_REVIEW] + states[State.PARKED],
        undecided=states[State.CANDIDATE],
        reasons=dict(reasons.most_common()),
    )


def _reason(one: Tally) -> str:
    told = one.reason or "unknown"
    return told if one.state in {None, State.REJECTED} else f"{one.state}: {told}"


def calls_per_try(maker: Maker) -> int:
    """The most calls an attempt takes: the maker's own, and whoever solves it again."""
    return maker.calls if maker.vouches else maker.calls + MOST_SOLUTIONS


def most_tries(wanted: int) -> int:
    """How many attempts one strategy gets in a portion."""
    return wanted * TRIES_PER_EXAMPLE + SPARE_TRIES


def why_given_up(own: Standing, *, held: int, wanted: int) -> str:
    """A strategy's failure in one sentence: of its own attempts, and what is there by any."""
    worst = ", ".join(f"{n} × {reason}" for reason, n in list(own.reasons.items())[:3])
    return f"{own.tried} attempts, {held} of {wanted} there: {worst or 'no reason was given'}"


def says_the_same(copies: int, tries: int) -> str | None:
    """Why a strategy is not asked on when so many of its attempts were copies; None: it is."""
    if copies < max(FEWEST_COPIES, SHARE_OF_COPIES * tries):
        return None
    return (
        f"it gives the same again: {copies} of {tries} were copies of what is there; a generator "
        "should use the index or context it is given, a DSPy program a temperature above 0"
    )


def chosen(pool: Sequence[Parent], count: int, turn: int) -> tuple[Parent, ...]:
    """So many different parents out of the pool; every turn begins with another one."""
    return tuple(pool[(turn + k) % len(pool)] for k in range(min(count, len(pool))))


def setting(pool: Sequence[Parent], turn: int) -> str:
    """The context of one of the pool's examples; empty where they have none."""
    told = pool[turn % len(pool)].inputs.get("context") if pool else None
    return told if isinstance(told, str) else ""
