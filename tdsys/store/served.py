"""What became of captures whose generator said which program had made them."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Text, func, select

from tdsys.core.example import Source
from tdsys.core.lifecycle import State
from tdsys.store.engine import Tx
from tdsys.store.schema import example_bodies, examples

LOOKED_AT = 2000
# As `tdsys.client.programs.Program.metadata` names it.
NAMED = "served_program"


class Served(NamedTuple):
    """The captures of one program; `quality` is the mean of those that have one."""

    captured: int
    admitted: int
    rejected: int
    quality: float | None


def by_program(tx: Tx, *, domain: str) -> dict[str, Served]:
    """Of the domain's newest captures, those of each program, by the number that was said."""
    newest = (
        select(examples.c.id, examples.c.state, examples.c.quality)
        .where(examples.c.domain == domain, examples.c.source == Source.CAPTURED.value)
        .order_by(examples.c.created_at.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    said = example_bodies.c.payload["metadata"][NAMED].as_string().cast(Text).label("said")
    states = newest.c.state
    rows = tx.execute(
        select(
            said,
            func.count(),
            func.count().filter(states == State.ADMITTED.value),
            func.count().filter(states == State.REJECTED.value),
            func.avg(newest.c.quality),
        )
        .join_from(newest, example_bodies, example_bodies.c.example_id == newest.c.id)
        .group_by(said)
    )
    return {row[0]: Served(*row[1:]) for row in rows if row[0] is not None}
