"""Plain functions that make the values tests talk about."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from tdsys.core.dataset import Admitted
from tdsys.core.example import Candidate, Capture, Source, fingerprint
from tdsys.core.program import Item
from tdsys.core.rubric import (
    Answer,
    Assessment,
    Check,
    Dimension,
    DimensionScore,
    Judgement,
    Juror,
    Outcome,
    Verdict,
)
from tdsys.reference import ReferenceGenerator

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PROBLEM: dict[str, Any] = {
    "problem": "A bakery sells 3 trays of 12 buns. How many buns is that?",
    "solution": "3 trays hold 3*12=<<3*12=36>>36 buns.",
    "answer": "36",
}


def make_capture(**over: Any) -> Capture:
    """A capture of the bakery problem."""
    return Capture.model_validate(
        {
            "capture_id": uuid.uuid4(),
            "domain": "arithmetic",
            "inputs": {"topic": "multiplication", "difficulty": "easy", "context": "a bakery"},
            "outputs": PROBLEM,
            "metadata": {},
            "captured_at": NOW,
            **over,
        }
    )


def make_record(**over: Any) -> dict[str, Any]:
    """A capture as a client sends it, with content nobody has sent before."""
    return {
        "capture_id": str(uuid.uuid4()),
        "domain": "d",
        "captured_at": NOW.isoformat(),
        "inputs": {"topic": "sums"},
        "outputs": {**PROBLEM, "problem": f"What is {uuid.uuid4()}?"},
        **over,
    }


def make_captures(count: int, *, domain: str = "arithmetic", **over: Any) -> list[Capture]:
    """Captures with distinct content."""
    return [
        make_capture(domain=domain, outputs={**PROBLEM, "answer": str(n)}, **over)
        for n in range(count)
    ]


def make_candidate(**over: Any) -> Candidate:
    """A candidate with the bakery problem."""
    return Candidate.model_validate(
        {
            "id": 1,
            "domain": "arithmetic",
            "topic": "multiplication",
            "difficulty": "easy",
            "source": Source.CAPTURED,
            "attempts": 1,
            "outputs": PROBLEM,
            "inputs": {"topic": "multiplication", "difficulty": "easy", "context": "a bakery"},
            **over,
        }
    )


def make_admitted(
    number: int, *, topic: str = "sums", difficulty: str = "easy", quality: float = 0.8, **over: Any
) -> Admitted:
    """An admitted example, distinct by its number."""
    inputs = {"topic": topic, "difficulty": difficulty}
    outputs = {
        "problem": f"What is {number} + 1?",
        "solution": f"<<{number}+1={number + 1}>>",
        "answer": str(number + 1),
    }
    return Admitted.model_validate(
        {
            "id": number,
            "fingerprint": fingerprint("d", inputs, outputs).hex(),
            "topic": topic,
            "difficulty": difficulty,
            "source": Source.CAPTURED,
            "simulated": False,
            "quality": quality,
            "inputs": inputs,
            "outputs": outputs,
            **over,
        }
    )


def make_assessment(value: float = 0.9, **dimensions: float) -> Assessment:
    """The same score in every dimension, but for those named."""
    return Assessment(
        scores={
            d: DimensionScore(value=dimensions.get(d.value, value), rationale="because")
            for d in Dimension
        },
        judge_model="scripted",
        rubric_version="r1",
        prompt_version="p1",
    )


def make_judgement(juror: Juror, told: Assessment) -> Judgement:
    """The numbers of an assessment as answers to twenty criteria."""
    yes = {d: round(told.scores[d].value * 20) for d in Dimension}
    return Judgement(
        juror=juror,
        answers={d: (Answer.YES,) * n + (Answer.NO,) * (20 - n) for d, n in yes.items()},
        values={d: told.scores[d].value for d in Dimension},
        rationales={d: told.scores[d].rationale for d in Dimension},
    )


def make_verdict(**outcomes: str) -> Verdict:
    """A verdict with the named checks; all passed without names."""
    named = outcomes or {"steps": "passed", "answer": "passed"}
    return Verdict(
        checks=tuple(
            Check(name=n, outcome=Outcome(o), evidence=f"{n} {o}") for n, o in named.items()
        )
    )


def make_items(domain: str, count: int, *, seed: int = 1, start: int = 0) -> list[Item]:
    """Clean reference problems as a program sees them."""
    problems = list(ReferenceGenerator(seed=seed).stream((domain,), start + count))[start:]
    return [
        Item.model_validate({"uid": f"{seed}-{n}", "inputs": p.inputs, "outputs": p.outputs})
        for n, p in enumerate(problems, start)
    ]
