"""The worked example of docs/calibration.md; `python -m tests.calibration_example` draws it.

Everything in it is simulated: 5,000 examples whose truth is known, a judge made of random numbers,
and people who look at all of the band and at a fiftieth of the rest.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

from tdsys.cli.calibration import show
from tdsys.cli.plot import figure
from tdsys.core.calibration import (
    Compared,
    JudgeVersion,
    Sampled,
    Stratum,
    best,
    calibrate,
    compared,
    fields,
    limits_of,
    meets,
    weights,
)
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.stages.calibrating import Calibration
from tests.factories import make_assessment, make_verdict

PICTURE = Path(__file__).parents[1] / "docs" / "calibration.svg"
EXAMPLES = 5000
POLICY = Policy(audit_share=0.02)


def everything() -> list[Compared]:
    """What nobody has in the world: each example with its truth."""
    draw = random.Random(4)
    return [_one(draw) for _ in range(EXAMPLES)]


def _one(draw: random.Random) -> Compared:
    """Good with a chance of three quarters; then the judge tends to higher marks, in fifths."""
    good = draw.random() < 0.75
    marks = {
        "accuracy": _mark(draw, 4.9 if good else 3.4, 0.9),
        "coherence": _mark(draw, 4.8 if good else 4.2, 0.8),
        "relevance": _mark(draw, 4.7 if good else 4.4, 0.8),
        "educational_value": _mark(draw, 4.0 if good else 3.4, 1.0),
    }
    found = compared(make_verdict(), make_assessment(**marks), POLICY, good=good)
    assert found
    return found


def _mark(draw: random.Random, mean: float, spread: float) -> float:
    return min(5, max(0, round(draw.gauss(mean, spread)))) / 5


def looked_at() -> tuple[list[Compared], tuple[Sampled, ...]]:
    """What people decided: all of the band, and a random share of what scores alone decide."""
    draw = random.Random(8)
    whole = everything()
    asked = [one for one in whole if one.move is Move.REVIEW]
    alone = [one for one in whole if one.move is not Move.REVIEW]
    drawn = [one for one in alone if draw.random() < POLICY.audit_share]
    sampled = (
        Sampled(Stratum.ALONE, len(alone), len(drawn)),
        Sampled(Stratum.ASKED, len(asked), len(asked)),
    )
    each = weights(sampled)
    items = [one._replace(weight=each[Stratum.ALONE]) for one in drawn]
    return [*items, *(one._replace(weight=each[Stratum.ASKED]) for one in asked)], sampled


def example() -> Calibration:
    """The calibration of the simulated judge."""
    items, sampled = looked_at()
    return Calibration(
        domain="algebra",
        source="reviews",
        judge=JudgeVersion("simulated", "rubric_v1", "judge_prompt_v1"),
        simulated=True,
        policy_version=1,
        sampled=sampled,
        left_out={},
        spreads={},
        findings=calibrate(items, POLICY, wanted=0.95),
    )


def picture() -> str:
    return figure(example().findings.scales) + "\n"


class Truth(NamedTuple):
    """What is so, and what nobody in the world could know."""

    precision: float
    recall: float


def truth(policy: Policy = POLICY) -> Truth:
    """What accepting by a policy's thresholds comes to over all examples."""
    whole = everything()
    taken = [one.good for one in whole if meets(one, limits_of(policy))]
    return Truth(sum(taken) / len(taken), sum(taken) / sum(one.good for one in whole))


def recommended() -> Policy:
    """The policy with the threshold that the calibration recommends."""
    chosen = best(example().findings.thresholds)
    assert chosen
    return Policy.model_validate(POLICY.model_dump() | fields(chosen, POLICY))


if __name__ == "__main__":
    PICTURE.write_text(picture())
    show(example(), POLICY)
    print(f"in truth: {truth()}; with what is recommended: {truth(recommended())}")
