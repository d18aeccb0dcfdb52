"""Whose turn an example is: one person at a time, by a lease with a token nobody can guess."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.reviewing import WORDS
from tdsys.store import policies
from tdsys.store.engine import Tx
from tdsys.store.review_schema import review_drafts, review_events, review_skips, reviews

NOBODY = {"claimed_by": None, "token": None, "claimed_at": None, "leased_until": None}
COUNTED = 1000


class Wish(NamedTuple):
    """What somebody wants to look at: `domains` are all they may see, None for every one."""

    person: str
    domains: Collection[str] | None = None
    domain: str | None = None
    topic: str | None = None
    for_curator: bool = False


class Held(NamedTuple):
    """An example that is somebody's for a while; `why` says what a look at it is worth."""

    example_id: int
    domain: str
    entry: UUID
    version: int
    token: UUID
    leased_until: datetime
    why: list[dict[str, Any]]
    needs: int
    for_curator: bool


def claim(tx: Tx, *, wish: Wish, lease: timedelta, now: datetime) -> Held | None:
    """The most valuable example that is free, or the one they hold already; None: nothing waits."""
    mine = and_(reviews.c.claimed_by == wish.person, reviews.c.leased_until > now)
    if held := _take(tx, select(reviews.c.example_id).where(
        mine, *_wanted(tx, wish)
    ).order_by(reviews.c.claimed_at.desc()).limit(1).with_for_update(), wish, lease, now,
                     fresh=False):  # fmt: skip
        return held
    return _take(tx, _next(tx, wish, now), wish, lease, now, fresh=True)


def holding(tx: Tx, *, person: str, domains: Collection[str] | None, now: datetime) -> Held | None:
    """What somebody holds, if anything."""
    row = tx.execute(
        select(*(reviews.c[name] for name in Held._fields))
        .where(
            reviews.c.claimed_by == person,
            reviews.c.leased_until > now,
            true() if domains is None else reviews.c.domain.in_(domains),
        )
        .order_by(reviews.c.claimed_at.desc())
        .limit(1)
    ).one_or_none()
    return Held(*row) if row else None


def extend(tx: Tx, *, token: UUID, person: str, lease: timedelta, now: datetime) -> bool:
    """Hold it longer; False when it is no longer theirs."""
    kept = tx.scalar(
        update(reviews)
        .where(
            reviews.c.token == token, reviews.c.claimed_by == person, reviews.c.leased_until > now
        )
        .values(leased_until=now + lease)
        .returning(reviews.c.example_id)
    )
    return kept is not None


def let_go(tx: Tx, *, person: str) -> None:
    """Whatever they hold is free again."""
    tx.execute(update(reviews).where(reviews.c.claimed_by == person).values(NOBODY))


def waiting_count(tx: Tx, *, wish: Wish) -> int:
    """How many wait for this wish; counting stops at COUNTED."""
    some = select(reviews.c.example_id).where(*_wanted(tx, wish)).limit(COUNTED).subquery()
    return tx.scalar(select(func.count()).select_from(some)) or 0


def save_draft(tx: Tx, *, token: UUID, person: str, content: dict[str, Any], now: datetime) -> bool:
    """Keep what somebody types about what they hold; False when it is no longer theirs."""
    example_id = tx.scalar(
        select(reviews.c.example_id).where(reviews.c.token == token, reviews.c.claimed_by == person)
    )
    if example_id is None:
        return False
    kept = {"content": content, "at": now}
    tx.execute(
        insert(review_drafts)
        .values(example_id=example_id, person=person, **kept)
        .on_conflict_do_update(index_elements=["example_id", "person"], set_=kept)
    )
    return True


def draft(tx: Tx, *, example_id: int, person: str) -> dict[str, Any] | None:
    """What they typed about it and did not send."""
    found: dict[str, Any] | None = tx.scalar(
        select(review_drafts.c.content).where(
            review_drafts.c.example_id == example_id, review_drafts.c.person == person
        )
    )
    return found


def forget_draft(tx: Tx, *, example_id: int, person: str) -> None:
    """It was sent."""
    tx.execute(
        delete(review_drafts).where(
            review_drafts.c.example_id == example_id, review_drafts.c.person == person
        )
    )


def hold(tx: Tx, *, example_id: int, person: str, lease: timedelta, now: datetime) -> None:
    """Give it to somebody, whoever had it."""
    tx.execute(
        update(reviews)
        .where(reviews.c.example_id == example_id)
        .values(claimed_by=person, token=uuid.uuid4(), claimed_at=now, leased_until=now + lease)
    )


def _take(
    tx: Tx, which: Select[tuple[int]], wish: Wish, lease: timedelta, now: datetime, *, fresh: bool
) -> Held | None:
    new = {"claimed_by": wish.person, "token": uuid.uuid4(), "claimed_at": now}
    row = tx.execute(
        update(reviews)
        .where(reviews.c.example_id == which.scalar_subquery())
        .values(leased_until=now + lease, **(new if fresh else {}))
        .returning(*(reviews.c[name] for name in Held._fields))
    ).one_or_none()
    return Held(*row) if row else None


def _names(tx: Tx, wish: Wish) -> list[str]:
    if wish.domain is not None:
        seen = wish.domains is None or wish.domain in wish.domains
        return [wish.domain] if seen else []
    return policies.domains(tx) if wish.domains is None else sorted(wish.domains)


def _wanted(tx: Tx, wish: Wish) -> list[ColumnElement[bool]]:
    return [
        reviews.c.domain.in_(_names(tx, wish)),
        reviews.c.for_curator.is_(wish.for_curator),
        true() if wish.topic is None else reviews.c.topic == wish.topic,
    ]


def _next(tx: Tx, wish: Wish, now: datetime) -> Select[tuple[int]]:
    """The first of each domain by its index, then the first of those."""
    names = (
        func.unnest(literal(_names(tx, wish), ARRAY(Text)))
        .table_valued("domain")
        .render_derived(name="theirs")
    )
    first = (
        select(reviews.c.example_id, reviews.c.rank)
        .where(
            reviews.c.domain == names.c.domain,
            reviews.c.for_curator.is_(wish.for_curator),
            true() if wish.topic is None else reviews.c.topic == wish.topic,
            or_(reviews.c.leased_until.is_(None), reviews.c.leased_until <= now),
            ~_skipped(wish.person, now),
            or_(reviews.c.needs == 1, reviews.c.for_curator, ~_spoke(wish.person)),
        )
        .order_by(reviews.c.rank.desc(), reviews.c.example_id)
        .limit(1)
        .with_for_update(skip_locked=True, of=reviews)
        .lateral("first")
    )
    return (
        select(first.c.example_id)
        .select_from(names)
        .join(first, true())
        .order_by(first.c.rank.desc(), first.c.example_id)
        .limit(1)
    )


def _skipped(person: str, now: datetime) -> ColumnElement[bool]:
    return (
        select(review_skips.c.until)
        .where(
            review_skips.c.example_id == reviews.c.example_id,
            review_skips.c.person == person,
            review_skips.c.until > now,
        )
        .exists()
    )


def _spoke(person: str) -> ColumnElement[bool]:
    """Whether they gave their word in this stay and did not take it back."""
    back = review_events.alias("back")
    return (
        select(review_events.c.id)
        .where(
            review_events.c.example_id == reviews.c.example_id,
            review_events.c.entry == reviews.c.entry,
            review_events.c.person == person,
            review_events.c.act.in_([word.value for word in WORDS]),
            ~select(back.c.id).where(back.c.undoes == review_events.c.id).exists(),
        )
        .exists()
    )
