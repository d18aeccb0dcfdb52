"""The verifier's own record: measured on labelled examples, shown and told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsys.cli.checks import agreement_row, maker_row
from tdsys.core.resolving import MEASURED
from tdsys.errors import InvalidInput
from tdsys.reference import Fault
from tdsys.stages import checking
from tdsys.verify import EvidenceVerifier
from tests.commanding import Shell

QUESTION = "A bakery sells 3 trays of 12 buns. How many buns is that?"
RIGHT = {"solution": "3 trays hold 3*12=<<3*12=36>>36 buns.\nA: 36", "is_correct": True}
SLIP = {"solution": "3 trays hold 3*12=<<3*12=35>>35 buns.\nA: 35", "is_correct": False}
SENSE = {"solution": "3 trays and 12 are <<3+12=15>>15 buns.\nA: 15", "is_correct": False}
GUIDE = Path(__file__).parents[2] / "docs" / "verification.md"
GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"


@pytest.fixture(scope="module")
def verifier() -> Iterator[EvidenceVerifier]:
    made = EvidenceVerifier()
    yield made
    made.close()


@pytest.fixture
def solutions(tmp_path: Path) -> Path:
    path = tmp_path / "solutions.jsonl"
    rows = [
        {"question": QUESTION, "ground_truth": "36", "small": SLIP, "large": RIGHT},
        {"question": QUESTION, "small": SENSE},
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_faults_that_can_be_seen_are_and_clean_problems_are_spared(
    verifier: EvidenceVerifier,
) -> None:
    found = checking.on_reference(verifier, count=800)
    kinds = {one.kind: one for one in found.kinds}
    assert set(kinds) == set(map(str, Fault))
    for kind in ("wrong_step", "wrong_answer", "truncated", "hint_leak", "injection"):
        assert kinds[kind].flagged.value == 1.0, kind
    (missing, semantic) = kinds["missing_datum"].flagged, kinds["semantic"].flagged
    assert (missing.value or 0) >= 0.5
    assert semantic.value == 0.0
    assert not [one for one in found.checks if one.false_alarms.hits]


def test_a_file_of_solutions_is_tried_for_all_models_and_each(
    verifier: EvidenceVerifier, solutions: Path
) -> None:
    seen: list[int] = []
    found = checking.on_solutions(verifier, solutions, looked=seen.append)
    assert seen == [1, 2, 3]
    counts = {name: (one.examples, one.faulty) for name, one in found.items()}
    assert counts == {"all models": (3, 2), "small": (2, 2), "large": (1, 0)}
    (wrong,) = found["all models"].kinds
    assert (wrong.failed.hits, wrong.failed.n) == (1, 2)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        '{"question": 3, "m": {"solution": "", "is_correct": true}}',
        '{"question": "", "m": {"solution": "", "is_correct": "yes"}}',
        '{"question": "", "m": {"is_correct": true}}',
        '{"question": "no solution"}',
        "[" * 5000,
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "solutions"
    path.write_text(f"{json.dumps({'question': QUESTION, 'm': RIGHT})}\n{line}\n")
    with pytest.raises(InvalidInput, match="line 2 holds no labelled solution"):
        list(checking.solutions(path))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "solutions"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        list(checking.solutions(path))


def test_the_report_is_shown_and_told(shell: Shell, solutions: Path) -> None:
    shown = shell("report", "checks", solutions, "--count", "60")
    assert (shown.code, "reference faults: 60 examples" in shown.out) == (0, True)
    assert "all models: 3 examples, 2 of them faulty" in shown.out
    told = shell("report", "checks", "--count", "60", "--json").document
    assert told["reference faults"]["examples"] == 60
    (any_failed,) = [
        one
        for one in told["reference faults"]["checks"]
        if (one["check"], one["outcome"]) == ("any", "failed")
    ]
    assert any_failed["precision"]["value"] == 1.0


@pytest.mark.skipif(not GSM8K.exists(), reason="the shared GSM8K copy is absent")
def test_on_the_labelled_solutions_of_models_what_fails_is_wrong(
    verifier: EvidenceVerifier, tmp_path: Path
) -> None:
    found = checking.on_solutions(verifier, some(tmp_path, 500))["all models"]
    rows = {(one.check, one.outcome): one for one in found.checks}
    assert (rows["any", "failed"].precision.value or 0) >= 0.95
    assert (rows["plausible", "suspicious"].precision.value or 0) >= 0.9
    assert (rows["any", "suspicious"].false_alarms.value or 0) <= 0.02


def some(folder: Path, count: int) -> Path:
    path = folder / "some.jsonl"
    lines = (GSM8K / "example_model_solutions.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:count]))
    return path


@pytest.mark.criterion("4.1")
@pytest.mark.skipif(not GSM8K.exists(), reason="the shared GSM8K copy is absent")
def test_solutions_that_agree_are_right_as_often_as_the_evidence_says(
    verifier: EvidenceVerifier, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_long = request.config.getoption("--long")
    found = checking.on_agreement(verifier, some(tmp_path, 10_000 if is_long else 200))
    assert found
    assert {one.said for one in found.shares} == set(MEASURED)
    for one in found.shares:
        value, low, high = MEASURED[one.said]
        assert one.low <= high
        assert low <= one.high
        if is_long:
            assert (one.value, one.low, one.high) == pytest.approx((value, low, high), abs=5e-4)
            assert " | ".join(agreement_row(one)) in GUIDE.read_text()
    if is_long:
        assert all(" | ".join(maker_row(one)) in GUIDE.read_text() for one in found.makers)
    assert found.held_out < found.raw < found.prior


def test_too_few_solutions_say_nothing_of_agreement(
    verifier: EvidenceVerifier, solutions: Path
) -> None:
    assert checking.on_agreement(verifier, solutions) is None
