"""What imported rows are beside examples: near-duplicates of earlier ones, and trusted.

One rule: only rows that became examples count, so both are asked after they were added.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.intake import Row
from tdsys.store.engine import Tx
from tdsys.store.import_schema import import_templates, trusted_examples
from tdsys.store.schema import examples


def count_templates(tx: Tx, *, domain: str, rows: Sequence[Row]) -> int:
    """Remember the templates of these rows; how many new examples share one with an earlier."""
    if not rows:
        return 0
    return tx.scalars(_TEMPLATES, {"domain": domain, **_sent(rows)}).one()


def trust(tx: Tx, *, import_id: UUID, actor: str, rows: Sequence[Row]) -> None:
    """Note who vouches for these rows."""
    given, ours = _given(), examples.c
    found = select(
        ours.id, bindparam("import_id", type_=Uuid), bindparam("actor", type_=Text)
    ).join_from(given, examples, ours.capture_id == given.c.capture_id)
    statement = (
        insert(trusted_examples)
        .from_select(["example_id", "import_id", "actor"], found)
        .on_conflict_do_nothing()
    )
    tx.execute(statement, {"import_id": import_id, "actor": actor, **_sent(rows)})


def begin_rehearsal(tx: Tx) -> None:
    """Tables for what a rehearsal has met; they vanish with the transaction, however long it is."""
    tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    tx.execute(text("CREATE TEMP TABLE met (identity text PRIMARY KEY) ON COMMIT DROP"))


def rehearse(tx: Tx, *, domain: str, rows: Sequence[Row]) -> tuple[int, int]:
    """How many of these rows would be new, and how many of those near-duplicates."""
    if not rows:
        return 0, 0
    identities = ",".join(row.arrival.key[1] for row in rows)
    fresh = set(tx.scalars(_MEET, {"identities": identities}))
    templates = {row.arrival.key[1]: row.template for row in rows if row.arrival.key[1] in fresh}
    marks = ",".join(map(str, templates.values()))
    met = tx.scalars(_MEET_TEMPLATES, {"domain": domain, "marks": marks}).all()
    return len(fresh), len(fresh) - len(met)


def _sent(rows: Sequence[Row]) -> dict[str, str]:
    """As text: an array costs psycopg several times what joining it costs us."""
    return {
        "ids": ",".join([row.arrival.key[0] for row in rows]),
        "templates": ",".join([str(row.template) for row in rows]),
    }


def _given() -> CTE:
    ids = cast(func.string_to_array(bindparam("ids", type_=Text), ","), ARRAY(Uuid))
    marks = cast(func.string_to_array(bindparam("templates", type_=Text), ","), ARRAY(BigInteger))
    return select(func.unnest(ids).label("capture_id"), func.unnest(marks).label("template")).cte(
        "given"
    )


def _templates() -> Select[int]:
    given = _given()
    fresh = (
        select(given.c.template)
        .join_from(given, examples, examples.c.capture_id == given.c.capture_id)
        .cte("fresh")
    )
    # In one order: two imports that overlap wait, they never deadlock.
    distinct = (
        select(bindparam("domain", type_=Text), fresh.c.template)
        .distinct()
        .order_by(fresh.c.template)
    )
    added = (
        insert(import_templates)
        .from_select(["domain", "template"], distinct)
        .on_conflict_do_nothing()
        .returning(import_templates.c.template)
        .cte("added")
    )
    return select(
        select(func.count()).select_from(fresh).scalar_subquery()
        - select(func.count()).select_from(added).scalar_subquery()
    )


_TEMPLATES = _templates()
_MEET = text(
    """
    INSERT INTO met
    SELECT DISTINCT identity FROM unnest(string_to_array(:identities, ',')) AS identity
    WHERE NOT EXISTS (SELECT FROM examples WHERE fingerprint = decode(identity, 'hex'))
    ON CONFLICT DO NOTHING RETURNING identity
    """
)
_MEET_TEMPLATES = text(
    """
    INSERT INTO met
    SELECT DISTINCT 'template ' || mark FROM unnest(string_to_array(:marks, ',')) AS mark
    WHERE NOT EXISTS (
        SELECT FROM import_templates WHERE domain = :domain AND template = mark::bigint)
    ON CONFLICT DO NOTHING RETURNING identity
    """
)
