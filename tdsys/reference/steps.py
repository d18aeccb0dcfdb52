"""Exact arithmetic that remembers how it was written, for steps of the form <<expr=value>>.

The one rule: a value is computed from the operations, never by reading text back.
In a rendered expression `(a/b)` is always a fraction; a bare `a/b` is a division.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from fractions import Fraction

DECIMAL_PLACES = 3
CENT = 100


class Redraw(Exception):
    """The numbers drawn do not suit the story; draw again."""


class Style(Enum):
    """How a value is written."""

    PLAIN = "plain"
    MONEY = "money"
    FRACTION = "fraction"


class Rank(IntEnum):
    """How tightly an expression binds."""

    SUM = 1
    PRODUCT = 2
    ATOM = 3


class Expression:
    """An exact value together with the text of the operations that made it."""

    __slots__ = ("rank", "source", "value")

    def __init__(self, value: Fraction, source: str, rank: Rank) -> None:
        self.value = value
        self.source = source
        self.rank = rank

    def _within(self, rank: Rank) -> str:
        return self.source if self.rank >= rank else f"({self.source})"

    def __add__(self, other: Expression | int) -> Expression:
        right = constant(other)
        return Expression(self.value + right.value, f"{self.source}+{right.source}", Rank.SUM)

    def __sub__(self, other: Expression | int) -> Expression:
        right = constant(other)
        source = f"{self.source}-{right._within(Rank.PRODUCT)}"
        return Expression(self.value - right.value, source, Rank.SUM)

    def __mul__(self, other: Expression | int) -> Expression:
        right = constant(other)
        source = f"{self._within(Rank.PRODUCT)}*{right._within(Rank.PRODUCT)}"
        return Expression(self.value * right.value, source, Rank.PRODUCT)

    def __truediv__(self, other: Expression | int) -> Expression:
        right = constant(other)
        source = f"{self._within(Rank.PRODUCT)}/{right._within(Rank.ATOM)}"
        return Expression(self.value / right.value, source, Rank.PRODUCT)

    def __radd__(self, other: int) -> Expression:
        return constant(other) + self

    def __rsub__(self, other: int) -> Expression:
        return constant(other) - self

    def __rmul__(self, other: int) -> Expression:
        return constant(other) * self


class Number(Expression):
    """A number that stands in the problem or is the result of a step; prints as its literal."""

    __slots__ = ("text",)

    def __init__(self, value: Fraction | int, style: Style = Style.PLAIN) -> None:
        exact = Fraction(value)
        self.text = literal(exact, style)
        source = f"({self.text})" if "/" in self.text else self.text
        super().__init__(exact, source, Rank.ATOM)

    def __str__(self) -> str:
        return self.text

    @property
    def n(self) -> int:
        """The value as an integer; only for whole numbers."""
        if self.value.denominator != 1:
            raise TypeError(f"{self.text} is not a whole number")
        return self.value.numerator


def constant(value: Expression | int) -> Expression:
    """An integer of the method itself (the 2 of 2*(l+w)) as an expression."""
    return Number(value) if isinstance(value, int) else value


def total(first: Expression, *others: Expression) -> Expression:
    """The sum of several expressions, written out."""
    result = first
    for other in others:
        result = result + other
    return result


def literal(value: Fraction, style: Style = Style.PLAIN) -> str:
    """The one way `value` is written in a problem, a step and an answer."""
    if value.denominator == 1:
        return str(value.numerator)
    if style is Style.MONEY:
        return _cents(value)
    return _decimal(value) if style is Style.PLAIN else f"{value.numerator}/{value.denominator}"


def _cents(value: Fraction) -> str:
    cents = value * CENT
    if cents.denominator != 1:
        raise Redraw
    return f"{cents.numerator // CENT}.{cents.numerator % CENT:02d}"


def _decimal(value: Fraction) -> str:
    scaled = value * 10**DECIMAL_PLACES
    if scaled.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    return f"{scaled.numerator / 10**DECIMAL_PLACES:.{DECIMAL_PLACES}f}".rstrip("0")
