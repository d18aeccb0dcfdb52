"""What a batch may spend, and how much of it the next attempts may take.

One rule: what is granted can be paid whatever the attempts cost, so nothing that interleaves or
dies takes a batch over its budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

# A call with fewer tokens would be cut in the middle of a problem.
LEAST_TOKENS = 2500
MOST_TOKENS = 2**53
MICROS = 1_000_000


class Spend(NamedTuple):
    """Calls, tokens, and millionths of a dollar; None: nobody knows the price."""

    calls: int = 0
    tokens: int = 0
    micros: int | None = 0


def _bought(micros: int, price: float) -> int:
    """How many tokens that buys; at a price next to nothing, more than anybody could use."""
    return math.floor(min(micros / price, MOST_TOKENS))


class Left(NamedTuple):
    """What a batch may still spend; None: as much as it takes. `price`: micros of a token."""

    calls: int
    tokens: int | None = None
    micros: int | None = None
    price: float | None = None

    @property
    def room(self) -> int | None:
        """The tokens that both budgets leave; None: neither limits them."""
        limits = [] if self.tokens is None else [self.tokens]
        if self.micros is not None and self.price != 0:
            limits.append(0 if self.price is None else _bought(self.micros, self.price))
        return min(limits) if limits else None


class Grant(NamedTuple):
    """So many attempts of so many calls; `most_tokens` is what one may take, None: any."""

    attempts: int
    most_tokens: int | None
    reserved: Spend
    calls_each: int = 0


def grant(left: Left, *, wanted: int, calls_each: int, call_tokens: int) -> Grant | None:
    """As many attempts as can be paid at the worst; None: not one.

    Where the budget has less than `call_tokens` for each call of one attempt, its calls get what
    there is.
    """
    if not calls_each:
        return Grant(wanted, None, Spend())
    attempts, size, room = min(wanted, left.calls // calls_each), None, left.room
    if attempts and room is not None:
        size = min(call_tokens, room // calls_each)
        attempts = 0 if size < LEAST_TOKENS else min(attempts, room // (calls_each * size))
    if attempts <= 0:
        return None
    calls = attempts * calls_each
    tokens = calls * (size or 0)
    return Grant(attempts, size, Spend(calls, tokens, _micros(tokens, left)), calls_each)


def _micros(tokens: int, left: Left) -> int:
    if left.micros is None or left.price is None:
        return 0
    return min(left.micros, math.ceil(tokens * left.price))


def exhausted(left: Left, *, calls_each: int) -> str:
    """Which budget has nothing left for an attempt, in words."""
    if left.calls <= 0:
        return "budget: the batch may make no further call"
    if left.calls < calls_each:
        return f"budget: {left.calls} calls are left, an attempt takes up to {calls_each}"
    if left.tokens is not None and left.tokens < calls_each * LEAST_TOKENS:
        return f"budget: {left.tokens} tokens are left, too few for an attempt"
    if left.micros is not None and left.price is None:
        return (
            "budget: nobody knows what was spent: a worker had no price of the model; set it in "
            "TDSYS_MODELS wherever workers run, and ask for another batch"
        )
    return f"budget: {dollars(left.micros)} is left, too little for an attempt"


def total(parts: Iterable[float | None]) -> float | None:
    """The sum; None when one of them is not known."""
    known = list(parts)
    return None if None in known else math.fsum(one for one in known if one is not None)


def dollars(micros: float | None) -> str:
    """An amount as it is shown."""
    return "unknown" if micros is None else f"${micros / MICROS:.4f}"
