"""What a person's look at an example is worth, what a person may say, and who has to say it too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tdsys.core.rubric import Dimension, Outcome, Verdict

AUDIT = "audit"
# A cell with so many admitted examples lacks none.
FULL_CELL = 20
# Scores this far from every threshold are no close call.
NEAR = 0.2
# Whoever waits this long comes before everything that has just come.
LONGEST_WAIT = timedelta(days=20)
_DAY_ZERO = datetime(2026, 1, 1, tzinfo=UTC)


class Act(StrEnum):
    """What somebody does with an example that waits."""

    APPROVE = "approve"
    REJECT = "reject"
    EDIT = "edit"
    SKIP = "skip"
    FLAG = "flag"
    UNDO = "undo"


# What is somebody's own word on the example; the others only move it along.
WORDS = (Act.APPROVE, Act.REJECT, Act.EDIT)


class Why(StrEnum):
    """Why an example is rejected; in the order of the keys 1 to 6."""

    WRONG = "wrong_mathematics"
    UNCLEAR = "unclear_problem"
    SOLUTION = "poor_solution"
    OFF_TOPIC = "off_topic"
    DUPLICATE = "duplicate"
    UNSUITABLE = "unsuitable"


class Signals(NamedTuple):
    """What speaks for a look: evidence, opinions (one a judge), how full the cell is.

    `reason` is that of the move into review; `by_person` when a person made it.
    """

    reason: str
    by_person: bool
    verdict: Verdict | None
    opinions: Sequence[Mapping[Dimension, float]]
    admitted_in_cell: int


class Part(NamedTuple):
    """One thing that makes a look worth its time: 0 nothing, 1 all; and the sentence for it."""

    name: str
    weight: float
    says: str


def parts(signals: Signals, policy: Policy, *, cell: Cell) -> list[Part]:
    """What makes this look worth its time, the weightiest first; nothing that weighs nothing."""
    found = [
        _called(signals),
        _suspected(signals.verdict),
        _contradicted(signals),
        _divided(signals.opinions),
        _close(signals.opinions, policy),
        _scarce(signals.admitted_in_cell, cell),
    ]
    return sorted((p for p in found if p.weight > 0), key=lambda p: -p.weight)


def value(of: Iterable[Part]) -> float:
    """The value of a look in [0, 1]: 1 - (1 - p1)(1 - p2)..., so each part adds and none decides.

    It is the chance that at least one of independent doubts is right.
    """
    left = 1.0
    for part in of:
        left *= 1 - part.weight
    return 1 - left


def rank(worth: float, *, since: datetime) -> float:
    """The place in the queue, the highest first: the value, and age grows alike for all.

    Because everything ages alike, the order by (value - arrival) never changes, so no row is
    written for getting older.
    """
    return worth - (since - _DAY_ZERO) / LONGEST_WAIT


def needs_two(example_id: int, share: float) -> bool:
    """Whether two people have to decide this one; drawn by its id, so nobody can choose."""
    drawn = hashlib.sha256(f"second review {example_id}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64 < share


def _called(signals: Signals) -> Part:
    if signals.by_person:
        return Part("called", 0.9, "somebody asked for a look at it")
    if signals.reason == AUDIT:
        return Part(AUDIT, 0.5, "drawn at random, to check the judge")
    return Part("called", 0, "")


def _suspected(verdict: Verdict | None) -> Part:
    suspects = verdict.suspicious() if verdict else ()
    if not suspects:
        return Part("suspicious", 0, "")
    return Part("suspicious", 0.6, f"the verifier suspects it: {suspects[0].name}")


def _contradicted(signals: Signals) -> Part:
    """Evidence and opinion against each other, by the judge's accuracy."""
    if signals.verdict is None or not signals.opinions:
        return Part("contradiction", 0, "")
    accuracy = sum(o[Dimension.ACCURACY] for o in signals.opinions) / len(signals.opinions)
    if signals.verdict.suspicious() or signals.verdict.failed():
        says = f"the judge trusts it ({accuracy:.2f}), the verifier does not"
        return Part("contradiction", 0.6 * max(0.0, 2 * accuracy - 1), says)
    if not any(c.outcome is Outcome.PASSED for c in signals.verdict.checks):
        return Part("contradiction", 0, "")
    says = f"every check passed, the judge doubts it ({accuracy:.2f})"
    return Part("contradiction", 0.6 * max(0.0, 1 - 2 * accuracy), says)


def _divided(opinions: Sequence[Mapping[Dimension, float]]) -> Part:
    """Judges apart in one dimension; with a single judge, its dimensions apart (a weaker sign)."""
    if not opinions:
        return Part("disagreement", 0, "")
    if len(opinions) > 1:
        widest = max(Dimension, key=lambda d: _spread(o[d] for o in opinions))
        spread = _spread(o[widest] for o in opinions)
        says = f"the judges are {spread:.2f} apart in {widest.replace('_', ' ')}"
        return Part("disagreement", 0.7 * spread, says)
    spread = _spread(opinions[0].values())
    return Part("disagreement", 0.3 * spread, f"its scores lie {spread:.2f} apart")


def _close(opinions: Sequence[Mapping[Dimension, float]], policy: Policy) -> Part:
    """How near the mean score of any dimension is to what admits or rejects."""
    if not opinions:
        return Part("threshold", 0, "")
    means = {d: sum(o[d] for o in opinions) / len(opinions) for d in Dimension}
    near = {
        d: min(abs(means[d] - limits.of(d)) for limits in (policy.reject_below, policy.admit_from))
        for d in Dimension
    }
    closest = min(Dimension, key=lambda d: near[d])
    says = f"{closest.replace('_', ' ')} {means[closest]:.2f} is {near[closest]:.2f} from a limit"
    return Part("threshold", 0.5 * max(0.0, 1 - near[closest] / NEAR), says)


def _scarce(admitted: int, cell: Cell) -> Part:
    lacking = 1 - min(admitted, FULL_CELL) / FULL_CELL
    says = f"{cell.topic} × {cell.difficulty} has only {admitted} admitted"
    return Part("scarce", 0.4 * lacking, says)


def _spread(values: Iterable[float]) -> float:
    known = list(values)
    return max(known) - min(known)
