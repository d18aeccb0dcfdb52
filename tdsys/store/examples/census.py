"""How many examples there are, by what; reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Table,
    Text,
    case,
    func,
    literal_column,
    select,
    true,
    union_all,
)

from tdsys.core.example import Document, Source
from tdsys.core.lifecycle import State
from tdsys.store.browse_schema import example_counts, score_counts
from tdsys.store.counts import Domains, grouped, within
from tdsys.store.engine import Tx
from tdsys.store.schema import (
    ADMITTED,
    CANDIDATE,
    capture_duplicates,
    capture_refusals,
    example_bodies,
    examples,
)

CAPTURED = Source.CAPTURED.value


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


def counts(tx: Tx, *, domains: Domains = None) -> list[Count]:
    """All examples by domain, source and state."""
    by = ("domain", "source", "state")
    return [Count(*row) for row in _counted(tx, example_counts, by, domains)]


def cells(tx: Tx, *, domain: str) -> list[CellCount]:
    """The domain's examples by topic, difficulty and state."""
    by = ("topic", "difficulty", "state")
    return [CellCount(*row) for row in _counted(tx, example_counts, by, [domain])]


def tenths(tx: Tx, *, domain: str) -> list[Tenth]:
    """How the newest score of each of a domain's examples is spread; 1.0 counts as 0.9."""
    by = ("dimension", "tenth", "state")
    simulated = func.coalesce(func.sum(score_counts.c.n).filter(score_counts.c.simulated), 0)
    rows = _counted(tx, score_counts, by, [domain], simulated.cast(BigInteger))
    return [Tenth(*row) for row in rows]


def reasons(tx: Tx, *, domains: Domains = None) -> list[ReasonCount]:
    """All examples by domain, state and (how it begins) the reason for it."""
    by = ("domain", "state", "reason")
    return [
        ReasonCount(domain, state, reason or None, n)
        for domain, state, reason, n in _counted(tx, example_counts, by, domains)
    ]


def _counted(
    tx: Tx, table: Table, by: Sequence[str], domains: Domains, *more: ColumnElement[int]
) -> Iterator[Any]:
    columns = [table.c[name] for name in by]
    query = grouped(table, *by).where(within(table, domains)).order_by(*columns)
    return iter(tx.execute(query.add_columns(*more)))


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
