"""How many examples there are, by what; reads only."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Integer, Text, case, func, literal, literal_column, select, true, union_all
from sqlalchemy.dialects.postgresql import distinct_on

from tdsys.core.example import Document, Source
from tdsys.core.lifecycle import State
from tdsys.core.rubric import Dimension
from tdsys.store.engine import Tx
from tdsys.store.schema import (
    ADMITTED,
    CANDIDATE,
    ScoreKind,
    capture_duplicates,
    capture_refusals,
    example_bodies,
    examples,
    scores,
)

CAPTURED = Source.CAPTURED.value
TINY = 1e-6


class Count(NamedTuple):
    """Examples of one domain and source in one state."""

    domain: str
    source: str
    state: str
    n: int


class Arrivals(NamedTuple):
    """The first and the newest arrival of a domain."""

    first: datetime
    last: datetime


class Listed(NamedTuple):
    """One example as a list shows it."""

    id: int
    domain: str
    topic: str
    difficulty: str
    state: str
    reason: str | None
    problem: str


class Refused(NamedTuple):
    """A captured record that was not stored: why, and where in its batch."""

    at: datetime
    batch_id: str
    position: int
    code: str
    path: str
    message: str
    raw: str


class CellCount(NamedTuple):
    """Examples of one cell in one state."""

    topic: str
    difficulty: str
    state: str
    n: int


class ReasonCount(NamedTuple):
    """Examples that stand where they stand for one reason; None: never decided."""

    domain: str
    state: str
    reason: str | None
    n: int


class Tenth(NamedTuple):
    """Examples a judge gave one dimension between `tenth` / 10 and the next, by their state.

    `simulated` are those that the offline model judged.
    """

    dimension: str
    tenth: int
    state: str
    n: int
    simulated: int


class Labelled(NamedTuple):
    """Captures a generator labelled with one fault (None: clean) and what became of them.

    `state` is an example's, or `duplicate` where a capture made none; then `reason` is
    `same_content` or `same_id_other_content`.
    """

    fault: str | None
    state: str
    reason: str | None
    n: int


def pending(tx: Tx, *, domain: str, since: datetime | None = None) -> int:
    """How many candidates of the domain are not decided; only those stored after `since`."""
    return (
        tx.scalar(
            select(func.count())
            .select_from(examples)
            .where(
                examples.c.domain == domain,
                examples.c.state == CANDIDATE,
                true() if since is None else examples.c.created_at > since,
            )
        )
        or 0
    )


def arrivals(tx: Tx, *, domain: str) -> Arrivals | None:
    """When the domain's first and newest example were stored; None when it has none."""
    stored = examples.c.created_at
    first, last = tx.execute(
        select(func.min(stored), func.max(stored)).where(examples.c.domain == domain)
    ).one()
    return None if first is None else Arrivals(first, last)


def admissions(tx: Tx, *, domain: str, since: datetime) -> int:
    """How many examples of the domain came into the admitted set after `since`."""
    return (
        tx.scalar(
            select(func.count())
            .select_from(examples)
            .where(
                examples.c.domain == domain,
                examples.c.state == ADMITTED,
                examples.c.moved_at > since,
            )
        )
        or 0
    )


def newest(tx: Tx, *, domain: str, limit: int) -> list[Document]:
    """The content of the domain's newest examples, without those that are rejected."""
    return list(
        tx.scalars(
            select(example_bodies.c.payload)
            .join_from(examples, example_bodies)
            .where(examples.c.domain == domain, examples.c.state != State.REJECTED.value)
            .order_by(examples.c.created_at.desc())
            .limit(limit)
        )
    )


def listed(tx: Tx, *, state: str, domain: str | None, limit: int) -> list[Listed]:
    """The examples in one state, longest there first."""
    kept = examples.c
    problem = func.coalesce(example_bodies.c.payload["outputs"]["problem"].as_string(), "")
    rows = tx.execute(
        select(kept.id, kept.domain, kept.topic, kept.difficulty, kept.state, kept.reason, problem)
        .join(example_bodies, example_bodies.c.example_id == kept.id)
        .where(kept.state == state, true() if domain is None else kept.domain == domain)
        .order_by(kept.moved_at, kept.id)
        .limit(limit)
    )
    return [Listed(*row) for row in rows]


def refused(tx: Tx, *, limit: int) -> list[Refused]:
    """Captured records that were not stored, newest first."""
    kept = capture_refusals.c
    rows = tx.execute(
        select(*(kept[name] for name in Refused._fields))
        .order_by(kept.at.desc(), kept.batch_id, kept.position)
        .limit(limit)
    )
    return [Refused(*row) for row in rows]


def counts(tx: Tx) -> list[Count]:
    """All examples by domain, source and state."""
    by = (examples.c.domain, examples.c.source, examples.c.state)
    return [
        Count(*row) for row in tx.execute(select(*by, func.count()).group_by(*by).order_by(*by))
    ]


def cells(tx: Tx, *, domain: str) -> list[CellCount]:
    """The domain's examples by topic, difficulty and state."""
    by = (examples.c.topic, examples.c.difficulty, examples.c.state)
    return [
        CellCount(*row)
        for row in tx.execute(
            select(*by, func.count()).where(examples.c.domain == domain).group_by(*by).order_by(*by)
        )
    ]


def tenths(tx: Tx, *, domain: str) -> list[Tenth]:
    """How the newest score of each of a domain's examples is spread; 1.0 counts as 0.9."""
    newest = (
        select(scores.c.example_id, scores.c.simulated, *(scores.c[d.value] for d in Dimension))
        .ext(distinct_on(scores.c.example_id))
        .where(scores.c.kind == ScoreKind.JUDGE.value, scores.c.outcome == "scored")
        .order_by(scores.c.example_id, scores.c.id.desc())
        .subquery()
    )
    found: list[Tenth] = []
    for dimension in Dimension:
        # Stored with seven digits: 0.3 must not fall below itself.
        tenth = func.least(func.floor(newest.c[dimension.value] * 10 + TINY), 9).cast(Integer)
        rows = tx.execute(
            select(
                literal(dimension.value),
                tenth,
                examples.c.state,
                func.count(),
                func.count().filter(newest.c.simulated),
            )
            .join(newest, newest.c.example_id == examples.c.id)
            .where(examples.c.domain == domain)
            .group_by(tenth, examples.c.state)
            .order_by(tenth, examples.c.state)
        )
        found += [Tenth(*row) for row in rows]
    return found


def reasons(tx: Tx) -> list[ReasonCount]:
    """All examples by domain, state and the reason for it."""
    by = (examples.c.domain, examples.c.state, examples.c.reason)
    return [
        ReasonCount(*row)
        for row in tx.execute(select(*by, func.count()).group_by(*by).order_by(*by))
    ]


def labelled(tx: Tx) -> list[Labelled]:
    """All captures by the fault in their metadata, and what became of them."""
    stored = (
        select(
            example_bodies.c.payload["metadata"]["fault"].as_string().label("fault"),
            examples.c.state,
            examples.c.reason,
        )
        .join_from(examples, example_bodies)
        .where(examples.c.source == CAPTURED)
    )
    refused = select(
        capture_duplicates.c.metadata["fault"].as_string(),
        literal_column("'duplicate'", Text),
        case((capture_duplicates.c.conflicting, "same_id_other_content"), else_="same_content"),
    ).where(capture_duplicates.c.source == CAPTURED)
    both = union_all(stored, refused).subquery()
    by = (both.c.fault, both.c.state, both.c.reason)
    return [
        Labelled(*row) for row in tx.execute(select(*by, func.count()).group_by(*by).order_by(*by))
    ]
