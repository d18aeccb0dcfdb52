"""A worked example told again with other numbers; every step recomputed, never guessed.

One rule: where the new numbers would not make a sound example of the same kind, there is none.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from tdsys.core.arithmetic import (
    NotArithmetic,
    Number,
    Step,
    StepOutcome,
    check_steps,
    evaluate,
    format_number,
    numbers,
    stated_value,
)

_STATED_FINALLY = re.compile(r"^####(.*)$", re.MULTILINE)
_EQUALS = re.compile(r"=\s{0,4}[$€£]?\s?\Z")
_ORDINAL = re.compile(r">>\s?[0-9]+(?:st|nd|rd|th)\b")  # "the <<1+5=6>>6th floor"
_PERCENT = re.compile(r"\s?(?:%|per ?cent\b)")


class Replayed(NamedTuple):
    """The example with other numbers; `values` maps every old number to its new one."""

    problem: str
    solution: str
    answer: str
    values: Mapping[Fraction, Fraction]


def replay(
    problem: str, solution: str, substitutions: Mapping[Fraction, Fraction]
) -> Replayed | None:
    """The same example with the problem's numbers exchanged; None when it does not carry over.

    It does not when a step is not exact, when a new value is negative or broken where the old
    one was not, when a result is told as an ordinal, or when a stated `#### x` comes from no step
    and no number of the problem.
    """
    checked = check_steps(solution)
    if not checked or any(check.outcome is not StepOutcome.EXACT for check in checked):
        return None
    bindings = _Bindings(problem, substitutions)
    if bindings.changed and _ORDINAL.search(solution):
        return None
    try:
        told, answer = _solution(solution, [check.step for check in checked], bindings)
    except _NotReplayable:
        return None
    values = bindings.values()
    return Replayed(rewrite(problem, bindings.substitutes), told, answer, values)


def rewrite(text: str, values: Mapping[Fraction, Fraction]) -> str:
    """The text with every number literal that has a new value exchanged, in the old format."""
    found = _literals(text, values)
    return _exchange(text, found, [values.get(n.value, n.value) for n in found])


class _NotReplayable(Exception):
    """The new numbers do not make a sound example."""


class _Bindings:
    """What each old number means by now.

    A number may be both a problem's number and a result. An operand takes, in this order: a
    result no step has used yet (results are made to be used), a problem's number no step has
    used yet, the latest result, the problem's number; anything else is a constant.
    """

    def __init__(self, problem: str, substitutions: Mapping[Fraction, Fraction]) -> None:
        self.substitutes = _substitutes(problem, substitutions)
        self.results: dict[Fraction, Fraction] = {}
        self._fresh: set[Fraction] = set()
        self._unused = set(self.substitutes)
        self.changed = any(old != new for old, new in self.substitutes.items())

    def meaning(self, old: Fraction) -> Fraction:
        """The new value of a number in running text."""
        return self.results.get(old, self.substitutes.get(old, old))

    def operand(self, old: Fraction) -> Fraction:
        """The new value of a step's operand, which counts as used from now on."""
        if old in self._fresh:
            self._fresh.discard(old)
            return self.results[old]
        if old in self._unused:
            self._unused.discard(old)
            return self.substitutes[old]
        return self.meaning(old)

    def bind(self, old: Fraction, new: Fraction) -> None:
        """A step's result."""
        if (new < 0 <= old) or (new.denominator != 1 and old.denominator == 1):
            raise _NotReplayable
        self.results[old] = new
        self._fresh.add(old)

    def require_known(self, old: Fraction) -> None:
        """A result nobody annotated would silently keep its old value, unless all values do."""
        if old not in self.results and old not in self.substitutes and self.changed:
            raise _NotReplayable

    def values(self) -> dict[Fraction, Fraction]:
        """Everything known, results before the problem's numbers."""
        return self.substitutes | self.results


def _substitutes(problem: str, wanted: Mapping[Fraction, Fraction]) -> dict[Fraction, Fraction]:
    """The problem's numbers; a percentage also as the decimal (40 % is 0.4) that steps use."""
    decimals, plain = {}, {}
    for value, (_, end) in numbers(problem):
        plain[value] = wanted.get(value, value)
        if _PERCENT.match(problem, end):
            decimals[value / 100] = plain[value] / 100
    return decimals | plain


def _solution(solution: str, all_steps: list[Step], bindings: _Bindings) -> tuple[str, str]:
    told, position, new = [], 0, Fraction(0)
    for step in all_steps:
        found = _literals(step.expression, bindings.results)
        operands = [bindings.operand(n.value) for n in found]
        told.append(
            _running(solution[position : step.span[0]], bindings, zip(found, operands, strict=True))
        )
        expression = _exchange(step.expression, found, operands, operand=True)
        annotation, new = _annotation(step, expression, bindings)
        told.append(annotation)
        bindings.bind(_stated(step), new)
        position = step.span[1]
    tail = solution[position:]
    told.append(_running(tail, bindings, ()))
    final = _final(tail, bindings)
    return "".join(told), format_number(new if final is None else final)


def _running(text: str, bindings: _Bindings, ahead: Iterable[tuple[Number, Fraction]]) -> str:
    """Running text; its last numbers are the next step's operands once more, so they agree."""
    queues: dict[Fraction, list[Fraction]] = {}
    for number, new in ahead:
        queues.setdefault(number.value, []).append(new)
    found = _literals(text, bindings.results)
    for number in found:
        start = number.span[0]
        if _EQUALS.search(text, max(0, start - 8), start):
            bindings.require_known(number.value)
    meanings = [bindings.meaning(n.value) for n in found]
    for index in range(len(found) - 1, -1, -1):
        if queue := queues.get(found[index].value):
            meanings[index] = queue.pop()
    return _exchange(text, found, meanings)


def _annotation(step: Step, expression: str, bindings: _Bindings) -> tuple[str, Fraction]:
    try:
        new = evaluate(expression)
        between = [_part(part, bindings) for part in step.between]
        if any(evaluate(part) != new for part in between):
            raise _NotReplayable
    except NotArithmetic as reason:
        raise _NotReplayable from reason
    stated = step.stated if new == _stated(step) else _plain(new, step.stated)
    return f"<<{'='.join((expression, *between, stated))}>>", new


def _part(text: str, bindings: _Bindings) -> str:
    found = _literals(text, bindings.results)
    return _exchange(text, found, [bindings.meaning(n.value) for n in found], operand=True)


def _stated(step: Step) -> Fraction:
    value = stated_value(step)
    if value is None:
        raise _NotReplayable
    return value


def _final(tail: str, bindings: _Bindings) -> Fraction | None:
    """The new value of a stated `#### x`; None when there is no such line."""
    line = _STATED_FINALLY.search(tail)
    if line is None:
        return None
    old = [number.value for number in _literals(line[1], bindings.results)]
    if len(old) != 1:
        raise _NotReplayable
    bindings.require_known(old[0])
    return bindings.meaning(old[0])


def _literals(text: str, known: Container[Fraction]) -> list[Number]:
    """The number literals; `3/7` is one of them only where 3/7 is a known value by now."""
    found: list[Number] = []
    for number in numbers(text):
        start, end = number.span
        over = found[-1] if found and found[-1].span[1] + 1 == start else None
        if over and text[start - 1] == "/" and number.value and over.value / number.value in known:
            found[-1] = Number(over.value / number.value, (over.span[0], end))
        else:
            found.append(number)
    return found


def _exchange(text: str, found: list[Number], new: list[Fraction], *, operand: bool = False) -> str:
    """The text with its number literals exchanged one by one."""
    pieces: list[str] = []
    position = 0
    for (old, (start, end)), value in zip(found, new, strict=True):
        written = text[start:end]
        if value != old:
            bare = text[:start].endswith("(") and text[end:].startswith(")")
            written = _operand(value, written, bare=bare) if operand else _written(value, written)
        pieces += text[position:start], written
        position = end
    return "".join((*pieces, text[position:]))


def _operand(value: Fraction, model: str, *, bare: bool) -> str:
    plain = _plain(value, model)
    return f"({plain})" if not bare and (value < 0 or "/" in plain) else plain


def _written(value: Fraction, model: str) -> str:
    """The value in the format of the literal it replaces: commas, cents, fractions."""
    places = len(model.partition(".")[2])
    if value.denominator == 1 and not places:
        return f"{value.numerator:,}" if "," in model else str(value.numerator)
    plain = _plain(value, model)
    decimals = len(plain.partition(".")[2])
    if "/" in plain or decimals >= places:
        return plain
    return f"{plain}{'' if decimals else '.'}{'0' * (places - decimals)}"


def _plain(value: Fraction, model: str) -> str:
    """A fraction stays a fraction, everything else is a decimal where it can be one."""
    return str(value) if "/" in model else format_number(value)
