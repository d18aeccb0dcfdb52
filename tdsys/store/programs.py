"""Compiled programs: kept with their evidence, one active per domain, stale when data changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import exists, func, select, true, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.comparison import Comparison
from tdsys.core.tombs import Loss, losses
from tdsys.store import activations
from tdsys.store.engine import Tx
from tdsys.store.program_schema import Activated
from tdsys.store.schema import (
    ADMITTED,
    dataset_members,
    dataset_versions,
    domains,
    examples,
)
from tdsys.store.schema import programs as programs_table
from tdsys.store.values import among


class StoredProgram(BaseModel):
    """A compiled program; `state` loads with plain dspy, `envelope` says where it came from."""

    model_config = ConfigDict(frozen=True)

    id: int
    domain: str
    run_id: UUID
    version_id: int
    state: dict[str, JsonValue]
    envelope: dict[str, JsonValue]
    comparison: Comparison
    active: bool
    stale: bool
    created_at: datetime

    @property
    def demos(self) -> int:
        """How many examples are in its prompt."""
        found = self.envelope.get("demos")
        return len(found) if isinstance(found, list) else 0

    @property
    def learned_from(self) -> list[str]:
        """The examples its demos came from, by fingerprint."""
        demos = self.envelope.get("demos")
        return [
            str(demo["uid"])
            for demo in (demos if isinstance(demos, list) else [])
            if isinstance(demo, dict) and demo.get("uid")
        ]

    @property
    def lost(self) -> list[Loss]:
        """What was forgotten of its prompt; what was measured before is of another prompt."""
        return losses(self.envelope)


def incumbent(tx: Tx, *, domain: str) -> StoredProgram | None:
    """The domain's active program."""
    row = (
        tx.execute(
            select(programs_table).where(programs_table.c.domain == domain, programs_table.c.active)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else _program(row)


def programs(tx: Tx, *, domain: str) -> list[StoredProgram]:
    """All programs of a domain, newest first."""
    rows = tx.execute(
        select(programs_table)
        .where(programs_table.c.domain == domain)
        .order_by(programs_table.c.id.desc())
    ).mappings()
    return [_program(row) for row in rows]


def active(tx: Tx, *, domains: Collection[str] | None) -> list[StoredProgram]:
    """The active program of each domain that has one."""
    kept = programs_table.c
    rows = tx.execute(
        select(programs_table)
        .where(kept.active, true() if domains is None else kept.domain.in_(sorted(domains)))
        .order_by(kept.domain)
    ).mappings()
    return [_program(row) for row in rows]


def of_run(tx: Tx, *, run_id: UUID) -> StoredProgram | None:
    """The program a run made, if it made one."""
    query = select(programs_table).where(programs_table.c.run_id == run_id)
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _program(row)


def program(tx: Tx, *, program_id: int) -> StoredProgram | None:
    """The program of that id."""
    query = select(programs_table).where(programs_table.c.id == program_id)
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _program(row)


def keep(  # noqa: PLR0913  # each is a column of its own
    tx: Tx,
    *,
    domain: str,
    run_id: UUID,
    version_id: int,
    state: dict[str, JsonValue],
    envelope: dict[str, JsonValue],
    comparison: Comparison,
    activate: bool,
    now: datetime,
) -> int:
    """Store a run's program, its id; a run that is replayed finds its first one unchanged."""
    # The domain's row is held, so nobody freezes or activates while "stale" is worked out.
    tx.execute(
        select(domains.c.name).where(domains.c.name == domain).with_for_update(key_share=True)
    )
    program_id: int | None = tx.scalar(
        select(programs_table.c.id).where(programs_table.c.run_id == run_id)
    )
    if program_id is not None:
        return program_id
    former = activations.retire(tx, domain=domain) if activate else None
    program_id = tx.scalars(
        insert(programs_table)
        .values(
            domain=domain,
            run_id=run_id,
            version_id=version_id,
            state=state,
            envelope=envelope,
            **comparison.model_dump(),
            active=activate,
            created_at=now,
            stale=is_outdated(tx, domain=domain, version_id=version_id),
        )
        .returning(programs_table.c.id)
    ).one()
    if activate:
        gain = f"gain {comparison.gain:+.3f}, at least {comparison.gain_low:+.3f}"
        activations.record(
            tx, domain=domain, program_id=program_id, former=former, how=Activated.BY_RUN,
            actor="run", reason=gain, now=now,
        )  # fmt: skip
    return int(program_id)


def follow_version(tx: Tx, *, domain: str, version_id: int) -> None:
    """After a freeze: programs of other versions are stale, those of this one are not."""
    tx.execute(
        update(programs_table)
        .where(programs_table.c.domain == domain)
        .values(stale=programs_table.c.version_id != version_id)
    )


def outdate(tx: Tx, *, example_ids: Sequence[int]) -> None:
    """After examples left the admitted set: programs that learned from them are stale."""
    learned = select(dataset_members.c.version_id).where(
        among(dataset_members.c.example_id, example_ids)
    )
    tx.execute(
        update(programs_table).where(programs_table.c.version_id.in_(learned)).values(stale=True)
    )


def is_outdated(tx: Tx, *, domain: str, version_id: int) -> bool:
    """Whether the data moved on since that version was frozen."""
    newest = (
        select(dataset_versions.c.id)
        .where(dataset_versions.c.domain == domain)
        .order_by(dataset_versions.c.frozen_at.desc(), dataset_versions.c.number.desc())
        .limit(1)
    )
    still = exists().where(
        examples.c.id == dataset_members.c.example_id,
        examples.c.state == ADMITTED,
        # An edited one may be admitted again, as something else.
        func.encode(examples.c.fingerprint, "hex") == dataset_members.c.fingerprint,
    )
    gone = exists().where(dataset_members.c.version_id == version_id, ~still)
    return tx.scalar(newest) != version_id or bool(tx.scalar(select(gone)))


def _program(row: Mapping[Any, Any]) -> StoredProgram:
    return StoredProgram.model_validate({**row, "comparison": dict(row)})
