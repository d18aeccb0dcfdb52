"""Everything that is known of one example; reads only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pydantic import JsonValue
from sqlalchemy import Table, select

from tdsys.core.example import Document
from tdsys.errors import InvalidInput
from tdsys.store.batch_schema import batch_cells, batch_items
from tdsys.store.engine import Tx
from tdsys.store.import_schema import trusted_examples
from tdsys.store.schema import (
    dataset_members,
    dataset_versions,
    example_bodies,
    examples,
    programs,
    scores,
    transitions,
)


class Standing(NamedTuple):
    """An example as it is now."""

    id: int
    domain: str
    topic: str
    difficulty: str
    source: str
    state: str
    reason: str | None
    quality: float | None
    simulated: bool
    created_at: datetime
    fingerprint: str
    payload: Document


class MadeAs(NamedTuple):
    """The attempt of a batch that an example is."""

    batch: str
    number: int
    strategy: str
    evidence: JsonValue
    calls: int
    tokens: int


class Used(NamedTuple):
    """A dataset version an example is in."""

    version_id: int
    number: int
    split: str
    at: datetime


class Learned(NamedTuple):
    """A program that was made of a version."""

    id: int
    version_id: int
    active: bool
    stale: bool
    demos: list[str]


class History(NamedTuple):
    """All of it, each part in the order of time."""

    now: Standing
    made_as: MadeAs | None
    trusted_by: str | None
    scores: list[dict[str, Any]]
    moves: list[dict[str, Any]]
    datasets: list[Used]
    programs: list[Learned]


def history(tx: Tx, *, example_id: int) -> History:
    """The whole story of an example; InvalidInput when there is none of that number."""
    kept = examples.c
    row = tx.execute(
        select(*(kept[name] for name in Standing._fields[:-1]), example_bodies.c.payload)
        .join_from(examples, example_bodies)
        .where(kept.id == example_id)
    ).one_or_none()
    if row is None:
        raise InvalidInput(f"there is no example {example_id}", remedy="see `tdsys examples list`")
    used = _datasets(tx, example_id)
    return History(
        now=Standing(**{**row._mapping, "fingerprint": row.fingerprint.hex()}),  # noqa: SLF001  # SQLAlchemy's public name
        made_as=_made_as(tx, example_id),
        trusted_by=tx.scalar(
            select(trusted_examples.c.actor).where(trusted_examples.c.example_id == example_id)
        ),
        scores=_all(tx, scores, example_id),
        moves=_all(tx, transitions, example_id),
        datasets=used,
        programs=_programs(tx, [one.version_id for one in used]),
    )


def _all(tx: Tx, table: Table, example_id: int) -> list[dict[str, Any]]:
    query = select(table).where(table.c.example_id == example_id).order_by(table.c.id)
    return [dict(row) for row in tx.execute(query).mappings()]


def _made_as(tx: Tx, example_id: int) -> MadeAs | None:
    item = batch_items.c
    row = tx.execute(
        select(
            batch_cells.c.batch_id, item.number, item.strategy, item.evidence, item.calls,
            item.tokens,
        )
        .join_from(batch_items, batch_cells, batch_cells.c.id == item.cell_id)
        .where(item.example_id == example_id)
    ).first()  # fmt: skip
    return MadeAs(str(row[0]), *row[1:]) if row else None


def _datasets(tx: Tx, example_id: int) -> list[Used]:
    member, version = dataset_members.c, dataset_versions.c
    rows = tx.execute(
        select(version.id, version.number, member.split, version.created_at)
        .join_from(dataset_members, dataset_versions, version.id == member.version_id)
        .where(member.example_id == example_id)
        .order_by(version.number)
    )
    return [Used(*row) for row in rows]


def _programs(tx: Tx, version_ids: list[int]) -> list[Learned]:
    kept = programs.c
    rows = tx.execute(
        select(kept.id, kept.version_id, kept.active, kept.stale, kept.envelope)
        .where(kept.version_id.in_(version_ids))
        .order_by(kept.id)
    )
    return [
        Learned(*row[:4], [str(demo["uid"]) for demo in row[4].get("demos", [])]) for row in rows
    ]
