"""Imported files: their bytes in pieces, how far parsing is, and every record it refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.errors import Conflict, InvalidInput
from tdsys.store.engine import Tx
from tdsys.store.leases import is_due
from tdsys.store.schema import IS_OPEN, ImportState, import_chunks, import_rejects
from tdsys.store.schema import imports as imports_table


class Import(BaseModel):
    """One file; `read` counts the records done with, so a new claim goes on after them."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    domain: str
    filename: str
    sha256: str
    options: dict[str, JsonValue]
    state: ImportState
    attempts: int
    read: int
    new: int
    duplicate: int
    rejected: int
    reason: str | None
    created_at: datetime
    finished_at: datetime | None


class Reject(NamedTuple):
    """A record that was not stored: where, what is wrong with it, and how to mend it."""

    line: int
    field: str
    code: str
    message: str
    remedy: str
    raw: str


def receive(
    tx: Tx,
    *,
    domain: str,
    filename: str,
    sha256: str,
    options: Mapping[str, JsonValue],
    chunks: Iterable[bytes],
    now: datetime,
) -> UUID:
    """Store a file to be parsed, its id; one chunk is in memory at a time."""
    import_id: UUID = tx.scalars(
        insert(imports_table)
        .values(
            domain=domain,
            filename=filename,
            sha256=sha256,
            options=dict(options),
            state=ImportState.DUE.value,
            due_at=now,
            created_at=now,
        )
        .returning(imports_table.c.id)
    ).one()
    for position, chunk in enumerate(chunks):
        tx.execute(
            insert(import_chunks).values(import_id=import_id, position=position, content=chunk)
        )
    return import_id


def claim(tx: Tx, *, lease: timedelta, now: datetime) -> Import | None:
    """Take the file that is due longest, for `lease`; also one whose worker died."""
    due = (
        select(imports_table.c.id)
        .where(IS_OPEN, is_due(imports_table.c.due_at, now=now, lease=lease))
        .order_by(imports_table.c.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    row = (
        tx.execute(
            update(imports_table)
            .where(imports_table.c.id == due)
            .values(
                state=ImportState.RUNNING.value,
                attempts=imports_table.c.attempts + 1,
                due_at=now + lease,
            )
            .returning(imports_table)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Import.model_validate(row)


def hold(tx: Tx, *, claimed: Import) -> Import:
    """Keep a claimed import for this transaction, as it is now.

    Conflict when the claim is not the newest any more: whoever was slow must not write.
    """
    kept = imports_table.c
    row = (
        tx.execute(
            select(imports_table)
            .where(kept.id == claimed.id, kept.attempts == claimed.attempts, IS_OPEN)
            .with_for_update()
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict(f"import {claimed.id} is in other hands or has ended")
    return Import.model_validate(row)


def chunk(tx: Tx, *, import_id: UUID, position: int) -> bytes | None:
    """One piece of the file; None after the last."""
    held: bytes | None = tx.scalar(
        select(import_chunks.c.content).where(
            import_chunks.c.import_id == import_id, import_chunks.c.position == position
        )
    )
    return held


def advance(
    tx: Tx,
    *,
    import_id: UUID,
    read: int,
    new: int,
    duplicate: int,
    rejects: Sequence[Reject],
    until: datetime,
) -> None:
    """Count a block that was parsed, keep its rejects and the lease; with the rows, or not at all.

    Conflict-free by the transaction: what `examples.add` stored and this are committed together.
    """
    rejected = reject(tx, import_id=import_id, rejects=rejects)
    kept = imports_table.c
    tx.execute(
        update(imports_table)
        .where(kept.id == import_id)
        .values(
            read=kept.read + read,
            new=kept.new + new,
            duplicate=kept.duplicate + duplicate,
            rejected=kept.rejected + rejected,
            due_at=until,
        )
    )


def reject(tx: Tx, *, import_id: UUID, rejects: Sequence[Reject]) -> int:
    """Keep refused records, how many are new; the same fault on the same line is kept once."""
    if not rejects:
        return 0
    rows = [{**one._asdict(), "import_id": import_id} for one in rejects]
    return len(
        tx.execute(
            insert(import_rejects)
            .values(rows)
            .on_conflict_do_nothing()
            .returning(import_rejects.c.line)
        ).all()
    )


def finish(tx: Tx, *, import_id: UUID, state: str, reason: str | None, now: datetime) -> bool:
    """End an open import and let its bytes go; False when it had ended before."""
    ended = tx.scalar(
        update(imports_table)
        .where(imports_table.c.id == import_id, IS_OPEN)
        .values(state=ImportState(state).value, reason=reason, due_at=None, finished_at=now)
        .returning(imports_table.c.id)
    )
    tx.execute(delete(import_chunks).where(import_chunks.c.import_id == import_id))
    return ended is not None


def status(tx: Tx, *, import_id: UUID) -> Import:
    """The import of that id; InvalidInput when there is none."""
    row = (
        tx.execute(select(imports_table).where(imports_table.c.id == import_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise InvalidInput(f"there is no import {import_id}", remedy="`tdsys import` prints it")
    return Import.model_validate(row)


def rejects(tx: Tx, *, import_id: UUID, limit: int) -> list[Reject]:
    """The first refused records by line."""
    kept = import_rejects.c
    return [
        Reject(*row)
        for row in tx.execute(
            select(kept.line, kept.field, kept.code, kept.message, kept.remedy, kept.raw)
            .where(kept.import_id == import_id)
            .order_by(kept.line, kept.field, kept.code)
            .limit(limit)
        )
    ]
