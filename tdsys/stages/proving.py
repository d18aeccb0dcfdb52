"""Have what a model made solved again, blindly, before anybody believes its answer.

One rule: an answer that evidence refutes already is not worth a further call.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tdsys.core.batch import Draft, Refused
from tdsys.core.resolving import NAME, NOT_ASKED, SOLUTIONS, Solution, Solver, check, is_split
from tdsys.core.rubric import Check, Outcome, Verifier
from tdsys.core.screening import text_of
from tdsys.core.spending import total

Attempt = Draft | Refused


def proved(
    attempts: Sequence[Attempt],
    *,
    domain: str,
    verifier: Verifier,
    solver: Solver,
    most_tokens: int | None = None,
) -> list[Attempt]:
    """Each draft with what independent solutions say; a refusal where they say something else."""
    open_ = [
        place
        for place, one in enumerate(attempts)
        if isinstance(one, Draft) and not verifier.verify(domain, one.inputs, one.outputs).failed()
    ]
    drafts = [one for place in open_ if isinstance(one := attempts[place], Draft)]
    solved = _solved(drafts, solver, most_tokens)
    found = list(attempts)
    for place, draft, solutions in zip(open_, drafts, solved, strict=True):
        found[place] = _judged(draft, solutions, solver)
    return found


def _solved(
    drafts: Sequence[Draft], solver: Solver, most_tokens: int | None
) -> list[list[Solution]]:
    """Two solutions of each, and a third where they do not agree."""
    if not drafts:
        return []
    problems = [text_of(one.outputs.get("problem")) for one in drafts]

    def solve(sample: int, of: Sequence[str] = problems) -> list[Solution]:
        return solver.solve(of, sample=sample, most_tokens=most_tokens)

    # Both are needed whatever either says, so nobody waits for the first.
    with ThreadPoolExecutor(SOLUTIONS, thread_name_prefix="tdsys-solving") as pool:
        solutions = [list(both) for both in zip(*pool.map(solve, range(SOLUTIONS)), strict=True)]
    split = [place for place, one in enumerate(drafts) if _needs_another(one, solutions[place])]
    if split:
        thirds = solve(SOLUTIONS, [problems[place] for place in split])
        for place, third in zip(split, thirds, strict=True):
            solutions[place].append(third)
    return solutions


def _judged(draft: Draft, solutions: Sequence[Solution], solver: Solver) -> Attempt:
    calls = draft.calls + sum(one.calls for one in solutions)
    tokens = draft.tokens + sum(one.tokens for one in solutions)
    micros = total([draft.micros, *(one.micros for one in solutions)])
    paid: dict[str, Any] = {"calls": calls, "tokens": tokens, "micros": micros}
    if NOT_ASKED in solutions:
        return Refused("too_long", NOT_ASKED.detail, draft.outputs, draft.checks, **paid)
    if len(_answers(solutions)) < SOLUTIONS:  # an outage is nobody's opinion
        detail = next(one.detail for one in solutions if one.later)
        return Refused("solver_unavailable", detail, later=True, **paid)
    told = check(
        _stated(draft), _answers(solutions), label=solver.label, simulated=solver.simulated
    )
    checks: tuple[Check, ...] = (*draft.checks, told)
    if told.outcome in {Outcome.FAILED, Outcome.SUSPICIOUS}:
        reason = NAME if told.outcome is Outcome.FAILED else f"{NAME}_split"
        return Refused(reason, told.evidence, draft.outputs, checks, **paid)
    return draft._replace(checks=checks, **paid)


def _needs_another(draft: Draft, solutions: Sequence[Solution]) -> bool:
    """Whether one more could decide, or stands in for one that could not be had."""
    answers = _answers(solutions)
    if NOT_ASKED in solutions or not answers:
        return False
    return len(answers) < SOLUTIONS or is_split(_stated(draft), answers)


def _stated(draft: Draft) -> str:
    return text_of(draft.outputs.get("answer"))


def _answers(solutions: Sequence[Solution]) -> list[str | None]:
    """What was found by those who could be asked."""
    return [one.answer for one in solutions if not one.later]
