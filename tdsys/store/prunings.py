"""Who prunes a domain: one at a time, and whoever begins later takes over."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from tdsys.store.engine import Tx
from tdsys.store.lifecycle_schema import prunings


def begin(tx: Tx, *, domain: str, actor: str, now: datetime) -> UUID:
    """Prune this domain from now on; the token by which `is_ours` knows it."""
    token = uuid4()
    said = {"token": token, "actor": actor, "at": now}
    tx.execute(
        insert(prunings)
        .values(domain=domain, **said)
        .on_conflict_do_update(index_elements=[prunings.c.domain], set_=said)
    )
    return token


def is_ours(tx: Tx, *, domain: str, token: UUID) -> bool:
    """Whether nobody began later; whoever holds the domain's row can rely on it."""
    return tx.scalar(select(prunings.c.token).where(prunings.c.domain == domain)) == token
