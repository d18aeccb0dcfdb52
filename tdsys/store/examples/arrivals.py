"""Take captures in: each becomes an example, or a row that says why not, exactly once.

One rule: a row of a batch is never decided by looking first and writing later; the unique keys
on capture id and fingerprint decide, and what they refused is looked up afterwards. All of it is
one statement, the database's own function (migration 0002 has it, and says what comes to nothing
and why), because a row should cost no more than twice what COPY needs for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import ARRAY, JSON, DateTime, Integer, Text, bindparam, cast, func, select

from tdsys.core.arrival import Arrival
from tdsys.core.example import Source
from tdsys.core.policy import Policy
from tdsys.store import policies
from tdsys.store.engine import Tx
from tdsys.store.values import LONGEST, storable


class Refusal(NamedTuple):
    """A record that was not stored: its place in the batch, and why."""

    position: int
    code: str
    path: str
    message: str
    raw: str


class Batch(NamedTuple):
    """What a batch holds, by position: examples to be, and records that are none."""

    arrivals: Mapping[int, Arrival]
    refusals: Sequence[Refusal]


class Ingested(NamedTuple):
    """What became of a batch; `repeated` when it was here before, with the counts of then."""

    new: int = 0
    duplicate: int = 0
    conflicting: int = 0
    refused: int = 0
    resent: int = 0
    repeated: bool = False


class Added(NamedTuple):
    """What became of arrivals; `resent` = the same capture was stored before."""

    new: int
    duplicate: int
    conflicting: int
    resent: int


def ingest(tx: Tx, *, batch_id: str, batch: Batch, now: datetime) -> Ingested:
    """Store a batch in one statement; a batch that was here before changes nothing."""
    unique = _distinct(batch.arrivals)
    sent = {
        "batch": batch_id,
        "received": len(batch.arrivals) + len(batch.refusals),
        **_listed(unique.values()),
        "places": list(unique),
        "names": sorted({arrival.domain for arrival in unique.values()}),
        "twice": len(batch.arrivals) - len(unique),
        "refusals": json.dumps([_storable(refusal) for refusal in batch.refusals]),
        "policy": _first_policy(),
        "author": policies.FIRST_AUTHOR,
        "now": now,
    }
    return Ingested(*tx.execute(_INGESTION, sent).one())


def add(
    tx: Tx, *, arrivals: Sequence[Arrival], source: Source, due_at: datetime, now: datetime
) -> Added:
    """Store arrivals of any source; the domains they name are made when they are missing."""
    unique = _distinct(dict(enumerate(arrivals))).values()
    policies.ensure_domains(tx, names={arrival.domain for arrival in unique}, now=now)
    sent = {
        **_listed(unique),
        "count": len(unique),
        "source": source.value,
        "due_at": due_at,
        "now": now,
    }
    added = Added(*tx.execute(_ADDITION, sent).one())
    return added._replace(resent=added.resent + len(arrivals) - len(unique))


def _distinct(arrivals: Mapping[int, Arrival]) -> dict[int, Arrival]:
    """The first of each capture, by position."""
    places = {arrivals[place].key: place for place in reversed(list(arrivals))}
    return {place: arrivals[place] for place in sorted(places.values())}


def _listed(arrivals: Collection[Arrival]) -> dict[str, str]:
    """Rows and payloads as two lists: inside its row Postgres would read each payload twice."""
    return {
        "rows": f"[{','.join([arrival.row for arrival in arrivals])}]",
        "payloads": f"[{','.join([arrival.payload for arrival in arrivals])}]",
    }


def _storable(refusal: Refusal) -> dict[str, object]:
    return {
        name: storable(value[:LONGEST]) if isinstance(value, str) else value
        for name, value in refusal._asdict().items()
    }


@cache
def _first_policy() -> str:
    return json.dumps(Policy().model_dump(mode="json"))


_ROWS = cast(bindparam("rows", type_=Text), JSON)
_PAYLOADS = cast(bindparam("payloads", type_=Text), JSON)
_NOW = bindparam("now", type_=DateTime(timezone=True))
_INGESTION = select(
    func.ingest_batch(
        bindparam("batch", type_=Text),
        bindparam("received", type_=Integer),
        _ROWS,
        _PAYLOADS,
        bindparam("places", type_=ARRAY(Integer)),
        bindparam("names", type_=ARRAY(Text)),
        bindparam("twice", type_=Integer),
        cast(bindparam("refusals", type_=Text), JSON),
        cast(bindparam("policy", type_=Text), JSON),
        bindparam("author", type_=Text),
        _NOW,
    ).table_valued(*Ingested._fields)
)
_ADDITION = select(
    func.store_arrivals(
        _ROWS,
        _PAYLOADS,
        bindparam("count", type_=Integer),
        bindparam("source", type_=Text),
        bindparam("due_at", type_=DateTime(timezone=True)),
        _NOW,
    ).table_valued(*Added._fields)
)
