"""Independent solutions of one problem, and what their agreement says about the stated answer.

One rule: whoever solves sees the problem and nothing else, least of all the stated answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tdsys.core.answers import Equality, compare
from tdsys.core.rubric import Check, Outcome

NAME = "re_solve"
SOLUTIONS = 2
MOST_SOLUTIONS = 3


class Solution(NamedTuple):
    """One solver's answer, None where it found none; `later`: it could not be asked."""

    answer: str | None
    calls: int = 0
    tokens: int = 0
    later: bool = False
    detail: str = ""
    micros: float | None = 0.0


class Solver(Protocol):
    """Solves problems; `label` names the model behind it."""

    label: str
    simulated: bool

    def solve(
        self, problems: Sequence[str], *, sample: int, most_tokens: int | None = None
    ) -> list[Solution]:
        """One solution of each problem, in order; another `sample` is another attempt.

        `most_tokens` is what one call may take, prompt and answer; None: any.
        """
        ...


def is_split(stated: str, answers: Sequence[str | None]) -> bool:
    """Whether one more solution could decide: they agree neither with it nor on another answer."""
    agree, _ = _counts(stated, answers)
    usable = [one for one in answers if one is not None]
    return bool(usable) and agree < len(answers) and not _agree_on_another(stated, usable)


def check(stated: str, answers: Sequence[str | None], *, label: str, simulated: bool) -> Check:
    """What the solutions say: two for the stated answer pass it, two for one other refute it.

    Of recorded solutions of GSM8K, an answer with which two other solvers agree is right 97 % of
    the time, with one 71-94 %, with none 3-23 % (three trios of models). No usable answer is
    no evidence.
    """
    agree, differ = _counts(stated, answers)
    usable = [one for one in answers if one is not None]
    told = f"{agree} of {len(answers)} solutions by {label} say {stated.strip()[:60]}"
    told += " (simulated)" if simulated else ""
    if not usable:
        return Check(name=NAME, outcome=Outcome.UNKNOWN, evidence=f"{told}; none was usable")
    if agree >= SOLUTIONS:
        return Check(name=NAME, outcome=Outcome.PASSED, evidence=told)
    others = ", ".join(one.strip()[:60] for one in usable)
    if differ >= SOLUTIONS and _agree_on_another(stated, usable):
        return Check(name=NAME, outcome=Outcome.FAILED, evidence=f"{told}; found: {others}")
    undecided = Outcome.SUSPICIOUS if differ else Outcome.UNKNOWN
    return Check(name=NAME, outcome=undecided, evidence=f"{told}; found: {others}")


def _counts(stated: str, answers: Sequence[str | None]) -> tuple[int, int]:
    """How many say the stated answer, and how many certainly another one."""
    found = [compare(stated, one) for one in answers if one is not None]
    return found.count(Equality.EQUAL), found.count(Equality.UNEQUAL)


def _agree_on_another(stated: str, answers: Sequence[str]) -> bool:
    """Whether two of them say the same, and that is not the stated answer."""
    others = [one for one in answers if compare(stated, one) is Equality.UNEQUAL]
    return any(
        compare(one, another) is Equality.EQUAL
        for place, one in enumerate(others)
        for another in others[place + 1 :]
    )
