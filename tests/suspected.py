"""Members of a dataset version with what is known of them, for tests of what is amiss."""

from __future__ import annotations

from typing import Any

from tdsys.core.attribution import Contribution, Effect
from tdsys.core.dataset import Split
from tdsys.core.suspecting import Known, Standards
from tests.factories import NOW

TODAY = Standards("r2", 100, NOW)


def known(name: str, **over: Any) -> Known:
    given: dict[str, Any] = {
        "example": name, "id": 1, "split": Split.TRAIN, "cluster": hash(name), "topic": "sums",
        "difficulty": "easy", "quality": 0.8, "problem": f"What is {name}?", "answer": "4",
    }  # fmt: skip
    return Known(**{**given, **over})


def worth(name: str, value: float, verdict: Effect = Effect.UNKNOWN) -> Contribution:
    return Contribution(
        example=name, value=value, ci_low=value - 0.1, ci_high=value + 0.1, verdict=verdict, n=99
    )
