"""Imported files: their bytes in pieces, how far reading is, and every record it refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import ColumnElement, delete, select, true, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.intake import Faulty
from tdsys.errors import Conflict, NotFound
from tdsys.store import prefixes
from tdsys.store.engine import Tx
from tdsys.store.import_schema import ImportState, import_chunks, import_rejects
from tdsys.store.import_schema import imports as imports_table
from tdsys.store.leases import is_due
from tdsys.store.schema import IS_OPEN


class Import(BaseModel):
    """One file; `read` counts the records done with, so a new claim goes on after them.

    `faulty` counts those that are wrong by themselves: a strict import refuses the others too.
    `stalls` counts the claims in a row under which not a record was read.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    domain: str
    filename: str
    sha256: str
    options: dict[str, JsonValue]
    state: ImportState
    attempts: int
    stalls: int
    read: int
    new: int
    duplicate: int
    rejected: int
    near_duplicate: int
    faulty: int
    checked: int
    is_checked: bool
    size: int
    done: int
    how: str
    actor: str
    policy_version: int
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    due_at: datetime | None


class Progress(NamedTuple):
    """What a block adds to an import's counts; `done` is how far in the file, in bytes."""

    done: int
    how: str = ""
    read: int = 0
    new: int = 0
    duplicate: int = 0
    near_duplicate: int = 0
    checked: int = 0


def open_(
    tx: Tx,
    *,
    domain: str,
    filename: str,
    options: Mapping[str, JsonValue],
    actor: str,
    policy_version: int,
    now: datetime,
) -> UUID:
    """An import without any bytes yet; nobody claims it before it is sealed."""
    import_id: UUID = tx.scalars(
        insert(imports_table)
        .values(
            domain=domain,
            filename=filename,
            sha256="",
            options=dict(options),
            state=ImportState.UPLOADING.value,
            actor=actor,
            policy_version=policy_version,
            created_at=now,
        )
        .returning(imports_table.c.id)
    ).one()
    return import_id


def append(tx: Tx, *, import_id: UUID, position: int, content: bytes) -> None:
    """The next piece of the file."""
    tx.execute(
        insert(import_chunks).values(import_id=import_id, position=position, content=content)
    )


def seal(tx: Tx, *, import_id: UUID, sha256: str, size: int, now: datetime) -> None:
    """The file is complete; whoever is free may read it."""
    tx.execute(
        update(imports_table)
        .where(imports_table.c.id == import_id)
        .values(sha256=sha256, size=size, state=ImportState.DUE.value, due_at=now)
    )


def discard(tx: Tx, *, import_id: UUID) -> None:
    """Forget an import that was never read."""
    tx.execute(delete(imports_table).where(imports_table.c.id == import_id))


def discard_abandoned(tx: Tx, *, before: datetime) -> int:
    """Forget uploads that were begun before then and never ended; how many."""
    kept = imports_table.c
    abandoned = (kept.state == ImportState.UPLOADING.value) & (kept.created_at < before)
    return len(tx.execute(delete(imports_table).where(abandoned).returning(kept.id)).all())


def same(tx: Tx, *, domain: str, sha256: str) -> list[Import]:
    """The imports of the same bytes into the same domain, the newest first."""
    kept = imports_table.c
    rows = tx.execute(
        select(imports_table)
        .where(kept.domain == domain, kept.sha256 == sha256)
        .order_by(kept.created_at.desc())
    ).mappings()
    return [Import.model_validate(row) for row in rows]


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
                stalls=imports_table.c.stalls + 1,
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
    row = (
        tx.execute(select(imports_table).where(_ours(claimed)).with_for_update())
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict(f"import {claimed.id} is in other hands or has ended")
    return Import.model_validate(row)


def prolong(tx: Tx, *, claimed: Import, until: datetime) -> bool:
    """Keep the lease of an import that is still ours; True when it is not."""
    kept = tx.scalar(
        update(imports_table)
        .where(_ours(claimed))
        .values(due_at=until)
        .returning(imports_table.c.id)
    )
    return kept is None


def _ours(claimed: Import) -> ColumnElement[bool]:
    kept = imports_table.c
    return (kept.id == claimed.id) & (kept.attempts == claimed.attempts) & IS_OPEN


def chunk(tx: Tx, *, import_id: UUID, position: int) -> bytes | None:
    """One piece of the file; None after the last."""
    held: bytes | None = tx.scalar(
        select(import_chunks.c.content).where(
            import_chunks.c.import_id == import_id, import_chunks.c.position == position
        )
    )
    return held


def advance(
    tx: Tx, *, import_id: UUID, progress: Progress, rejects: Sequence[Faulty], until: datetime
) -> None:
    """Count a block that was read, keep its rejects and the lease; with the rows, or not at all.

    Conflict-free by the transaction: what `examples.add` stored and this are committed together.
    What was only checked is counted as faulty, not yet as rejected.
    """
    faulty = reject(tx, import_id=import_id, rejects=rejects)
    kept = imports_table.c
    changed: dict[str, Any] = {
        name: kept[name] + amount
        for name, amount in progress._asdict().items()
        if name not in {"done", "how"} and amount
    }
    if progress.how:
        changed["how"] = progress.how
    if faulty:
        changed["faulty"] = kept.faulty + faulty
    if progress.read or progress.checked:
        changed["stalls"] = 0
    if progress.read and rejects:
        changed["rejected"] = kept.rejected + len(rejects)
    tx.execute(
        update(imports_table)
        .where(kept.id == import_id)
        .values(done=progress.done, due_at=until, **changed)
    )


def reject(tx: Tx, *, import_id: UUID, rejects: Sequence[Faulty]) -> int:
    """Keep refused records, how many are new; the same record is kept once."""
    if not rejects:
        return 0
    kept = tx.execute(
        insert(import_rejects).on_conflict_do_nothing().returning(import_rejects.c.record),
        [_row(import_id, one) for one in rejects],
    )
    return len(kept.all())


def _row(import_id: UUID, one: Faulty) -> dict[str, Any]:
    row = {**one._asdict(), "import_id": import_id}
    del row["fatal"]
    return row


def end_check(tx: Tx, *, import_id: UUID, passed: bool) -> None:
    """A strict import was checked: it may be stored, or all of it is rejected."""
    kept = imports_table.c
    refused = {"read": kept.checked, "rejected": kept.checked}
    tx.execute(
        update(imports_table)
        .where(kept.id == import_id)
        .values({"is_checked": True, "done": 0} if passed else refused)
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
    """The import of that id; NotFound when there is none."""
    row = (
        tx.execute(select(imports_table).where(imports_table.c.id == import_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound(f"there is no import {import_id}", remedy="see `tdsys imports list`")
    return Import.model_validate(row)


def meant(tx: Tx, *, prefix: str) -> UUID:
    """The import whose id begins so; InvalidInput when there is none, or more than one."""
    return prefixes.meant(
        tx, imports_table.c.id, prefix=prefix, kind="import", where="tdsys imports list"
    )


def in_hand(tx: Tx, *, now: datetime) -> list[Import]:
    """The imports that a worker reads, as far as their leases tell, the oldest first."""
    kept = imports_table.c
    rows = tx.execute(
        select(imports_table)
        .where(kept.state == ImportState.RUNNING.value, kept.due_at > now)
        .order_by(kept.created_at)
    ).mappings()
    return [Import.model_validate(row) for row in rows]


def within(
    tx: Tx, *, domains: Collection[str] | None, limit: int, before: datetime | None = None
) -> list[Import]:
    """The newest imports into these domains (None: into all) that were begun before then."""
    kept = imports_table.c
    rows = tx.execute(
        select(imports_table)
        .where(true() if domains is None else kept.domain.in_(sorted(domains)))
        .where(true() if before is None else kept.created_at < before)
        .order_by(kept.created_at.desc(), kept.id)
        .limit(limit)
    ).mappings()
    return [Import.model_validate(row) for row in rows]


def rejects(tx: Tx, *, import_id: UUID, limit: int, after: int = 0) -> list[Faulty]:
    """The first refused records after that one, in the order of the file."""
    kept = import_rejects.c
    columns = [kept[name] for name in Faulty._fields if name != "fatal"]
    rows: Iterator[Any] = iter(
        tx.execute(
            select(*columns)
            .where(kept.import_id == import_id, kept.record > after)
            .order_by(kept.record)
            .limit(limit)
        )
    )
    return [Faulty(*row) for row in rows]
