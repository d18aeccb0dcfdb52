"""How much people decided one by one, and when; reads only."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Date, cast, func, select, true

from tdsys.store.browse_schema import BY_PEOPLE
from tdsys.store.counts import Domains
from tdsys.store.engine import Tx
from tdsys.store.schema import examples, transitions

# Of a day with more decisions only these are looked at: nobody makes so many one by one.
MOST = 20_000


class Worked(NamedTuple):
    """What one person decided on one day (UTC), by move."""

    actor: str
    day: date
    move: str
    n: int


def pace(tx: Tx, *, domains: Domains, since: datetime) -> list[Worked]:
    """What people decided since then, but for moves in bulk; the newest MOST are counted."""
    kept = transitions.c
    recent = (
        select(kept.actor, kept.at, kept.move, kept.example_id)
        .where(BY_PEOPLE, kept.at >= since)
        .order_by(kept.at.desc())
        .limit(MOST)
        .subquery("recent")
    )
    day = cast(func.timezone("UTC", recent.c.at), Date).label("day")
    by = (recent.c.actor, day, recent.c.move)
    query = select(*by, func.count()).group_by(*by).order_by(day.desc(), recent.c.actor)
    if domains is not None:
        query = query.join(examples, examples.c.id == recent.c.example_id)
    within = true() if domains is None else examples.c.domain.in_(sorted(domains))
    return [Worked(*row) for row in tx.execute(query.where(within))]
