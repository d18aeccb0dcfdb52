"""Domains and their versioned rules; a version, once written, never changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Text, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert

from tdsys.core.policy import Policy
from tdsys.errors import InvalidInput
from tdsys.store.engine import Tx
from tdsys.store.schema import domains as domains_table
from tdsys.store.schema import examples, policies
from tdsys.store.values import any_of

FIRST, FIRST_AUTHOR = 1, "default"
Versioned = tuple[int, Policy]


class Version(NamedTuple):
    """One version as it was put in force, and by whom; a document may be of an older program."""

    version: int
    document: dict[str, JsonValue]
    author: str
    at: datetime


def ensure_domain(tx: Tx, *, domain: str, now: datetime) -> bool:
    """Make the domain with the default policy unless it is there; whether it was made."""
    return domain in ensure_domains(tx, names=[domain], now=now)


def ensure_domains(tx: Tx, *, names: Iterable[str], now: datetime) -> set[str]:
    """Make the missing ones of these domains, in one order so two batches never deadlock."""
    wanted = set(names)
    missing = wanted - set(tx.scalars(_THERE, {"names": list(wanted)}))
    if not missing:
        return set()
    rows = [{"name": name, "created_at": now} for name in sorted(missing)]
    made = tx.scalars(
        insert(domains_table).values(rows).on_conflict_do_nothing().returning(domains_table.c.name)
    ).all()
    for domain in made:
        _write(tx, domain=domain, version=FIRST, policy=Policy(), author=FIRST_AUTHOR, now=now)
    return set(made)


_THERE = select(domains_table.c.name).where(any_of(domains_table.c.name, "names"))


def current(tx: Tx, *, domain: str) -> Versioned:
    """The policy in force and its version; InvalidInput when there is no such domain."""
    row = tx.execute(_IN_FORCE, {"domain": domain}).one_or_none()
    if row is None:
        raise _unknown(tx, domain)
    return row.version, _parsed(row.text)


def history(tx: Tx, *, domain: str) -> list[Version]:
    """Every version, the newest first; InvalidInput when there is no such domain."""
    rows = tx.execute(
        select(policies.c.version, policies.c.document, policies.c.author, policies.c.created_at)
        .where(policies.c.domain == domain)
        .order_by(policies.c.version.desc())
    ).all()
    if not rows:
        raise _unknown(tx, domain)
    return [Version(*row) for row in rows]


def document(tx: Tx, *, domain: str, version: int) -> dict[str, JsonValue]:
    """One version as it was put in force."""
    held: dict[str, JsonValue] = tx.scalars(
        select(policies.c.document).where(
            policies.c.domain == domain, policies.c.version == version
        )
    ).one()
    return held


def version_of(tx: Tx, *, example_id: int) -> int:
    """The policy version in force for an example's domain; InvalidInput when there is no such."""
    domain: str | None = tx.scalar(select(examples.c.domain).where(examples.c.id == example_id))
    if domain is None:
        raise InvalidInput(f"there is no example {example_id}", remedy="see `tdsys examples list`")
    return current(tx, domain=domain)[0]


def currents(tx: Tx, *, names: Iterable[str] | None = None) -> dict[str, Versioned]:
    """The policy in force of every domain, or of these."""
    query = _NEWEST
    if names is not None:
        query = query.where(policies.c.domain.in_(sorted(set(names))))
    return {row.domain: (row.version, _parsed(row.text)) for row in tx.execute(query)}


def put(tx: Tx, *, domain: str, policy: Policy, author: str, now: datetime) -> int:
    """Put a policy in force as the next version; the version. The domain is made if needed."""
    ensure_domain(tx, domain=domain, now=now)
    # So versions have no gap and no double.
    hold(tx, domain=domain)
    last = tx.scalar(select(func.max(policies.c.version)).where(policies.c.domain == domain)) or 0
    _write(tx, domain=domain, version=last + 1, policy=policy, author=author, now=now)
    return last + 1


def hold(tx: Tx, *, domain: str) -> None:
    """Let nobody else who does this go on with the domain before this transaction ends."""
    tx.execute(
        select(domains_table.c.name)
        .where(domains_table.c.name == domain)
        .with_for_update(key_share=True)
    )


def domains(tx: Tx) -> list[str]:
    """All domains by name."""
    return list(tx.scalars(select(domains_table.c.name).order_by(domains_table.c.name)))


def check(tx: Tx, *, domain: str) -> None:
    """InvalidInput when there is no such domain."""
    if tx.scalar(select(domains_table.c.name).where(domains_table.c.name == domain)) is None:
        raise _unknown(tx, domain)


def _unknown(tx: Tx, domain: str) -> InvalidInput:
    known = ", ".join(domains(tx)[:20])
    return InvalidInput(
        f"there is no domain {domain!r}",
        remedy=f"use one of: {known}" if known else "capture or import first",
    )


_NEWEST = (
    select(policies.c.domain, policies.c.version, cast(policies.c.document, Text).label("text"))
    .ext(distinct_on(policies.c.domain))
    .order_by(policies.c.domain, policies.c.version.desc())
)
_IN_FORCE = _NEWEST.where(policies.c.domain == bindparam("domain"))


# Every block of work asks for the policy, which hardly ever is another one.
@lru_cache(maxsize=256)
def _parsed(document: str) -> Policy:
    return Policy.model_validate_json(document)


def _write(
    tx: Tx, *, domain: str, version: int, policy: Policy, author: str, now: datetime
) -> None:
    tx.execute(
        insert(policies).values(
            domain=domain,
            version=version,
            author=author,
            document=policy.model_dump(mode="json"),
            created_at=now,
        )
    )
