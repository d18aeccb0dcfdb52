"""Signing in and out, and what a person does with the own account."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from tdsys.core.people import (
    LONGEST_PASSWORD,
    ROLES,
    Person,
    Role,
    check_password,
    check_role,
)
from tdsys.errors import InvalidInput, NotAllowed
from tdsys.stages.pacing import TooSoon
from tdsys.stages.passwords import Passwords
from tdsys.store import Store, people
from tdsys.store.people import Credentials, Token
from tdsys.store.people_schema import Event

TOKEN_BYTES = 32
LONGEST_TOKEN_DAYS = 366
_TOKEN = re.compile(r"tds_(\d{1,18})_([\w-]{20,100})", re.ASCII)


class WrongPassword(InvalidInput):
    """Name and password do not belong together; which of them is wrong is never said."""

    def __init__(self) -> None:
        super().__init__(
            "this name and password do not belong together",
            remedy="check both; an admin can set another password",
        )


class TooManyTries(TooSoon):
    """Too many wrong passwords for a name from an address, whether there is such a name or not."""

    def __init__(self, wait: int) -> None:
        super().__init__("too many tries to sign in", wait)


class Where(NamedTuple):
    """Where a request came from."""

    address: str
    browser: str = ""


def sign_in(
    store: Store, passwords: Passwords, *, name: str, password: str, where: Where, now: datetime
) -> str:
    """The token of a new session; WrongPassword or TooManyTries."""
    found = _proved(store, passwords, name=name, password=password, where=where, now=now)
    if found.password and passwords.is_outdated(found.password):
        again = passwords.hash(password)
        with store.begin() as tx:
            people.rehash(tx, user_id=found.id, password=again)
    return open_session(store, user_id=found.id, where=where, now=now)


def _proved(
    store: Store, passwords: Passwords, *, name: str, password: str, where: Where, now: datetime
) -> Credentials:
    """Who knows this password.

    The try is counted as failed before the password is looked at, so tries at the same moment
    are no way around the limit; and it is looked at within no transaction.
    """
    with store.begin() as tx:
        wait = people.book_try(tx, name=name, address=where.address, now=now)
        found = people.credentials(tx, name=name.strip().lower())
    if wait:
        raise TooManyTries(wait)
    kept = found.password if found and not found.is_disabled else None
    matches = passwords.match(kept, password[: LONGEST_PASSWORD + 1])
    with store.begin() as tx:
        if matches:
            people.forgive(tx, name=name, address=where.address)
        else:
            user_id = found.id if found else None
            people.refuse(tx, name=name, address=where.address, user_id=user_id, now=now)
    if found is None or not matches:
        raise WrongPassword
    return found


def open_session(
    store: Store, *, user_id: int, where: Where, now: datetime, vouched: str = ""
) -> str:
    """The token of a new session, for somebody who has proved who it is; `vouched` by whom."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    address, browser = where
    with store.begin() as tx:
        people.open_session(
            tx, user_id=user_id, token=token, address=address, browser=browser, now=now
        )
        people.note(
            tx, user_id=user_id, event=Event.SIGNED_IN, actor=address, detail=vouched, now=now
        )
    return token


def sign_out(store: Store, *, token: str, now: datetime) -> None:
    """End one session."""
    with store.begin() as tx:
        people.close_session(tx, token=token, now=now)


def who(store: Store, *, token: str, now: datetime) -> Person | None:
    """Whose session this is."""
    with store.begin() as tx:
        return people.signed_in(tx, token=token, now=now)


def who_speaks(store: Store, *, token: str, now: datetime) -> Person | None:
    """Whose API token this is: `tds_NUMBER_SECRET`."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return None
    with store.begin() as tx:
        return people.token_holder(tx, token_id=int(parts[1]), secret=parts[2], now=now)


def change_password(
    store: Store,
    passwords: Passwords,
    person: Person,
    *,
    old: str,
    new: str,
    where: Where,
    now: datetime,
) -> str:
    """Another password: every session ends; the token of a new one."""
    check_password(new, name=person.name)
    _proved(store, passwords, name=person.name, password=old, where=where, now=now)
    kept = passwords.hash(new)
    with store.begin() as tx:
        people.set_password(tx, user_id=person.id, password=kept, actor=person.name, now=now)
    return open_session(store, user_id=person.id, where=where, now=now)


def make_token(
    store: Store, person: Person, *, name: str, role: str, days: int, actor: str, now: datetime
) -> str:
    """An API token, shown this once; NotAllowed for more than the person may do."""
    wanted = check_role(role)
    if not 1 <= days <= LONGEST_TOKEN_DAYS:
        raise InvalidInput(
            f"a token cannot last {days} days", remedy=f"choose 1 to {LONGEST_TOKEN_DAYS}"
        )
    if not name.strip():
        raise InvalidInput("the token has no name", remedy="name what will use it")
    if not ROLES[wanted] <= person.rights:
        raise NotAllowed(
            f"a token cannot be an {wanted}'s when you are no such",
            remedy=f"choose {Role(person.role)} or less",
        )
    secret = secrets.token_urlsafe(TOKEN_BYTES)
    with store.begin() as tx:
        number = people.make_token(
            tx,
            user_id=person.id,
            name=name.strip(),
            secret=secret,
            role=wanted,
            expires_at=now + timedelta(days=days),
            actor=actor,
            now=now,
        )
    return f"tds_{number}_{secret}"


def tokens(store: Store, person: Person, *, now: datetime) -> list[Token]:
    """A person's tokens that work."""
    with store.begin() as tx:
        return people.tokens(tx, user_id=person.id, now=now)


def end_token(store: Store, person: Person, *, token_id: int, now: datetime) -> None:
    """Let a token work no longer."""
    with store.begin() as tx:
        people.end_token(tx, user_id=person.id, token_id=token_id, actor=person.name, now=now)
