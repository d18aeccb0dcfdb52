"""Reports that were written, and what the freshness report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from tdsys.store.engine import Tx
from tdsys.store.schema import examples
from tdsys.store.schema import reports as reports_table


class Report(BaseModel):
    """One report as it was written."""

    model_config = ConfigDict(frozen=True)

    id: int
    kind: str
    body: dict[str, JsonValue]
    created_at: datetime


class Freshness(NamedTuple):
    """One domain's examples in one state, and how long ago they were stored."""

    domain: str
    state: str
    n: int
    newest_seconds: float
    oldest_seconds: float


def put(tx: Tx, *, kind: str, body: Mapping[str, JsonValue], now: datetime) -> int:
    """Keep a report, its id."""
    report_id: int = tx.scalars(
        insert(reports_table)
        .values(kind=kind, body=dict(body), created_at=now)
        .returning(reports_table.c.id)
    ).one()
    return report_id


def latest(tx: Tx, *, kind: str) -> Report | None:
    """The newest report of a kind."""
    row = (
        tx.execute(
            select(reports_table)
            .where(reports_table.c.kind == kind)
            .order_by(reports_table.c.created_at.desc(), reports_table.c.id.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Report.model_validate(row)


def freshness(tx: Tx, *, now: datetime) -> list[Freshness]:
    """Counts and ages by domain and state, from the narrow table alone."""
    by = (examples.c.domain, examples.c.state)
    rows = tx.execute(
        select(*by, func.count(), func.max(examples.c.created_at), func.min(examples.c.created_at))
        .group_by(*by)
        .order_by(*by)
    )
    return [
        Freshness(domain, state, n, (now - newest).total_seconds(), (now - oldest).total_seconds())
        for domain, state, n, newest, oldest in rows
    ]
