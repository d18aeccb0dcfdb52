"""Checks of a solution against itself: its steps, its answer, the numbers it works with.

One rule: FAILED is a contradiction anybody can recompute. GSM8K's own solutions are the yardstick:
a check that would fail or suspect more than one in two hundred of them may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from tdsys.core.answers import Equality, Kind, Symbolic, compare, final_answer, read
from tdsys.core.arithmetic import (
    NotArithmetic,
    Step,
    StepCheck,
    StepOutcome,
    agreement,
    check_steps,
    evaluate,
    format_number,
    numbers,
    stated_value,
)
from tdsys.core.rubric import Check, Outcome
from tdsys.core.screening import excerpt, without_final_line

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_SHOWN = re.compile(
    r"\s{0,2}[-−]?\s?[$€£¥₹]?[-−]?"
    r"(?P<number>[0-9]+/[0-9]+|[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?![0-9]|,? [0-9]{3})"
)
_NUMERAL = r"\$?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]*|0)(?:\.[0-9]+)?"
# A sum in running text, read only where nothing around it could belong to it.
_EQUATION = re.compile(
    rf"(?<![^\s])(?<![-+*/×÷x=:%] )(?<![0-9] )({_NUMERAL}(?: ?[-+*×x] ?{_NUMERAL}){{1,6}}"
    rf"|{_NUMERAL} ?[/÷] ?{_NUMERAL}) ?= ?({_NUMERAL})(?=[.,;]?(?:\s+[A-Za-z#]|\s*\Z))"
)
_VAGUE = re.compile(r"\bsome\b")
_MAY_BE_NEGATIVE = re.compile(
    r"(?<![\w.])[-−–][0-9]|\b(?:negative|below|minus|temperature|degrees?|integers?|debts?|owes?"
    r"|loss|loses|losses|profit|balance|overdrawn|elevation|sea level|floors?|basement|underground"
    r"|change in|differ|difference|equation|expression|solve|evaluate|simplify|coordinates?|slope"
    r"|sequence|[xyn])\b",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(
    r"\bhow many (?:(?:more|total|other|new|fewer|extra|whole|of the|additional|such|different"
    r"|complete|full) )*([a-z]+)"
)
# Units, and words that are no noun.
_MEASURED = re.compile(
    r"dollars?|cents?|euros?|pence|hours?|minutes?|seconds?|days?|weeks?|months?|years?|miles?"
    r"|feet|foot|inch(?:es)?|yards?|acres?|gallons?|cups?|quarts?|pints?|pounds?|ounces?|tons?"
    r"|tonnes?|kg|km|cm|mm|ml|spoons?|tablespoons?|teaspoons?|degrees?|percent|times|units?|points?"
    r"|calories|square|cubic|old|bushels?|blocks?|stars?|laps?|rounds?|servings?|portions?"
    r"|did|do|does|will|can|could|should|would|is|are|was|were|has|have|in|of|per|parts?"
    r"|\w*(?:met(?:er|re)s?|lit(?:er|re)s?|grams?|watts?|bytes?|joules?)"
)
_OF_MANY = re.compile(r"\b(?:average|mean|median|expected?|per|rate|each|every|fraction)\b")
_WORDED = {
    "a": 1,
    "half": 2,
    "twice": 2,
    "double": 2,
    "pair": 2,
    "couple": 2,
    "thrice": 3,
    "triple": 3,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "dozen": 12,
    "score": 20,
    "hundred": 100,
    "thousand": 1000,
    "million": 1_000_000,
    "once": 1,
    "first": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
}
# Numbers a method brings along: counting, shares, per cent, clock, calendar, dozens.
_OF_THE_METHOD = frozenset(
    Fraction(hundredths, 100)
    for hundredths in (
        0,
        1,
        5,
        10,
        25,
        50,
        75,
        100,
        150,
        200,
        300,
        400,
        700,
        1000,
        1200,
        2400,
        3000,
        5200,
        6000,
        10_000,
        36_500,
        100_000,
    )
)
MIN_FOREIGN = 2


def steps_check(solution: str) -> Check:
    """Every annotated step recomputed, and the number shown after it compared."""
    checked = check_steps(solution)
    for check in checked:
        if check.outcome is StepOutcome.WRONG:
            return _check("steps", Outcome.FAILED, _correction(check.step))
        if shown := _misquoted(solution, check.step):
            return _check(
                "steps",
                Outcome.FAILED,
                f"the step says {excerpt(check.step.stated)}, the text says {shown}",
            )
    return _soft_steps(checked)


def _soft_steps(checked: Sequence[StepCheck]) -> Check:
    for check in checked:
        if check.outcome is StepOutcome.TRIMMED:
            return _check("steps", Outcome.SUSPICIOUS, _correction(check.step))
        if check.outcome is StepOutcome.UNREADABLE:
            return _check(
                "steps", Outcome.UNKNOWN, f"not readable: {excerpt(check.step.expression)}"
            )
    if not checked:
        return _check("steps", Outcome.UNKNOWN, "no step is annotated")
    return _check("steps", Outcome.PASSED, f"{len(checked)} recomputed")


def _correction(step: Step) -> str:
    value = "" if step.value is None else format_number(step.value)
    parts = " = ".join((step.expression, *step.between, step.stated))
    return excerpt(f"{parts}, but it is {value}")


def _misquoted(solution: str, step: Step) -> str:
    """The number right after an annotation, where it is not the stated one."""
    found = _SHOWN.match(solution, step.span[1])
    stated = stated_value(step)
    if found is None or stated is None:
        return ""
    shown = found["number"].rstrip(",")
    if "/" in shown and "/" not in step.stated:  # `>>20/4 ...` goes on with the next sum
        shown = shown.partition("/")[0]
    # A dash may be a minus or not, and a text may round what the step keeps.
    signed = (stated, -stated)
    same = any(agreement(value, shown) is not StepOutcome.WRONG for value in signed)
    return "" if same else shown


def equations_check(solution: str) -> Check:
    """Sums in running text, outside annotations: a mismatch is only suspicious."""
    for found in _EQUATION.finditer(_ANNOTATION.sub("", solution)):
        try:
            outcome = agreement(evaluate(found[1]), found[2])
        except NotArithmetic:
            continue
        if outcome is StepOutcome.WRONG:
            return _check("equations", Outcome.SUSPICIOUS, excerpt(found[0]))
    return _check("equations", Outcome.PASSED)


def answer_check(solution: str, answer: str, symbolic: Symbolic) -> Check:
    """The answer against the solution's stated final answer and its last step."""
    if not answer.strip() or not solution.strip():
        return _check("answer", Outcome.UNKNOWN, "there is nothing to compare")
    final = final_answer(solution)
    same = Equality.UNKNOWN if final is None else compare(answer, final, symbolic)
    if same is Equality.UNEQUAL:
        return _answer(Outcome.FAILED, answer, f"the solution ends with {final}")
    stated = [step for step in _steps(solution) if stated_value(step) is not None]
    if not stated:
        return _without_steps(solution, answer, None if final is None else same)
    last = compare(answer, stated[-1].stated, symbolic)
    if last is Equality.EQUAL:
        return _answer(Outcome.PASSED, answer, "the last step comes to it")
    if last is Equality.UNKNOWN or _is_mentioned(answer, _tail(solution, stated[-1])):
        return _answer(Outcome.UNKNOWN, answer, f"the last step is {stated[-1].stated}")
    return _foreign(answer, stated, symbolic)


def _foreign(answer: str, stated: list[Step], symbolic: Symbolic) -> Check:
    """The last step is another value, and the text after it does not come to the answer."""
    last = f"the last step is {stated[-1].stated}"
    earlier = [compare(answer, step.stated, symbolic) for step in stated[:-1]]
    if set(earlier) - {Equality.UNEQUAL}:
        return _answer(Outcome.SUSPICIOUS, answer, f"only an earlier step comes to it, {last}")
    values = {n.value for n in numbers(answer)}
    result = stated_value(stated[-1]) or Fraction(0)
    scaled = {result * 100, result / 100}  # dollars and cents, shares and per cent
    if values & scaled:
        return _answer(Outcome.UNKNOWN, answer, last)
    return _answer(Outcome.FAILED, answer, f"no step comes to it, {last}")


def _without_steps(solution: str, answer: str, final: Equality | None) -> Check:
    if final is Equality.EQUAL:
        return _answer(Outcome.PASSED, answer, "the solution ends with it")
    is_number = read(answer).kind is Kind.QUANTITY
    if final is None and is_number and numbers(solution) and not _is_mentioned(answer, solution):
        return _answer(Outcome.SUSPICIOUS, answer, "the solution never comes to it")
    return _answer(Outcome.UNKNOWN, answer, "no step is annotated")


def grounded_check(problem: str, solution: str) -> Check:
    """Where the steps' operands come from; a solution of another problem uses foreign numbers."""
    known = {number.value for number in numbers(problem)} | _OF_THE_METHOD
    used, unseen = [], []
    for step in _steps(solution):
        operands = [number.value for number in numbers(step.expression)]
        used += operands
        unseen += [value for value in operands if value not in known]
        known |= {number.value for number in numbers(step.stated)}
    # Most stand in the problem as they are; only for others it is asked what else it tells.
    given = _given(problem) if unseen else set()
    foreign = [format_number(value) for value in unseen if value not in given]
    if not foreign:
        return _check("grounded", Outcome.PASSED)
    told = not (given - _OF_THE_METHOD).isdisjoint(used)
    strange = len(set(foreign)) >= MIN_FOREIGN and not told
    # "He buys some pens": the one number that is not told may be what "some" stands for.
    missing = len(set(foreign)) == 1 and _VAGUE.search(problem) is not None
    return _check(
        "grounded",
        Outcome.SUSPICIOUS if strange or missing else Outcome.UNKNOWN,
        f"not in the problem: {', '.join(foreign[:5])}",
    )


def plausible_check(problem: str, solution: str, answer: str) -> Check:
    """Values that a story does not have: less than nothing, or a part of what is counted.

    Of GSM8K's own solutions one in 2,000 has a step below zero and none a broken count.
    """
    stated = [value for step in _steps(solution) if (value := stated_value(step)) is not None]
    below = next((value for value in stated if value < 0), None)
    if below is not None and not _MAY_BE_NEGATIVE.search(problem):
        return _check("plausible", Outcome.SUSPICIOUS, f"a step comes to {format_number(below)}")
    told = numbers(answer)
    broken = len(told) == 1 and told[0].value.denominator != 1
    if broken and (counted := _counted(problem)):
        return _check("plausible", Outcome.SUSPICIOUS, f"{excerpt(answer)} {counted}")
    return _check("plausible", Outcome.PASSED)


def _counted(problem: str) -> str:
    """What the question counts, where it comes in whole ones only; empty otherwise."""
    question = re.split(r"[.?!]\s", problem.casefold().rstrip())[-1]
    found = _HOW_MANY.search(question) if question.endswith("?") else None
    if found is None or _MEASURED.fullmatch(found[1]) or _OF_MANY.search(question):
        return ""
    return found[1]


def _given(problem: str) -> set[Fraction]:
    """Numbers of a problem: digits, number words, per cent as a share and as its rest."""
    digits = {n.value for n in numbers(problem)}
    words = {
        Fraction(_WORDED[word])
        for word in re.findall(r"[a-z]+", problem.casefold())
        if word in _WORDED
    }
    shares = {value / 100 for value in digits}
    return digits | words | shares | {1 - share for share in shares} | {100 - v for v in digits}


def _steps(solution: str) -> Iterator[Step]:
    return (check.step for check in check_steps(solution))


def _tail(solution: str, last: Step) -> str:
    """What follows the last step and the number shown for it."""
    rest = without_final_line(solution)[last.span[1] :]
    shown = _SHOWN.match(rest)
    return rest[shown.end() :] if shown else rest


def _is_mentioned(answer: str, text: str) -> bool:
    return {n.value for n in numbers(answer)} <= {n.value for n in numbers(text)}


def _answer(outcome: Outcome, answer: str, why: str) -> Check:
    return _check("answer", outcome, f"{excerpt(answer)}: {excerpt(why)}")


def _check(name: str, outcome: Outcome, evidence: str = "") -> Check:
    return Check(name=name, outcome=outcome, evidence=evidence)
