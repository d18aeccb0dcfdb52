"""Embeddings of problems, and which of a domain are nearest by them: pgvector compares.

One rule: whoever writes holds the domain (`clusters.hold`), so that of two workers' examples the
later one meets the earlier; and who only reads may find that pgvector is not there, and then
nothing is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tdsys.core.embedding import MOST_INDEXED, Unembedded, Vector
from tdsys.core.example import Document
from tdsys.errors import InvalidInput
from tdsys.store.engine import Tx

# Of a crowd that is closer together each one still meets so many.
MOST_NEAR = 25
# What an embedder could not do with a text it will hardly do a minute later, and may be paid for.
LATER = timedelta(days=1)
# feature_not_supported, insufficient_privilege, undefined_file (SQLSTATE, PostgreSQL appendix A)
NOT_TO_BE_HAD = frozenset({"0A000", "42501", "58P01"})
REMEDY = (
    "install pgvector 0.5 or newer where Postgres runs, have its superuser run "
    "`CREATE EXTENSION vector` in this database, or leave `embedder` out"
)


class Lacking(NamedTuple):
    """A placed example without a vector of the model, and what tells whether it is still that."""

    id: int
    fingerprint: bytes
    outputs: Document


class Near(NamedTuple):
    """Two examples and the cosine of their vectors."""

    example_id: int
    other_id: int
    cosine: float


def provide(tx: Tx, *, keep: bool = True) -> None:
    """Have pgvector in this database, or see that it could be; InvalidInput where it could not."""
    if is_ready(tx):
        return
    before = tx.begin_nested()
    try:
        tx.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    except DBAPIError as failed:
        if getattr(failed.orig, "sqlstate", None) not in NOT_TO_BE_HAD:
            raise
        why = str(failed.orig).partition("\n")[0]
        raise InvalidInput(f"embedder needs pgvector: {why}", remedy=REMEDY) from failed
    if not is_ready(tx):
        raise InvalidInput("embedder needs pgvector with HNSW", remedy=REMEDY)
    (before.commit if keep else before.rollback)()


def is_ready(tx: Tx) -> bool:
    """Whether pgvector is in this database, as new as is needed."""
    return bool(tx.scalar(text("SELECT EXISTS (SELECT FROM pg_am WHERE amname = 'hnsw')")))


def lacking(
    tx: Tx, *, domain: str, model: str, now: datetime, limit: int, among: Collection[int] | None
) -> list[Lacking]:
    """Those of a domain, or `among` these, that have no vector of the model and may be asked for.

    Nothing is said of what nobody uses any more.
    """
    given = {"domain": domain, "model": model, "now": now, "most": limit}
    some = "" if among is None else "AND placed.example_id = ANY(:ids)"
    rows = tx.execute(
        text(_LACKING.format(some=some)), given if among is None else {**given, "ids": list(among)}
    )
    return [Lacking(*row) for row in rows]


def dimensions(tx: Tx, *, domain: str, model: str) -> int | None:
    """How long the vectors of a domain are, or None while there are none."""
    found: int | None = tx.scalar(_DIMENSIONS, {"domain": domain, "model": model})
    return found


def put(
    tx: Tx,
    *,
    domain: str,
    model: str,
    found: Iterable[tuple[Lacking, Vector | Unembedded]],
    now: datetime,
) -> list[int]:
    """Keep what was found, but for what was edited or went meanwhile; who has a vector now."""
    kept: list[int] = []
    for one, answer in found:
        is_none = isinstance(answer, Unembedded)
        row = {
            "id": one.id,
            "fingerprint": one.fingerprint,
            "domain": domain,
            "model": model,
            "vector": None if is_none else list(answer),
            "reason": answer.reason if isinstance(answer, Unembedded) else None,
            "due_at": now + LATER if is_none else None,
        }
        if tx.scalar(_PUT, row) is not None and not is_none:
            kept.append(one.id)
    return kept


def index(tx: Tx, *, domain: str, model: str, size: int) -> None:
    """Make the index of a domain's vectors, if they can have one and it is not there.

    In a transaction of its own: it keeps all writers out, and two of them would wait for each other
    once they have written.
    """
    name = hashlib.sha256(f"{domain}\0{model}\0{size}".encode()).hexdigest()[:16]
    if size > MOST_INDEXED or tx.scalar(_HAS_INDEX, {"name": f"ix_example_vectors_near_{name}"}):
        return
    quoted = [_quoted(one) for one in (domain, model)]
    tx.exec_driver_sql(_INDEX.format(name=name, size=size, domain=quoted[0], model=quoted[1]))


def nearest(
    tx: Tx, *, domain: str, model: str, size: int, example_ids: Sequence[int], limit: int
) -> list[Near]:
    """The nearest others of each of these, those that are asked for included."""
    # The index is of this domain and model: they have to stand in the statement.
    asked = text(_NEAREST.format(size=int(size)))
    given = {"domain": domain, "model": model, "ids": list(example_ids), "most": limit + 1}
    return [Near(*row) for row in tx.execute(asked, given)]


def beside(tx: Tx, *, example_id: int, limit: int) -> list[Near]:
    """The nearest of one example; none where it has no vector, or pgvector is not there."""
    own = tx.execute(_OWN, {"id": example_id}).one_or_none()
    if own is None or not is_ready(tx):
        return []
    return nearest(
        tx, domain=own.domain, model=own.model, size=own.size, example_ids=[example_id], limit=limit
    )


def cosines(tx: Tx, *, example_id: int, others: Collection[int]) -> dict[int, float]:
    """How like one example these are by their vectors, as far as that is known."""
    if not others or not is_ready(tx):
        return {}
    given = {"id": example_id, "others": list(others)}
    return {row.example_id: row.cosine for row in tx.execute(text(_COSINES), given)}


def pairs(
    tx: Tx, *, domain: str, model: str, groups: Mapping[int, int], least: float
) -> list[Near]:
    """Every two examples of one of the groups, named by example, with at least this cosine."""
    if not groups or not is_ready(tx):
        return []
    given = {
        "domain": domain,
        "model": model,
        "ids": list(groups),
        "groups": list(groups.values()),
        "least": least,
    }
    return [Near(*row) for row in tx.execute(text(_PAIRS), given)]


def waiting(tx: Tx, *, domain: str, model: str, example_ids: Iterable[int]) -> int:
    """How many of these have no vector of the model."""
    given = {"domain": domain, "model": model, "ids": list(example_ids)}
    return int(tx.scalar(_WAITING, given) or 0)


def _quoted(name: str) -> str:
    """As a literal of a statement that takes no parameters; `%` would be one to the driver."""
    return "'" + name.replace("'", "''").replace("%", "%%") + "'"


_LACKING = """
    SELECT placed.example_id, examples.fingerprint, example_bodies.payload -> 'outputs'
    FROM example_templates AS placed
    JOIN examples ON examples.id = placed.example_id
    JOIN example_bodies ON example_bodies.example_id = placed.example_id
    LEFT JOIN example_vectors AS known ON known.example_id = placed.example_id
    WHERE examples.domain = :domain AND examples.state IN ('candidate', 'in_review', 'admitted')
      AND (known.example_id IS NULL OR known.model <> :model OR known.due_at <= :now) {some}
    ORDER BY placed.example_id LIMIT :most
    """
_DIMENSIONS = text(
    """
    SELECT cardinality(vector) FROM example_vectors
    WHERE domain = :domain AND model = :model AND vector IS NOT NULL LIMIT 1
    """
)
_PUT = text(
    """
    INSERT INTO example_vectors (example_id, domain, model, vector, reason, due_at)
    SELECT placed.example_id, :domain, :model, CAST(:vector AS real[]), CAST(:reason AS text),
           CAST(:due_at AS timestamptz)
    FROM example_templates AS placed JOIN examples ON examples.id = placed.example_id
    WHERE placed.example_id = :id AND examples.fingerprint = :fingerprint
    FOR KEY SHARE
    ON CONFLICT (example_id) DO UPDATE
    SET domain = excluded.domain, model = excluded.model, vector = excluded.vector,
        reason = excluded.reason, due_at = excluded.due_at
    WHERE example_vectors.model <> excluded.model OR example_vectors.vector IS NULL
    RETURNING example_id
    """
)
_HAS_INDEX = text("SELECT to_regclass(:name) IS NOT NULL")
_INDEX = """
    CREATE INDEX IF NOT EXISTS ix_example_vectors_near_{name} ON example_vectors
    USING hnsw ((CAST(vector AS vector({size}))) vector_cosine_ops)
    WHERE domain = {domain} AND model = {model} AND cardinality(vector) = {size}
    """
_NEAREST = """
    SELECT mine.example_id, other.example_id, 1 - other.distance
    FROM example_vectors AS mine
    CROSS JOIN LATERAL (
        SELECT kept.example_id,
               CAST(kept.vector AS vector({size})) <=> CAST(mine.vector AS vector({size}))
               AS distance
        FROM example_vectors AS kept
        WHERE kept.domain = :domain AND kept.model = :model AND cardinality(kept.vector) = {size}
        ORDER BY CAST(kept.vector AS vector({size})) <=> CAST(mine.vector AS vector({size}))
        LIMIT :most
    ) AS other
    WHERE mine.example_id = ANY(:ids) AND cardinality(mine.vector) = {size}
      AND other.example_id <> mine.example_id
    ORDER BY mine.example_id, other.distance
    """
_OWN = text(
    """
    SELECT domain, model, cardinality(vector) AS size FROM example_vectors
    WHERE example_id = :id AND vector IS NOT NULL
    """
)
_COSINES = """
    SELECT other.example_id, 1 - (CAST(other.vector AS vector) <=> CAST(mine.vector AS vector))
           AS cosine
    FROM example_vectors AS mine
    JOIN example_vectors AS other ON other.domain = mine.domain AND other.model = mine.model
    WHERE mine.example_id = :id AND other.example_id = ANY(:others)
      AND mine.vector IS NOT NULL AND other.vector IS NOT NULL
    """
_PAIRS = """
    WITH chosen AS MATERIALIZED (
        SELECT kept.example_id, given.named, CAST(kept.vector AS vector) AS vector
        FROM unnest(CAST(:ids AS bigint[]), CAST(:groups AS bigint[])) AS given (id, named)
        JOIN example_vectors AS kept ON kept.example_id = given.id
        WHERE kept.domain = :domain AND kept.model = :model AND kept.vector IS NOT NULL
    )
    SELECT one.example_id, other.example_id, 1 - (one.vector <=> other.vector)
    FROM chosen AS one
    JOIN chosen AS other ON other.named = one.named AND other.example_id > one.example_id
    WHERE round(CAST(1 - (one.vector <=> other.vector) AS numeric), 6) >= :least
    """
_WAITING = text(
    """
    SELECT count(*) FROM unnest(CAST(:ids AS bigint[])) AS given (id)
    WHERE NOT EXISTS (
        SELECT FROM example_vectors AS kept
        WHERE kept.example_id = given.id AND kept.domain = :domain AND kept.model = :model
          AND kept.vector IS NOT NULL)
    """
)
