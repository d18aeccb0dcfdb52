"""Exact arithmetic on untrusted text: numbers, expressions and `<<a=b>>` steps.

One rule: text is read by a bounded parser of our own over `Fraction`, never by Python.
What it cannot read with certainty is `NotArithmetic`, never a guess.
"""

from __future__ import annotations

import re
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tdsys.errors import InvalidInput

MAX_CHARS = 200
MAX_DEPTH = 20
MAX_BITS = 4096
MAX_EXPONENT = 64
MAX_DIGITS = 40
DECIMAL_PLACES = 6

_SIGNS = str.maketrans(
    {
        "×": "*",
        "·": "*",
        "⋅": "*",
        "∙": "*",
        "∗": "*",
        "÷": "/",
        "∕": "/",
        "⁄": "/",
        "−": "-",
        "–": "-",
        "—": "-",
        "‐": "-",
        "‑": "-",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
        "$": " ",
        "€": " ",
        "£": " ",
        "¥": " ",
        "₹": " ",
    }
)
_DECIMALS = rf"[0-9]{{1,{MAX_DIGITS}}}(?![0-9])"
# What follows a literal's first digit.
_MORE = (
    rf"(?:[0-9]{{0,2}}(?:,[0-9]{{3}}){{1,12}}(?![0-9])|[0-9]{{0,{MAX_DIGITS - 1}}}(?![0-9]))"
    rf"(?:\.{_DECIMALS})?"
)
_LITERAL = rf"[0-9]{_MORE}|(?<![0-9])\.{_DECIMALS}"
_TOKEN = re.compile(rf"\s*(?:({_LITERAL})|(\*\*|\\times|\\cdot|\\div|[-+*/()%^xX]))")
_OPERATORS = {"x": "*", "X": "*", "\\times": "*", "\\cdot": "*", "\\div": "/", "^": "**"}
# A digit glued to a word is part of a name (A4, x2), except the right side of `2x3`. What stands
# before is looked at second, for a pattern that begins with a set is looked for at once.
_NUMBER = re.compile(
    r"[0-9.](?:(?<![A-Za-z_0-9.][0-9.])|(?<=[0-9][xX][0-9.]))"
    rf"(?:(?<=[0-9]){_MORE}|(?<=\.){_DECIMALS})"
    r"(?!(?:st|nd|rd|th)\b)"
)
_ANNOTATION = re.compile(r"<<([^<>]{0,400})>>")
_PLACES = re.compile(r"\.([0-9]+)\s*%?\s*\Z")


class NotArithmetic(InvalidInput):
    """The text is not an expression that can be evaluated exactly and within bounds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, remedy="write numbers, + - * / and brackets only")


class Number(NamedTuple):
    """A number literal and where it stands in its text."""

    value: Fraction
    span: tuple[int, int]


class Step(NamedTuple):
    """One `<<expression=stated>>`; `value` is None where the expression is unreadable."""

    expression: str
    stated: str
    value: Fraction | None
    span: tuple[int, int]
    between: tuple[str, ...] = ()


class StepOutcome(StrEnum):
    """What recomputing one step showed.

    `trimmed` is a whole number stated for a broken value, off by less than one: 94 % of such
    steps stand in wrong solutions (88 of OpenAI's labelled GSM8K model solutions), but some are
    meant (7/2 = 3 full boxes).
    """

    EXACT = "exact"
    ROUNDED = "rounded"
    TRIMMED = "trimmed"
    WRONG = "wrong"
    UNREADABLE = "unreadable"


class StepCheck(NamedTuple):
    """One step and what recomputing it showed."""

    step: Step
    outcome: StepOutcome


_WORST_FIRST = (StepOutcome.UNREADABLE, StepOutcome.WRONG, StepOutcome.TRIMMED, StepOutcome.ROUNDED)


def evaluate(expression: str) -> Fraction:
    """The exact value; NotArithmetic when it is unreadable, ambiguous or too large."""
    if len(expression) > MAX_CHARS:
        raise NotArithmetic(f"longer than {MAX_CHARS} characters")
    return _evaluate(expression)


def numbers(text: str) -> list[Number]:
    """Every unsigned number literal; ordinals (3rd) and digits inside names (A4) are none."""
    return [Number(literal(m[0]), m.span()) for m in _NUMBER.finditer(text)]


def steps(solution: str) -> list[Step]:
    """The `<<a=b>>` annotations in order; in `<<a=b=c>>`, `c` is the stated value."""
    return [_step(found) for found in _ANNOTATION.finditer(solution)]


def count_steps(solution: str) -> int:
    """How many annotations `steps` would read, without reading them."""
    return len(_ANNOTATION.findall(solution))


@lru_cache(maxsize=4)
def check_steps(solution: str) -> tuple[StepCheck, ...]:
    """Every annotation recomputed; once for all who look at one solution after another."""
    return tuple(StepCheck(step, _outcome(step)) for step in steps(solution))


def stated_value(step: Step) -> Fraction | None:
    """The value written on the right of a step; None when it is not a number."""
    return _value(step.stated)


def agreement(value: Fraction, text: str) -> StepOutcome:
    """How a stated result agrees with the exact value."""
    stated = _value(text)
    if stated is None:
        return StepOutcome.UNREADABLE
    if stated == value:
        return StepOutcome.EXACT
    if text.endswith("%") and stated * 100 == value:
        return StepOutcome.UNREADABLE  # `20/40*100=50%` is a habit of notation, not a mistake
    if _is_rounding(value, stated, text):
        return StepOutcome.ROUNDED
    trimmed = stated.denominator == 1 < value.denominator and abs(value - stated) < 1
    return StepOutcome.TRIMMED if trimmed else StepOutcome.WRONG


def format_number(value: Fraction) -> str:
    """An integer, a decimal of at most six places, or a fraction `a/b`: always exact."""
    if value.denominator == 1:
        return str(value.numerator)
    scale = 10**DECIMAL_PLACES
    if scale % value.denominator:
        return f"{value.numerator}/{value.denominator}"
    whole, rest = divmod(abs(value.numerator) * (scale // value.denominator), scale)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{rest:0{DECIMAL_PLACES}d}".rstrip("0")


@lru_cache(maxsize=8192)
def literal(text: str) -> Fraction:
    """The value of one literal as `numbers` finds it: digits, thousands commas, a point."""
    whole, _, decimals = text.replace(",", "").partition(".")
    return Fraction(int(whole + decimals), 10 ** len(decimals))


def _step(found: re.Match[str]) -> Step:
    expression, *parts = found[1].split("=")
    if not parts:
        return Step(expression.strip(), "", None, found.span())
    return Step(
        expression.strip(),
        parts[-1].strip(),
        _value(expression),
        found.span(),
        tuple(part.strip() for part in parts[:-1]),
    )


def _outcome(step: Step) -> StepOutcome:
    if step.value is None:
        return StepOutcome.UNREADABLE
    verdicts = [agreement(step.value, text) for text in (*step.between, step.stated)]
    for outcome in _WORST_FIRST:
        if outcome in verdicts:
            return outcome
    return StepOutcome.EXACT


def _is_rounding(value: Fraction, stated: Fraction, text: str) -> bool:
    """Off by less than one unit of the last written decimal, or by a float's own error."""
    decimals = _PLACES.search(text)
    places = len(decimals[1]) if decimals else 0
    scale = 100 if text.endswith("%") else 1
    error = abs(value - stated) * scale
    return places > 0 and (error * 10**places < 1 or error * 10**12 < abs(value))


def _value(text: str) -> Fraction | None:
    try:
        return evaluate(text)
    except NotArithmetic:
        return None


@lru_cache(maxsize=4096)
def _evaluate(expression: str) -> Fraction:
    reader = _Reader(_tokens(expression))
    value = reader.sum(0)
    if reader.peek:
        raise NotArithmetic(f"{reader.peek!r} is not expected")
    return value


def _tokens(expression: str) -> list[str]:
    text = expression.translate(_SIGNS).rstrip()
    tokens, position = [], 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            raise NotArithmetic(f"{text[position : position + 10]!r} is not arithmetic")
        tokens.append(found[1] or _OPERATORS.get(found[2], found[2]))
        position = found.end()
    return tokens


class _Reader:
    """Recursive descent; every method reads its part and leaves the next token in `peek`."""

    __slots__ = ("_bare_percent", "_rest", "peek")

    def __init__(self, tokens: list[str]) -> None:
        self._rest = iter(tokens)
        self._bare_percent = False
        self.peek = next(self._rest, "")

    def sum(self, depth: int) -> Fraction:
        """Terms joined by + and -."""
        if depth > MAX_DEPTH:
            raise NotArithmetic(f"nested deeper than {MAX_DEPTH} levels")
        total = self._product(depth)
        percent = self._bare_percent
        while self.peek in ("+", "-"):
            sign = self._next()
            term = self._product(depth)
            # `100+10%` is 110 to a cashier and 100.1 to a mathematician: nobody's mistake.
            if self._bare_percent != percent and total != 1:
                raise NotArithmetic("a percentage is added to a number")
            total = _bounded(total + term if sign == "+" else total - term)
        self._bare_percent = False
        return total

    def _product(self, depth: int) -> Fraction:
        value = self._signed(depth)
        divided = False
        while self.peek in ("*", "/", "("):
            sign = self._next() if self.peek in ("*", "/") else ""
            if divided and not sign:
                raise NotArithmetic("6/2(3) can be read in two ways")
            factor = self._signed(depth)
            divided = sign == "/"
            value = _divided(value, factor) if divided else _bounded(value * factor)
            self._bare_percent = False
        return value

    def _signed(self, depth: int) -> Fraction:
        negative = False
        while self.peek in ("+", "-"):
            negative ^= self._next() == "-"
        value = self._power(depth)
        return -value if negative else value

    def _power(self, depth: int) -> Fraction:
        base = self._atom(depth)
        self._bare_percent = self.peek == "%"
        while self.peek == "%":
            self._next()
            base /= 100
        if self.peek != "**":
            return base
        if depth > MAX_DEPTH:
            raise NotArithmetic(f"nested deeper than {MAX_DEPTH} levels")
        self._next()
        return _power(base, self._signed(depth + 1))

    def _atom(self, depth: int) -> Fraction:
        first = self._next()
        if first == "(":
            value = self.sum(depth + 1)
            if self._next() != ")":
                raise NotArithmetic("a bracket is not closed")
            return value
        if not first or first[0] not in "0123456789.":
            raise NotArithmetic(f"a number is missing before {first!r}")
        return literal(first)

    def _next(self) -> str:
        token, self.peek = self.peek, next(self._rest, "")
        return token


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise NotArithmetic(f"a value has more than {MAX_BITS} bits")
    return value


def _divided(value: Fraction, by: Fraction) -> Fraction:
    if not by:
        raise NotArithmetic("division by zero")
    return _bounded(value / by)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or not (base or exponent > 0):
        raise NotArithmetic(f"the exponent {exponent} is not supported")
    size = base.numerator.bit_length() + base.denominator.bit_length()
    if size * abs(exponent) > MAX_BITS:
        raise NotArithmetic(f"a power has more than {MAX_BITS} bits")
    return Fraction(base**exponent.numerator)
