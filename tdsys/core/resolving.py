"""Independent solutions of one problem, and what their agreement says about the stated answer.

One rule: whoever solves sees the problem and nothing else, least of all the stated answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tdsys.core.answers import Equality, compare
from tdsys.core.corroboration import Agreement
from tdsys.core.rubric import RE_SOLVE, Check, Outcome

NAME = RE_SOLVE
SOLUTIONS = 2
MOST_SOLUTIONS = 3
Compare = Callable[[str, str], Equality]
# The share of right answers and its 95 % interval, by agreement: docs/verification.md says of what.
MEASURED: Mapping[Agreement, tuple[float, float, float]] = {
    Agreement(2, 2): (0.924, 0.893, 0.947),
    Agreement(2, 3): (0.837, 0.785, 0.878),
    Agreement(1, 3): (0.520, 0.476, 0.565),
    Agreement(0, 2): (0.097, 0.080, 0.117),
    Agreement(0, 3): (0.111, 0.102, 0.122),
}


class Solution(NamedTuple):
    """One solver's answer, None where it found none; `later`: it could not be asked."""

    answer: str | None
    calls: int = 0
    tokens: int = 0
    later: bool = False
    detail: str = ""
    micros: float | None = 0.0


NOT_ASKED = Solution(None, detail="the problem leaves too little room for an answer")


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


def is_split(stated: str, answers: Sequence[str | None], same: Compare = compare) -> bool:
    """Whether one more solution could decide: they agree neither with it nor on another answer."""
    agree, _ = _counts(stated, answers, same)
    usable = [one for one in answers if one is not None]
    return bool(usable) and agree < len(answers) and not _agree_on_another(stated, usable, same)


def agreed(stated: str, answers: Sequence[str | None], same: Compare = compare) -> Agreement:
    """How many of the solvers that were asked say the stated answer."""
    return Agreement(_counts(stated, answers, same)[0], len(answers))


def passes(said: Agreement) -> bool:
    """Whether that much agreement passes an answer."""
    return said.agree >= SOLUTIONS


def check(stated: str, answers: Sequence[str | None], *, label: str, simulated: bool) -> Check:
    """What the solutions say: two for the stated answer pass it, two for one other refute it.

    What passes says how often as much agreement was right (`MEASURED`); a simulated solver's does
    not. No usable answer is no evidence.
    """
    agree, differ = _counts(stated, answers, compare)
    usable = [one for one in answers if one is not None]
    told = f"{agree} of {len(answers)} solutions by {label} say {stated.strip()[:60]}"
    told += " (simulated)" if simulated else ""
    if not usable:
        return _said(Outcome.UNKNOWN, f"{told}; none was usable", simulated)
    if passes(Agreement(agree, len(answers))):
        worth = "" if simulated else worth_of(Agreement(agree, len(answers)))
        return Check(name=NAME, outcome=Outcome.PASSED, evidence=f"{told}{worth}")
    others = ", ".join(one.strip()[:60] for one in usable)
    if differ >= SOLUTIONS and _agree_on_another(stated, usable, compare):
        return Check(name=NAME, outcome=Outcome.FAILED, evidence=f"{told}; found: {others}")
    undecided = Outcome.SUSPICIOUS if differ else Outcome.UNKNOWN
    return _said(undecided, f"{told}; found: {others}", simulated)


def _said(outcome: Outcome, evidence: str, simulated: bool) -> Check:  # noqa: FBT001  # as `Check`
    return Check(name=NAME, outcome=outcome, evidence=evidence, simulated=simulated)


def worth_of(said: Agreement) -> str:
    """How often an answer with that agreement was right where it could be counted."""
    if said not in MEASURED:
        return ""
    value, low, high = (f"{share:.0%}" for share in MEASURED[said])
    return f"; as much agreement was right in {value} ({low} to {high}) of GSM8K's labelled answers"


def _counts(stated: str, answers: Sequence[str | None], same: Compare) -> tuple[int, int]:
    """How many say the stated answer, and how many certainly another one."""
    found = [same(stated, one) for one in answers if one is not None]
    return found.count(Equality.EQUAL), found.count(Equality.UNEQUAL)


def _agree_on_another(stated: str, answers: Sequence[str], same: Compare) -> bool:
    """Whether two of them say the same, and that is not the stated answer."""
    others = [one for one in answers if same(stated, one) is Equality.UNEQUAL]
    return any(
        same(one, another) is Equality.EQUAL
        for place, one in enumerate(others)
        for another in others[place + 1 :]
    )
