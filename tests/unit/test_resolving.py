"""What independent solutions say about a stated answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsys.core.resolving import MEASURED, check, is_split
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


@pytest.mark.criterion("10.3")
def test_what_passes_says_how_often_as_much_agreement_was_right() -> None:
    told = check("36", ["36", "36"], label="m", simulated=False).evidence
    assert told.endswith("right in 92% (89% to 95%) of GSM8K's labelled answers")
    assert "84%" in check("36", ["40", "36", "36"], label="m", simulated=False).evidence
    assert "right in" not in check("36", ["36", "36"], label="m", simulated=True).evidence


def test_the_guide_and_the_evidence_tell_the_same_shares() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()
    for said, (value, low, high) in MEASURED.items():
        shown = f"{value:.1%} ({low:.1%} to {high:.1%}) |"
        (row,) = [
            line for line in guide.splitlines() if line.startswith(f"| {said.agree} of {said.of} |")
        ]
        assert row.endswith(shown)


def test_a_simulated_solver_is_called_so() -> None:
    told = check("36", ["36", "36"], label="offline", simulated=True)
    assert "2 of 2 solutions by offline say 36 (simulated)" in told.evidence
