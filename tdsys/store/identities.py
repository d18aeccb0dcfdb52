"""Who somebody at an identity provider is here, and questions to a provider under way."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.people import Role
from tdsys.errors import Conflict, NotFound
from tdsys.store import people
from tdsys.store.engine import Tx
from tdsys.store.identity_schema import identities, provider_visits
from tdsys.store.people import hashed
from tdsys.store.people_schema import Event, users

LASTS = timedelta(minutes=10)  # for somebody to sign in at the provider


class Known(NamedTuple):
    """The account of an identity."""

    user_id: int
    name: str
    role: Role
    domains: list[str] | None
    is_disabled: bool
    follows: bool


class Connection(NamedTuple):
    """An identity of a person, as the account's page shows it."""

    id: int
    issuer: str
    subject: str
    created_at: datetime
    seen_at: datetime


class Question(NamedTuple):
    """What was asked of the provider, and for whom."""

    nonce: str
    verifier: str
    next: str
    user_id: int | None


def find(tx: Tx, *, issuer: str, subject: str, now: datetime) -> Known | None:
    """Whose account this identity signs in to; that it was seen is written down."""
    held = identities.c
    row = tx.execute(
        update(identities)
        .where(held.issuer == issuer, held.subject == subject, users.c.id == held.user_id)
        .values(seen_at=now)
        .returning(
            users.c.id, users.c.name, users.c.role, users.c.domains,
            users.c.disabled_at.is_not(None), held.follows,
        )
    ).first()  # fmt: skip
    return Known(*row)._replace(role=Role(row.role)) if row else None


def connect(
    tx: Tx, *, user_id: int, issuer: str, subject: str, follows: bool, actor: str, now: datetime
) -> None:
    """Tie an identity to an account; Conflict when it is another's, or is tied already."""
    made = tx.scalar(
        insert(identities)
        .values(issuer=issuer, subject=subject, user_id=user_id, follows=follows,
                created_at=now, seen_at=now)
        .on_conflict_do_nothing()
        .returning(identities.c.id)
    )  # fmt: skip
    if made is None:
        raise Conflict(
            "that identity signs in to an account here already",
            remedy="sign out, and sign in with it",
        )
    people.note(tx, user_id=user_id, event=Event.CONNECTED, actor=actor, detail=issuer, now=now)


def connections(tx: Tx, *, user_id: int) -> list[Connection]:
    """A person's identities, the oldest first."""
    held = identities.c
    rows = tx.execute(
        select(*(held[name] for name in Connection._fields))
        .where(held.user_id == user_id)
        .order_by(held.id)
    )
    return [Connection(*row) for row in rows]


def disconnect(tx: Tx, *, user_id: int, number: int, actor: str, now: datetime) -> None:
    """Let an identity sign in to this account no longer.

    NotFound when the person has none of that number, Conflict when nothing else would let them in.
    """
    held = identities.c
    has_password = select(users.c.password.is_not(None)).where(users.c.id == user_id)
    if not tx.scalar(has_password.with_for_update()):
        raise Conflict(
            "you have no password, so this is the only way in",
            remedy="ask an admin for a password first",
        )
    issuer = tx.scalar(
        delete(identities)
        .where(held.id == number, held.user_id == user_id)
        .returning(held.issuer)
    )  # fmt: skip
    if issuer is None:
        raise NotFound(f"you have no connection {number}", remedy="look at the list of them")
    people.note(tx, user_id=user_id, event=Event.DISCONNECTED, actor=actor, detail=issuer, now=now)


def ask(
    tx: Tx, *, state: str, browser: str, question: Question, address: str, now: datetime
) -> int:
    """Write a question down; how many of this address are open. Those that are too old go."""
    kept = provider_visits.c
    tx.execute(delete(provider_visits).where(kept.created_at < now - LASTS))
    tx.execute(
        insert(provider_visits).values(
            state=hashed(state),
            browser=hashed(browser),
            address=address,
            created_at=now,
            **question._asdict(),
        )
    )
    here = select(func.count()).select_from(provider_visits).where(kept.address == address)
    return int(tx.scalar(here) or 0)


def answer(tx: Tx, *, state: str, browser: str, now: datetime) -> Question | None:
    """The question of this browser that is answered now: the first answer takes it away."""
    kept = provider_visits.c
    row = tx.execute(
        delete(provider_visits)
        .where(
            kept.state == hashed(state),
            kept.browser == hashed(browser),
            kept.created_at >= now - LASTS,
        )
        .returning(*(kept[name] for name in Question._fields))
    ).first()
    return Question(*row) if row else None
