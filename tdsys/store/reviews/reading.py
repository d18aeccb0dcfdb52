"""What a reviewer is shown, and what reviewers said; reads only."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, true

from tdsys.core.reviewing import WORDS
from tdsys.core.rubric import Dimension, Judgement, Verdict
from tdsys.store.engine import Tx
from tdsys.store.review_schema import review_events
from tdsys.store.reviews.decisions import undone
from tdsys.store.schema import (
    ScoreKind,
    example_bodies,
    examples,
    scores,
    transitions,
)

PACE = timedelta(hours=1)


class Seen(NamedTuple):
    """An example as a reviewer sees it."""

    id: int
    domain: str
    topic: str
    difficulty: str
    source: str
    state: str
    simulated: bool
    reason: str | None
    quality: float | None
    capture_id: UUID | None
    captured_at: datetime
    created_at: datetime
    moved_at: datetime
    payload: dict[str, Any]


class Score(NamedTuple):
    """The newest judge's numbers, and where they came from."""

    id: int
    values: dict[str, float]
    rationales: dict[str, Any]
    judgements: tuple[Judgement, ...]
    judge_model: str
    rubric_version: str
    simulated: bool
    created_at: datetime


class Event(NamedTuple):
    """One line of an example's history."""

    at: datetime
    who: str
    what: str
    reason: str
    detail: str


class Pace(NamedTuple):
    """What somebody decided in the last hour; half of it took at most `median` seconds each."""

    decided: int
    median: float | None


class Rating(NamedTuple):
    """One person's word on one example in one stay; for agreement between people."""

    example_id: int
    entry: UUID
    rater: str
    decision: str


def seen(tx: Tx, *, example_id: int) -> Seen | None:
    """One example; None when there is no such."""
    columns = [examples.c[name] for name in Seen._fields if name != "payload"]
    row = tx.execute(
        select(*columns, example_bodies.c.payload)
        .join(example_bodies, example_bodies.c.example_id == examples.c.id)
        .where(examples.c.id == example_id)
    ).one_or_none()
    return None if row is None else Seen(*tuple(row))


def domain_of(tx: Tx, *, example_id: int) -> str | None:
    """An example's domain; None when there is no such example."""
    found: str | None = tx.scalar(select(examples.c.domain).where(examples.c.id == example_id))
    return found


def verdict(tx: Tx, *, example_id: int) -> Verdict | None:
    """The verifier's newest word."""
    found = tx.scalar(
        select(scores.c.verdict)
        .where(scores.c.example_id == example_id, scores.c.kind == ScoreKind.VERIFIER.value)
        .order_by(scores.c.id.desc())
        .limit(1)
    )
    return Verdict.model_validate(found) if found else None


def score(tx: Tx, *, example_id: int) -> Score | None:
    """The judge's newest numbers; None while it is unscored."""
    row = tx.execute(
        select(scores)
        .where(
            scores.c.example_id == example_id,
            scores.c.kind == ScoreKind.JUDGE.value,
            scores.c.outcome == "scored",
        )
        .order_by(scores.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return Score(
        row.id,
        {d.value: getattr(row, d.value) for d in Dimension},
        row.rationales or {},
        tuple(map(Judgement.model_validate, row.judgements or ())),
        row.judge_model,
        row.rubric_version,
        row.simulated,
        row.created_at,
    )


def steps(tx: Tx, *, example_id: int) -> list[Event]:
    """Its moves, the newest first."""
    kept = transitions.c
    rows = tx.execute(
        select(kept.at, kept.actor, kept.move, kept.reason, kept.detail)
        .where(kept.example_id == example_id)
        .order_by(kept.id.desc())
        .limit(20)
    )
    return [Event(*row) for row in rows]


def events(tx: Tx, *, example_id: int) -> list[Event]:
    """What people said of it, the newest first."""
    kept = review_events.c
    rows = tx.execute(
        select(kept.at, kept.person, kept.act, kept.reason, kept.detail)
        .where(kept.example_id == example_id)
        .order_by(kept.id.desc())
        .limit(20)
    )
    return [Event(*row) for row in rows]


def pace(tx: Tx, *, person: str, now: datetime) -> Pace:
    """What somebody decided in the last hour."""
    row = tx.execute(
        select(func.count(), func.percentile_cont(0.5).within_group(review_events.c.seconds)).where(
            review_events.c.person == person,
            review_events.c.at > now - PACE,
            review_events.c.act.in_([word.value for word in WORDS]),
        )
    ).one()
    return Pace(*row)


def ratings(tx: Tx, *, domains: Collection[str] | None = None) -> list[Rating]:
    """The words of all stays in which two people gave theirs; Cohen's kappa takes them."""
    kept = review_events.c
    word = kept.act.in_([w.value for w in WORDS])
    two = (
        select(kept.example_id, kept.entry)
        .where(word, ~undone())
        .group_by(kept.example_id, kept.entry)
        .having(func.count(kept.person.distinct()) > 1)
        .subquery()
    )
    rows = tx.execute(
        select(kept.example_id, kept.entry, kept.person, kept.act)
        .join(two, (two.c.example_id == kept.example_id) & (two.c.entry == kept.entry))
        .join(examples, examples.c.id == kept.example_id)
        .where(word, ~undone(), true() if domains is None else examples.c.domain.in_(domains))
        .order_by(kept.example_id, kept.id)
    )
    return [Rating(*row) for row in rows]
