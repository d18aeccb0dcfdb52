"""Reads the steps of a solution back and runs them again with a value or an operation changed.

The one rule: expressions are parsed by a small grammar of numbers, + - * / and brackets; nothing
is ever evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from tdsys.reference.steps import CENT, Redraw, Style, literal

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:/\d+)?")
STEP = re.compile(r"(?P<shown>[\d.+\-*/()]+)=<<(?P<work>[^<>=]+)=(?P<value>[^<>=]+)>>(?P=value)")

_SYMBOL = re.compile(r"\(\d+/\d+\)|\d+(?:\.\d+)?|[-+*/()]")


class Written(NamedTuple):
    """A step as it stands in a solution."""

    work: str
    value: str


def steps_of(solution: str) -> list[Written]:
    """The steps of a solution in order."""
    return [Written(m["work"], m["value"]) for m in STEP.finditer(solution)]


def symbols_of(work: str) -> list[str]:
    """Numbers, fractions such as (3/4), operators and brackets."""
    return _SYMBOL.findall(work)


def value_of(text: str) -> Fraction:
    """The value of a literal, with or without brackets around a fraction."""
    return Fraction(text.strip("()"))


def evaluate(symbols: list[str]) -> Fraction:
    """The exact value of an expression; ZeroDivisionError when it has none."""
    rest = list(reversed(symbols))
    return _sum(rest)


def _sum(rest: list[str]) -> Fraction:
    value = _product(rest)
    while rest and rest[-1] in "+-":
        plus = rest.pop() == "+"
        right = _product(rest)
        value = value + right if plus else value - right
    return value


def _product(rest: list[str]) -> Fraction:
    value = _atom(rest)
    while rest and rest[-1] in "*/":
        times = rest.pop() == "*"
        right = _atom(rest)
        value = value * right if times else value / right
    return value


def _atom(rest: list[str]) -> Fraction:
    symbol = rest.pop()
    if symbol != "(":
        return value_of(symbol)
    value = _sum(rest)
    rest.pop()
    return value


def style_of(text: str) -> Style:
    """How a literal is written."""
    if "/" in text:
        return Style.FRACTION
    return Style.MONEY if re.search(r"\.\d\d$", text) else Style.PLAIN


def restyled(value: Fraction, like: str) -> str:
    """A value written like another literal; Redraw when it is not presentable."""
    style = style_of(like)
    if style is Style.PLAIN and (value * CENT).denominator == 1:
        style = Style.MONEY
    text = literal(value, style)
    if value <= 0 or ("/" in text and style is not Style.FRACTION):
        raise Redraw
    return text


def rewrite(solution: str, changed: Mapping[int, Written]) -> str:
    """The solution with the steps at these positions written anew; the words stay."""
    position = -1

    def written(match: re.Match[str]) -> str:
        nonlocal position
        position += 1
        step = changed.get(position)
        if step is None:
            return match[0]
        return f"{step.work}=<<{step.work}={step.value}>>{step.value}"

    return STEP.sub(written, solution)


def follow(steps: list[Written], start: int, first: Written) -> dict[int, Written]:
    """`first` put in the place of step `start`, and every later step that depends on it redone."""
    changed = {start: first}
    results = {steps[start].value: first.value}
    for position in range(start + 1, len(steps)):
        redone = _redo(steps[position], results)
        if redone is not None:
            changed[position] = redone
            results[steps[position].value] = redone.value
    return changed


def _redo(step: Written, results: Mapping[str, str]) -> Written | None:
    symbols = symbols_of(step.work)
    swapped = [_in_place(symbol, results) for symbol in symbols]
    if swapped == symbols:
        return None
    return Written("".join(swapped), restyled(evaluate(swapped), step.value))


def _in_place(symbol: str, results: Mapping[str, str]) -> str:
    new = results.get(symbol.strip("()"))
    if new is None or symbol in "()":
        return symbol
    return f"({new})" if "/" in new else new
