"""What may be wrong with a training example: six ways, each with the evidence for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from statistics import fmean, median
from typing import NamedTuple

from tdsys.core.answers import Equality, compare
from tdsys.core.attribution import MOST_CANDIDATES, NEGLIGIBLE, Contribution, Effect
from tdsys.core.dataset import Split
from tdsys.core.example import level

# Before a validation item is suspected: so many programs that do well elsewhere, and their score.
FEWEST_PROGRAMS = 4
GOOD_PROGRAM = 0.5
FAILED = 0.25
# So many of the examples that a fault is beside are told.
NAMED = 5


class Fault(StrEnum):
    """How an example is of little use, or does harm."""

    HARMFUL = "harmful"
    REDUNDANT = "redundant"
    CONTRADICTORY = "contradictory"
    MISLABELLED = "mislabelled"
    STALE = "stale"
    DISPUTED = "disputed"


class Known(NamedTuple):
    """A member of a dataset version, and what is known of it beside its content.

    `rubric` is by which it was judged last; `approved` is a person's last word, None without one;
    `accepted` whether its scores alone would admit it by the policy in force.
    """

    example: str
    id: int
    split: Split
    cluster: int
    topic: str
    difficulty: str
    quality: float
    problem: str
    answer: str
    stored_at: datetime | None = None
    rubric: str | None = None
    approved: bool | None = None
    accepted: bool | None = None


class Suspect(NamedTuple):
    """An example with a fault; `others` are some of the examples that it is a fault beside."""

    known: Known
    fault: Fault
    detail: str
    others: tuple[str, ...] = ()


class ProgramScore(NamedTuple):
    """One program's score on a validation item; `program` names it, `overall` is its mean."""

    program: str
    overall: float
    item: str
    value: float


class Standards(NamedTuple):
    """What is current: the newest rubric, and from which age on an example is old."""

    rubric: str | None
    oldest_days: int | None
    now: datetime


def suspects(
    members: Sequence[Known],
    contributions: Mapping[str, Contribution],
    tested: Sequence[ProgramScore],
    standards: Standards,
) -> list[Suspect]:
    """Everything that looks amiss, one row for each fault of each example."""
    return [
        *_harmful(members, contributions),
        *_redundant(members, contributions),
        *_contradictory(members),
        *_mislabelled(members, tested),
        *_stale(members, standards),
        *_disputed(members),
    ]


def _harmful(
    members: Sequence[Known], contributions: Mapping[str, Contribution]
) -> Iterator[Suspect]:
    """The most harmful first."""
    harmful = [
        (found.value or 0.0, one, found)
        for one in members
        if (found := contributions.get(one.example)) and found.verdict is Effect.HARMFUL
    ]
    for _, one, found in sorted(harmful, key=lambda held: held[0]):
        yield Suspect(one, Fault.HARMFUL, f"a prompt with it scores {_told(found)}")


def _redundant(
    members: Sequence[Known], contributions: Mapping[str, Contribution]
) -> Iterator[Suspect]:
    """Of near-duplicates in train that were measured the best stays; those that add nothing go.

    What was not measured is neither better nor worse than another. What is harmful is no reason
    for another to go: it should go itself.
    """
    clusters: dict[int, list[tuple[float, Known, Contribution]]] = defaultdict(list)
    for one in members:
        found = contributions.get(one.example)
        if one.split is not Split.TRAIN or found is None or found.value is None:
            continue
        if found.verdict is not Effect.HARMFUL:
            clusters[one.cluster].append((found.value, one, found))

    def worth(held: tuple[float, Known, Contribution]) -> tuple[float, float, str]:
        value, one, _ = held
        return value, one.quality, one.example

    for alike in clusters.values():
        (_, best, _), *others = sorted(alike, key=worth, reverse=True)
        for _, one, found in others:
            if _adds_nothing(found):
                detail = f"a near-duplicate of {best.example[:16]}; by itself {_told(found)}"
                yield Suspect(one, Fault.REDUNDANT, detail, (best.example,))


def not_looked_at(clusters: Mapping[str, int], pool: Collection[str]) -> str | None:
    """How many near-duplicates nobody can call redundant, and why; None where there are none.

    `clusters` are those of the examples of train, `pool` those that were tried. That another one
    which is like it adds nothing is no evidence: it may be the one that is worth something.
    """
    sizes = Counter(clusters.values())
    left = sum(sizes[cluster] > 1 and name not in pool for name, cluster in clusters.items())
    if not left:
        return None
    were = "near-duplicate in train was" if left == 1 else "near-duplicates in train were"
    return (
        f"{left} {were} not measured and so not called redundant: of more than "
        f"{MOST_CANDIDATES} examples the live program's demos and then the best of each cluster "
        "are tried; `lifecycle.max_alike` of the policy limits near-duplicates unmeasured"
    )


def _adds_nothing(found: Contribution) -> bool:
    """Whether it is known that it does not help: not by anything that is worth attention."""
    if found.ci_low is None or found.ci_high is None or found.verdict is Effect.HELPFUL:
        return False
    return found.ci_low <= 0 and found.ci_high <= NEGLIGIBLE


def _contradictory(members: Sequence[Known]) -> Iterator[Suspect]:
    """The same problem with another answer: one of the two is wrong."""
    same: dict[str, list[Known]] = defaultdict(list)
    for one in members:
        same[level(one.problem)].append(one)
    for text, alike in same.items():
        answers = Counter(one.answer for one in alike)
        if not text or len(answers) == 1:
            continue
        # Of many copies answers are compared, not copies.
        unlike = {
            answer: [n for n in answers if compare(answer, n) is Equality.UNEQUAL]
            for answer in answers
        }
        by_answer: dict[str, list[str]] = defaultdict(list)
        for one in alike:
            by_answer[one.answer].append(one.example)
        for one in alike:
            count = sum(answers[n] for n in unlike[one.answer])
            held = (name for n in unlike[one.answer] for name in by_answer[n])
            if names := tuple(islice(held, NAMED)):
                more = f" and {count - len(names)} others" if count > len(names) else ""
                # No answer is told here: what is forgotten must not live on in a recommendation.
                listed = ", ".join(n[:16] for n in names)
                detail = f"the same problem has another answer in {listed}{more}"
                yield Suspect(one, Fault.CONTRADICTORY, detail, names)


def _mislabelled(members: Sequence[Known], tested: Sequence[ProgramScore]) -> Iterator[Suspect]:
    """Items that programs which do well elsewhere keep failing: the label may be at fault."""
    overall = {one.program: one.overall for one in tested}
    bar = max(GOOD_PROGRAM, median(overall.values())) if overall else GOOD_PROGRAM
    values: dict[str, list[float]] = defaultdict(list)
    for one in tested:
        if one.overall >= bar:
            values[one.item].append(one.value)
    good = [score for score in overall.values() if score >= bar]
    for known in members:
        found = values.get(known.example, [])
        if len(found) >= FEWEST_PROGRAMS and fmean(found) <= FAILED:
            yield Suspect(
                known,
                Fault.MISLABELLED,
                f"{len(found)} programs that score {fmean(good):.2f} on average score "
                f"{fmean(found):.2f} on it",
            )


def _stale(members: Sequence[Known], standards: Standards) -> Iterator[Suspect]:
    for one in members:
        if one.rubric and standards.rubric and one.rubric != standards.rubric:
            detail = f"judged by rubric {one.rubric}, the newest is {standards.rubric}"
            yield Suspect(one, Fault.STALE, detail)
        elif one.stored_at and standards.oldest_days is not None:
            age = standards.now - one.stored_at
            if age > timedelta(days=standards.oldest_days):
                yield Suspect(one, Fault.STALE, f"stored {age.days} days ago")


def _disputed(members: Sequence[Known]) -> Iterator[Suspect]:
    for one in members:
        if None not in {one.approved, one.accepted} and one.approved != one.accepted:
            person = "approved" if one.approved else "rejected"
            judge = "would admit" if one.accepted else "would not admit"
            yield Suspect(one, Fault.DISPUTED, f"a person {person} what the scores alone {judge}")


def _told(found: Contribution) -> str:
    if found.value is None or found.ci_low is None or found.ci_high is None:
        return "unknown"
    return f"{found.value:+.3f} ({found.ci_low:+.3f} to {found.ci_high:+.3f})"
