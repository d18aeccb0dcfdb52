"""What independent solutions say about a stated answer."""

from __future__ import annotations

import pytest

from tdsys.core.resolving import check, is_split
from tdsys.core.rubric import Outcome


def outcome(*answers: str | None) -> Outcome:
    return check("36", answers, label="m", simulated=False).outcome


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("36", "36 buns"), Outcome.PASSED),
        (("36", "40", "$36"), Outcome.PASSED),
        (("40", "40"), Outcome.FAILED),
        (("36", "40", "40"), Outcome.FAILED),
        (("40", "41", "42"), Outcome.SUSPICIOUS),
        (("36", "40", None), Outcome.SUSPICIOUS),
        ((None, None), Outcome.UNKNOWN),
        (("36", None), Outcome.UNKNOWN),
    ],
)
def test_two_of_a_kind_decide_and_no_answer_is_no_evidence(
    answers: tuple[str | None, ...], expected: Outcome
) -> None:
    assert outcome(*answers) is expected


def test_a_third_is_asked_only_where_it_can_decide() -> None:
    assert not is_split("36", ["36", "36"])
    assert not is_split("36", ["40", "40"])
    assert not is_split("36", [None, None])
    assert is_split("36", ["36", "40"])
    assert is_split("36", ["40", "41"])
    assert is_split("36", [None, "36"])


def test_a_simulated_solver_is_called_so() -> None:
    told = check("36", ["36", "36"], label="offline", simulated=True)
    assert "2 of 2 solutions by offline say 36 (simulated)" in told.evidence
