"""The worked example in docs/calibration.md is what the code says about simulated examples."""

from __future__ import annotations

from tdsys.cli.calibration import in_words, recommendation
from tests import calibration_example as simulated

GUIDE = simulated.PICTURE.with_suffix(".md").read_text()


def test_every_sentence_of_the_example_is_what_the_code_says() -> None:
    found = simulated.example()
    for line in [*in_words(found), recommendation(found, simulated.POLICY)]:
        assert line in GUIDE
    assert found.simulated


def test_the_picture_is_what_the_code_draws() -> None:
    assert simulated.picture() == simulated.PICTURE.read_text(), (
        "run: python -m tests.calibration_example"
    )


def test_the_truth_lies_within_the_intervals_and_is_told() -> None:
    found, truth = simulated.example().findings.accepted, simulated.truth()
    for share, value in ((found.precision, truth.precision), (found.recall, truth.recall)):
        assert share
        assert share.low <= value <= share.high
    after = simulated.truth(simulated.recommended())
    for value in (*truth, *after):
        assert f"{100 * value:.1f} %" in GUIDE
