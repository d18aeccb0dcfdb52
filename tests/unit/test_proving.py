"""Drafts are solved again, blindly; who could not be asked has said nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tdsys.core.batch import Draft, Refused
from tdsys.core.resolving import NOT_ASKED, Solution
from tdsys.core.rubric import Outcome
from tdsys.stages.proving import proved
from tests.scripted import ScriptedVerifier

AWAY = Solution(None, 0, 0, later=True, detail="503")
DRAFT = Draft({}, {"problem": "p", "answer": "36"}, {}, calls=1, tokens=10)


class Solvers:
    """One solver after another, each with its word."""

    label = "m"
    simulated = False

    def __init__(self, *words: Solution) -> None:
        self.words, self.asked = words, 0

    def solve(
        self, problems: Sequence[str], *, sample: int, most_tokens: int | None = None
    ) -> list[Solution]:
        self.asked += 1
        assert most_tokens is None
        return [self.words[sample] for _ in problems]


def said(answer: str) -> Solution:
    return Solution(answer, 1, 5)


def judged(*words: Solution) -> tuple[Draft | Refused, int]:
    solvers = Solvers(*words)
    (found,) = proved([DRAFT], domain="d", verifier=ScriptedVerifier(), solver=solvers)
    return found, solvers.asked


def test_an_outage_is_made_up_for_by_a_third_and_counts_as_no_opinion() -> None:
    found, asked = judged(said("36"), AWAY, said("36"))
    assert isinstance(found, Draft)
    assert asked == 3
    assert found.checks[-1].outcome is Outcome.PASSED
    assert "2 of 2 solutions" in found.checks[-1].evidence
    assert (found.calls, found.tokens) == (3, 20)


@pytest.mark.parametrize("words", [(AWAY, AWAY), (said("36"), AWAY, AWAY)])
def test_fewer_than_two_answers_are_waited_for_and_what_was_paid_is_told(
    words: tuple[Solution, ...],
) -> None:
    found, _ = judged(*words)
    assert isinstance(found, Refused)
    assert (found.reason, found.later, found.detail) == ("solver_unavailable", True, "503")
    assert found.calls == 1 + sum(one.calls for one in words)


def test_a_problem_that_leaves_no_room_is_refused_not_believed() -> None:
    found, asked = judged(NOT_ASKED, NOT_ASKED)
    assert isinstance(found, Refused)
    assert (found.reason, found.later, asked) == ("too_long", False, 2)
