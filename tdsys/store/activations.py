"""Which program of a domain is the active one, who made it so, and what was before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.store import policies
from tdsys.store.engine import Tx
from tdsys.store.program_schema import Activated
from tdsys.store.program_schema import activations as activations_table
from tdsys.store.schema import programs


class Activation(BaseModel):
    """One program that became active; `former_id` is where a rollback from it leads."""

    model_config = ConfigDict(frozen=True)

    id: int
    domain: str
    program_id: int
    former_id: int | None
    how: Activated
    actor: str
    reason: str
    at: datetime


def retire(tx: Tx, *, domain: str) -> int | None:
    """Make the active program inactive, its id; whoever does so holds the domain until the end."""
    policies.hold(tx, domain=domain)
    former: int | None = tx.scalar(
        update(programs)
        .where(programs.c.domain == domain, programs.c.active)
        .values(active=False)
        .returning(programs.c.id)
    )
    return former


def activate(
    tx: Tx, *, domain: str, program_id: int, how: Activated, actor: str, reason: str, now: datetime
) -> Activation:
    """Put a program in place of the active one."""
    former = retire(tx, domain=domain)
    tx.execute(
        update(programs)
        .where(programs.c.id == program_id, programs.c.domain == domain)
        .values(active=True)
    )
    return record(
        tx, domain=domain, program_id=program_id, former=former, how=how, actor=actor,
        reason=reason, now=now,
    )  # fmt: skip


def record(  # each is a column of its own
    tx: Tx,
    *,
    domain: str,
    program_id: int,
    former: int | None,
    how: Activated,
    actor: str,
    reason: str,
    now: datetime,
) -> Activation:
    """Write down that a program became active in place of `former`.

    A program that is rolled back to leads where it led before, so a second rollback goes further.
    """
    if how is Activated.BY_ROLLBACK:
        before = _last_of(tx, domain, program_id)
        former = before.former_id if before else None
    row = tx.execute(
        insert(activations_table)
        .values(
            domain=domain,
            program_id=program_id,
            former_id=former,
            how=how.value,
            actor=actor,
            reason=reason,
            at=now,
        )
        .returning(activations_table)
    ).mappings()
    return _activation(row.one())


def newest(tx: Tx, *, domain: str) -> Activation | None:
    """How the active program became active; None where none ever did."""
    row = (
        tx.execute(
            select(activations_table)
            .where(activations_table.c.domain == domain)
            .order_by(activations_table.c.id.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else _activation(row)


def listed(tx: Tx, *, domain: str) -> list[Activation]:
    """All activations of a domain, the newest first."""
    rows = tx.execute(
        select(activations_table)
        .where(activations_table.c.domain == domain)
        .order_by(activations_table.c.id.desc())
    ).mappings()
    return [_activation(row) for row in rows]


def _last_of(tx: Tx, domain: str, program_id: int) -> Activation | None:
    return next((one for one in listed(tx, domain=domain) if one.program_id == program_id), None)


def _activation(row: Mapping[Any, Any]) -> Activation:
    return Activation.model_validate(dict(row))
