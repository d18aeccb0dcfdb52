"""The telling of one problem: draws numbers, collects sentences, steps and the final question.

The one rule: no literal is used for more than one quantity, so a reader (or a machine that
replays the steps with other numbers) always knows which number a step means.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from tdsys.reference.contexts import Context
from tdsys.reference.problem import Disagreement
from tdsys.reference.steps import Expression, Number, Redraw, Style

DRAWS = 12
LARGEST = 200_000
MARK = "#"
"""Where a step's sentence shows its computation."""


class Kind(StrEnum):
    """What a value is a value of; decides how a story can go on."""

    COUNT = "count"
    MEASURE = "measure"
    COST = "cost"
    INCOME = "income"
    RATE = "rate"
    NUMBER = "number"
    CHANCE = "chance"
    TIMES = "times"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known after some steps, and how one would ask for it.

    `nouns` and `noun` are the unit of the value, `what` a phrase that refers to it, `per` the
    period of a rate and `base` the kind a rate adds up to. After a `final` one no story goes on.
    """

    kind: Kind
    value: Number
    asks: tuple[str, ...]
    nouns: str = ""
    noun: str = ""
    what: str = ""
    per: str = ""
    base: Kind = Kind.MEASURE
    final: bool = False


@dataclass(slots=True)
class Tale:
    """One problem in the making."""

    rng: random.Random
    c: Context
    who: str
    friend: str
    third: str
    sentences: list[str] = field(default_factory=list)
    solution: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def whole(self, low: int, high: int, *, by: int = 1) -> Number:
        """A whole number of `low`..`high` in steps of `by` that nothing else in the tale has."""
        return self._fresh(lambda: Fraction(self.rng.randrange(low, high + 1, by)), Style.PLAIN)

    def money(self, low: int, high: int) -> Number:
        """A price of `low`..`high` dollars, whole or with a quarter, half or tenth."""
        cents = (0, 0, 25, 50, 75, 20, 40, 60, 80)
        return self._fresh(
            lambda: self.rng.randint(low, high) + Fraction(self.rng.choice(cents), 100),
            Style.MONEY,
        )

    def given(self, value: Fraction | int, style: Style = Style.PLAIN) -> Number:
        """A number of the problem that follows from others; draws again when it is taken."""
        number = Number(value, style)
        if number.text in self.used or not 0 < number.value <= LARGEST:
            raise Redraw
        self.used.add(number.text)
        return number

    def divisor(self, value: Number, low: int, high: int) -> Number | None:
        """A number of `low`..`high` that divides `value`, or None."""
        if value.value.denominator != 1:
            return None
        fits = [
            k for k in range(low, high + 1) if not value.value.numerator % k and k < value.value
        ]
        return self._one_of(fits)

    def _one_of(self, fits: list[int]) -> Number | None:
        free = [k for k in fits if str(k) not in self.used]
        return self.given(self.rng.choice(free)) if free else None

    def _fresh(self, draw: Callable[[], Fraction], style: Style) -> Number:
        for _ in range(DRAWS):
            number = Number(draw(), style)
            if number.text not in self.used:
                self.used.add(number.text)
                return number
        raise Redraw

    def tell(self, *alternatives: str) -> None:
        """Add one of the alternatives to the problem."""
        said = self.rng.choice(alternatives)
        self.sentences.append(said[0].upper() + said[1:])

    def step(self, sentence: str, work: Expression, style: Style = Style.PLAIN) -> Number:
        """Add a step to the solution; `#` in the sentence shows the computation."""
        result = self.given(work.value, style)
        shown = f"{work.source}=<<{work.source}={result.text}>>{result.text}"
        said = sentence.replace(MARK, shown, 1)
        self.solution.append(said[0].upper() + said[1:])
        return result

    def prove(self, number: Number, otherwise: Fraction | int) -> None:
        """Hold a step's value against a computation that does not use the step."""
        if number.value != otherwise:
            raise Disagreement(
                f"step {self.solution[-1]!r}: {number} but the check says {otherwise}"
            )
