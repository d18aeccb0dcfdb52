"""Stand-ins for whatever makes examples and solves them again; they remember what was asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence

from tdsys.core.batch import Draft, Kin, Maker, Order, Refused, calls_per_try
from tdsys.core.filling import Offer
from tdsys.core.resolving import Solution

Answer = Callable[[Order], Draft | Refused]


def drafted(order: Order, *, calls: int = 0) -> Draft:
    """A sound example that nobody has made before."""
    n = order.serial
    outputs = {
        "problem": f"What is {n} and 1 together?",
        "solution": f"{n}+1=<<{n}+1={n + 1}>>{n + 1}",
        "answer": str(n + 1),
    }
    inputs = {"topic": order.cell.topic, "difficulty": order.cell.difficulty}
    parents = tuple(parent.id for parent in order.parents)
    return Draft(dict(inputs), dict(outputs), {"strategy": "s"}, parents, calls=calls, tokens=calls)


def paid(order: Order) -> Draft:
    """The same, of a model that was asked once."""
    return drafted(order, calls=1)


class ScriptedMaker:
    """Makes what it is told, and remembers every order."""

    version = "s-1"

    def __init__(
        self,
        answer: Answer = drafted,
        *,
        calls: int = 0,
        parents: int = 0,
        kin: Kin = Kin.CELL,
    ) -> None:
        self.answer, self.calls, self.parents, self.kin = answer, calls, parents, kin
        self.vouches = not calls
        self.orders: list[Order] = []
        self.during: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    def make(self, orders: Sequence[Order]) -> list[Draft | Refused]:
        with self._lock:
            self.orders += orders
        self.during()
        return [self.answer(order) for order in orders]


class ScriptedWorkshop:
    """Has the makers it is given; any other name is the first one's."""

    def __init__(self, first: ScriptedMaker | None = None, **others: ScriptedMaker) -> None:
        self.first, self.others = first or ScriptedMaker(), others

    def maker(self, strategy: str) -> Maker:
        return self.others.get(strategy, self.first)

    def offer(self, strategy: str) -> Offer:
        return Offer(strategy, calls_per_try(self.maker(strategy)))

    def topics(self, generator: str, domain: str) -> Sequence[str]:
        return ()

    def strategies(self) -> Sequence[str]:
        return ("rephrase", "persona")


def right(problem: str, _: int) -> str | None:
    """The answer of what `drafted` makes; None: it cannot tell."""
    found = re.fullmatch(r"What is (\d+) and 1 together\?", problem)
    return str(int(found[1]) + 1) if found else None


class ScriptedSolver:
    """Finds the answers it is told, sample by sample."""

    label, simulated = "scripted", False

    def __init__(self, answer: Callable[[str, int], str | None] | None = None) -> None:
        self.answer = answer or right
        self.asked: list[str] = []

    def solve(
        self, problems: Sequence[str], *, sample: int, most_tokens: int | None = None
    ) -> list[Solution]:
        self.asked += problems
        return [Solution(self.answer(one, sample), calls=1, tokens=1) for one in problems]
