"""People: accounts, sessions, tokens, failed tries to sign in, and the record of all that."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.people import ROLES, Person, Role, wait_after
from tdsys.errors import Conflict, NotFound
from tdsys.store.engine import Tx
from tdsys.store.people_schema import (
    Event,
    api_tokens,
    people_events,
    sessions,
    sign_in_failures,
    users,
)

IDLE = timedelta(hours=12)
LONGEST = timedelta(days=7)
SEEN_EVERY = timedelta(minutes=1)  # a page view is not a write
FORGOTTEN = timedelta(days=1)  # since the last failed try


class Account(NamedTuple):
    """One who may sign in, as people administration shows them."""

    id: int
    name: str
    role: Role
    domains: list[str] | None
    created_at: datetime
    disabled_at: datetime | None
    sessions: int
    seen_at: datetime | None


class Credentials(NamedTuple):
    """What a password is held against."""

    id: int
    name: str
    password: str | None
    is_disabled: bool


class Token(NamedTuple):
    """One API token, without its secret."""

    id: int
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class Happened(NamedTuple):
    """One line of the record."""

    at: datetime
    name: str
    event: str
    actor: str
    detail: str


def create(
    tx: Tx,
    *,
    name: str,
    password: str | None,
    role: Role,
    domains: Collection[str] | None,
    actor: str,
    now: datetime,
) -> int:
    """A new account, without a password for a provider's; Conflict when the name is taken."""
    made = tx.scalar(
        insert(users)
        .values(
            name=name,
            password=password,
            role=role,
            domains=None if domains is None else sorted(domains),
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(users.c.id)
    )
    if made is None:
        raise Conflict(f"there is somebody called {name!r} already", remedy="choose another name")
    note(tx, user_id=made, event=Event.CREATED, actor=actor, detail=role, now=now)
    return int(made)


def accounts(tx: Tx) -> list[Account]:
    """Everybody by name."""
    counted = func.count(sessions.c.token)
    rows = tx.execute(
        select(users, counted, func.max(sessions.c.seen_at))
        .outerjoin(sessions)
        .group_by(users.c.id)
        .order_by(users.c.name)
    )
    return [
        Account(r.id, r.name, Role(r.role), r.domains, r.created_at, r.disabled_at, *r[-2:])
        for r in rows
    ]


def credentials(tx: Tx, *, name: str) -> Credentials | None:
    """The account of that name."""
    row = tx.execute(
        select(users.c.id, users.c.name, users.c.password, users.c.disabled_at.is_not(None)).where(
            users.c.name == name
        )
    ).first()
    return Credentials(*row) if row else None


def is_taken(tx: Tx, *, name: str) -> bool:
    """Whether somebody has the name."""
    return tx.scalar(select(users.c.id).where(users.c.name == name)) is not None


def named(tx: Tx, *, name: str) -> Credentials:
    """The account of that name; NotFound when there is none."""
    found = credentials(tx, name=name)
    if found is None:
        raise NotFound(f"there is nobody called {name!r}", remedy="see `tdsys user list`")
    return found


def change(
    tx: Tx,
    *,
    user_id: int,
    role: Role,
    domains: Collection[str] | None,
    actor: str,
    now: datetime,
) -> None:
    """Another role or other domains; every session and wider token of theirs ends.

    Conflict when nobody would be left to administer.
    """
    if role is not Role.ADMIN:
        _keep_an_admin(tx, user_id)
    limited = None if domains is None else sorted(domains)
    tx.execute(update(users).where(users.c.id == user_id).values(role=role, domains=limited))
    end_sessions(tx, user_id=user_id)
    told = f"{role}, {'all domains' if limited is None else ', '.join(limited)}"
    note(tx, user_id=user_id, event=Event.CHANGED, actor=actor, detail=told, now=now)


def disable(tx: Tx, *, user_id: int, actor: str, now: datetime) -> None:
    """Let somebody sign in no longer: sessions end at once; Conflict for the last admin."""
    _keep_an_admin(tx, user_id)
    tx.execute(update(users).where(users.c.id == user_id).values(disabled_at=now))
    end_sessions(tx, user_id=user_id)
    note(tx, user_id=user_id, event=Event.DISABLED, actor=actor, now=now)


def enable(tx: Tx, *, user_id: int, actor: str, now: datetime) -> None:
    """Let somebody sign in again."""
    tx.execute(update(users).where(users.c.id == user_id).values(disabled_at=None))
    note(tx, user_id=user_id, event=Event.ENABLED, actor=actor, now=now)


def set_password(tx: Tx, *, user_id: int, password: str, actor: str, now: datetime) -> None:
    """Another password, already hashed; every session ends."""
    tx.execute(update(users).where(users.c.id == user_id).values(password=password))
    end_sessions(tx, user_id=user_id)
    note(tx, user_id=user_id, event=Event.PASSWORD, actor=actor, now=now)


def rehash(tx: Tx, *, user_id: int, password: str) -> None:
    """The same password under newer parameters."""
    tx.execute(update(users).where(users.c.id == user_id).values(password=password))


def open_session(
    tx: Tx, *, user_id: int, token: str, address: str, browser: str, now: datetime
) -> None:
    """A session for a token that nobody knew before; sessions that ended go."""
    tx.execute(
        delete(sessions).where(
            (sessions.c.seen_at < now - IDLE) | (sessions.c.created_at < now - LONGEST)
        )
    )
    tx.execute(
        insert(sessions).values(
            token=hashed(token),
            user_id=user_id,
            address=address,
            browser=browser[:200],
            created_at=now,
            seen_at=now,
        )
    )


def signed_in(tx: Tx, *, token: str, now: datetime) -> Person | None:
    """Whose session this is; None when it idled out or ended, or its person is disabled."""
    row = tx.execute(
        select(users.c.id, users.c.name, users.c.role, users.c.domains, sessions.c.seen_at)
        .join(sessions)
        .where(
            sessions.c.token == hashed(token),
            sessions.c.seen_at > now - IDLE,
            sessions.c.created_at > now - LONGEST,
            users.c.disabled_at.is_(None),
        )
    ).first()
    if row is None:
        return None
    if row.seen_at < now - SEEN_EVERY:
        tx.execute(update(sessions).where(sessions.c.token == hashed(token)).values(seen_at=now))
    return _person(row, Role(row.role))


def close_session(tx: Tx, *, token: str, now: datetime) -> None:
    """End the session of this token."""
    gone = tx.execute(
        delete(sessions)
        .where(sessions.c.token == hashed(token), sessions.c.user_id == users.c.id)
        .returning(users.c.id, users.c.name)
    ).first()
    if gone:
        note(tx, user_id=gone.id, event=Event.SIGNED_OUT, actor=gone.name, now=now)


def end_sessions(tx: Tx, *, user_id: int) -> int:
    """End every session of a person; how many there were."""
    return tx.execute(delete(sessions).where(sessions.c.user_id == user_id)).rowcount


def make_token(
    tx: Tx,
    *,
    user_id: int,
    name: str,
    secret: str,
    role: Role,
    expires_at: datetime,
    actor: str,
    now: datetime,
) -> int:
    """An API token; its number."""
    made = tx.scalar(
        insert(api_tokens)
        .values(
            user_id=user_id,
            name=name,
            secret=hashed(secret),
            role=role,
            created_at=now,
            expires_at=expires_at,
        )
        .returning(api_tokens.c.id)
    )
    note(tx, user_id=user_id, event=Event.TOKEN_MADE, actor=actor, detail=f"{made} {name}", now=now)
    return int(made or 0)


def tokens(tx: Tx, *, user_id: int, now: datetime) -> list[Token]:
    """The tokens of a person that still work, the newest first."""
    kept = api_tokens.c
    rows = tx.execute(
        select(*(kept[field] for field in Token._fields))
        .where(kept.user_id == user_id, kept.ended_at.is_(None), kept.expires_at > now)
        .order_by(kept.id.desc())
    )
    return [Token(*row)._replace(role=Role(row.role)) for row in rows]


def end_token(tx: Tx, *, user_id: int, token_id: int, actor: str, now: datetime) -> None:
    """Let a token of this person work no longer; NotFound when they have none of that number."""
    kept = api_tokens.c
    gone = tx.scalar(
        update(api_tokens)
        .where(kept.id == token_id, kept.user_id == user_id, kept.ended_at.is_(None))
        .values(ended_at=now)
        .returning(kept.name)
    )
    if gone is None:
        raise NotFound(f"you have no token {token_id}", remedy="look at the list of your tokens")
    told = f"{token_id} {gone}"
    note(tx, user_id=user_id, event=Event.TOKEN_ENDED, actor=actor, detail=told, now=now)


def end_access(tx: Tx, *, user_id: int, actor: str, now: datetime) -> None:
    """End every session and every token of a person; the account stays."""
    end_sessions(tx, user_id=user_id)
    for one in tokens(tx, user_id=user_id, now=now):
        end_token(tx, user_id=user_id, token_id=one.id, actor=actor, now=now)


def token_holder(tx: Tx, *, token_id: int, secret: str, now: datetime) -> Person | None:
    """Who speaks by this token: a person's rights, and no more than the token was made for."""
    kept = api_tokens.c
    row = tx.execute(
        select(users.c.id, users.c.name, users.c.role, users.c.domains, kept.role, kept.used_at)
        .join(api_tokens)
        .where(
            kept.id == token_id,
            kept.secret == hashed(secret),
            kept.ended_at.is_(None),
            kept.expires_at > now,
            users.c.disabled_at.is_(None),
        )
    ).first()
    if row is None:
        return None
    if row.used_at is None or row.used_at < now - SEEN_EVERY:
        tx.execute(update(api_tokens).where(kept.id == token_id).values(used_at=now))
    return _person(row, Role(row[4]))


def book_try(tx: Tx, *, name: str, address: str, now: datetime) -> int:
    """Count a try to sign in as failed before it is looked at; seconds to wait, 0: go on.

    One statement, so tries at the same moment are counted one after the other.
    """
    tried = sign_in_failures.c
    tx.execute(delete(sign_in_failures).where(tried.last_at < now - FORGOTTEN))
    key = {"name": hashed(name.strip().lower()), "address": address}
    statement = insert(sign_in_failures).values(**key, failures=1, last_at=now, free_at=now)
    booked = tx.scalar(
        statement.on_conflict_do_update(
            index_elements=[tried.name, tried.address],
            set_={
                "failures": tried.failures + 1,
                "last_at": now,
                "free_at": literal(now) + _wait(tried.failures + 1),
            },
            where=tried.free_at <= now,
        ).returning(tried.failures)
    )
    if booked is not None:
        return 0
    free_at = tx.scalar(
        select(tried.free_at).where(tried.name == key["name"], tried.address == address)
    )
    return max(1, round((free_at - now).total_seconds())) if free_at else 1


def refuse(tx: Tx, *, name: str, address: str, user_id: int | None, now: datetime) -> None:
    """A wrong password: for a name nobody has, too, a row is written, and takes as long."""
    tried = sign_in_failures.c
    tx.execute(
        update(sign_in_failures)
        .where(tried.name == hashed(name.strip().lower()), tried.address == address)
        .values(last_at=now)
    )
    if user_id is not None:
        note(tx, user_id=user_id, event=Event.REFUSED, actor=address, now=now)


def forgive(tx: Tx, *, name: str, address: str) -> None:
    """Forget the failed tries of a name from an address: it signed in."""
    tried = sign_in_failures.c
    tx.execute(
        delete(sign_in_failures).where(
            tried.name == hashed(name.strip().lower()), tried.address == address
        )
    )


def note(
    tx: Tx, *, user_id: int, event: Event, actor: str, now: datetime, detail: str = ""
) -> None:
    """Write down what happened to a person's account."""
    line = {"user_id": user_id, "event": event, "actor": actor, "detail": detail, "at": now}
    tx.execute(insert(people_events).values(line))


def happened(tx: Tx, *, limit: int, user_id: int | None = None) -> list[Happened]:
    """The record, the newest first; of one person if named."""
    told = people_events.c
    wanted = select(told.at, users.c.name, told.event, told.actor, told.detail).join(users)
    if user_id is not None:
        wanted = wanted.where(told.user_id == user_id)
    rows = tx.execute(wanted.order_by(told.at.desc(), told.id.desc()).limit(limit))
    return [Happened(*row) for row in rows]


def hashed(token: str) -> bytes:
    """How a random token is kept: it has 256 bits, so no salt and no slow hash are needed."""
    return hashlib.sha256(token.encode()).digest()


def _person(row: Any, scope: Role) -> Person:
    role = Role(row.role)
    domains = None if row.domains is None else frozenset(row.domains)
    return Person(row.id, row.name, role, ROLES[role] & ROLES[scope], domains)


def _wait(failures: ColumnElement[int]) -> ColumnElement[timedelta]:
    steps = {n: timedelta(seconds=wait_after(n)) for n in range(1, 11)}
    return case(steps, value=failures, else_=literal(timedelta(seconds=wait_after(11))))


def _keep_an_admin(tx: Tx, user_id: int) -> None:
    """Hold every admin's row, so that two who disable each other do it one after the other."""
    is_admin = (users.c.role == Role.ADMIN) & users.c.disabled_at.is_(None)
    admins = tx.scalars(select(users.c.id).where(is_admin).order_by(users.c.id).with_for_update())
    if set(admins) == {user_id}:
        raise Conflict(
            "nobody would be left to administer people", remedy="make somebody else an admin first"
        )
