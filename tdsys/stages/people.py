"""People administration: who may sign in, as what, and in which domains."""

from __future__ import annotations

from datetime import datetime

from tdsys.core.people import (
    ROLES,
    Person,
    check_domains,
    check_name,
    check_password,
    check_role,
)
from tdsys.stages.passwords import Passwords
from tdsys.store import Store, people
from tdsys.store.people import Account, Happened
from tdsys.store.people_schema import Event


def create(
    store: Store,
    passwords: Passwords,
    *,
    name: str,
    password: str,
    role: str,
    domains: list[str] | None = None,
    actor: str,
    now: datetime,
) -> int:
    """Somebody new; InvalidInput for a bad name, password, role or domain, Conflict when known."""
    small, wanted = check_name(name), check_role(role)
    limited = check_domains(wanted, domains)
    kept = passwords.hash(check_password(password, name=small))
    with store.begin() as tx:
        return people.create(
            tx, name=small, password=kept, role=wanted, domains=limited, actor=actor, now=now
        )


def change(
    store: Store, *, name: str, role: str, domains: list[str] | None, actor: str, now: datetime
) -> None:
    """Another role or other domains: whoever it is has to sign in anew."""
    wanted = check_role(role)
    limited = check_domains(wanted, domains)
    with store.begin() as tx:
        found = people.named(tx, name=name)
        people.change(tx, user_id=found.id, role=wanted, domains=limited, actor=actor, now=now)


def set_password(
    store: Store, passwords: Passwords, *, name: str, password: str, actor: str, now: datetime
) -> None:
    """Another password, by an admin: every session of theirs ends."""
    kept = passwords.hash(check_password(password, name=name))
    with store.begin() as tx:
        found = people.named(tx, name=name)
        people.set_password(tx, user_id=found.id, password=kept, actor=actor, now=now)


def disable(store: Store, *, name: str, actor: str, now: datetime) -> None:
    """Let somebody sign in no longer; what they decided stays theirs."""
    with store.begin() as tx:
        people.disable(tx, user_id=people.named(tx, name=name).id, actor=actor, now=now)


def enable(store: Store, *, name: str, actor: str, now: datetime) -> None:
    """Let somebody sign in again."""
    with store.begin() as tx:
        people.enable(tx, user_id=people.named(tx, name=name).id, actor=actor, now=now)


def revoke(store: Store, *, name: str, actor: str, now: datetime) -> int:
    """End every session of somebody; how many there were."""
    with store.begin() as tx:
        found = people.named(tx, name=name)
        ended = people.end_sessions(tx, user_id=found.id)
        told = f"{ended} sessions"
        people.note(tx, user_id=found.id, event=Event.REVOKED, actor=actor, detail=told, now=now)
    return ended


def listed(store: Store) -> list[Account]:
    """Everybody by name."""
    with store.begin() as tx:
        return people.accounts(tx)


def person(store: Store, *, name: str) -> Person:
    """The person of that name, as signed in; NotFound when there is none."""
    with store.begin() as tx:
        wanted = people.named(tx, name=name)
        found = next(one for one in people.accounts(tx) if one.id == wanted.id)
    domains = None if found.domains is None else frozenset(found.domains)
    return Person(found.id, found.name, found.role, ROLES[found.role], domains)


def record(store: Store, *, limit: int = 50) -> list[Happened]:
    """What happened to accounts lately, the newest first."""
    with store.begin() as tx:
        return people.happened(tx, limit=limit)
