"""What people say of what they hold: compared and set in one transaction, written down for ever."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.lifecycle import Move, State
from tdsys.core.reviewing import WORDS, Act
from tdsys.errors import Conflict
from tdsys.store import examples as moving
from tdsys.store import policies
from tdsys.store.engine import Tx
from tdsys.store.review_schema import review_events, review_skips, reviews
from tdsys.store.reviews import claims, contents
from tdsys.store.reviews.claims import NOBODY
from tdsys.store.reviews.contents import Edit
from tdsys.store.schema import examples, transitions

AWAY = timedelta(minutes=30)
STANDING = [act.value for act in (Act.APPROVE, Act.REJECT, Act.FLAG)]
MOVES = {Act.APPROVE: Move.APPROVE, Act.REJECT: Move.REJECT, Act.EDIT: Move.EDIT}
# What an undo has to bring back.
KEPT = ("entry", "rank", "why", "needs", "for_curator", "version", "entered_at", "valued_at")


class Form(NamedTuple):
    """What somebody sends: which hold it was said under, and what."""

    example_id: int
    token: UUID
    version: int
    act: Act
    reason: str = ""
    detail: str = ""
    edit: Edit | None = None


class Said(NamedTuple):
    """What came of it; `repeated` when the same form was here before."""

    event_id: int
    example_id: int
    act: Act
    state: State
    repeated: bool = False


def decide(tx: Tx, *, form: Form, person: str, now: datetime) -> Said:
    """Do what the form says, once; Conflict, and nothing changed, when it is not theirs now."""
    held = tx.execute(
        select(reviews).where(reviews.c.example_id == form.example_id).with_for_update()
    ).one_or_none()
    if earlier := _earlier(tx, form, person):
        return earlier
    if held is None or not _is_theirs(held, form, person, now):
        raise _gone(held, form, person, now)
    example = tx.execute(
        select(examples).where(examples.c.id == form.example_id).with_for_update()
    ).one()
    version = policies.version_of(tx, example_id=form.example_id)
    moved = _act(tx, held, form, person, version, now)
    claims.forget_draft(tx, example_id=form.example_id, person=person)
    to = State(tx.scalars(select(examples.c.state).where(examples.c.id == form.example_id)).one())
    event_id = tx.scalars(
        insert(review_events)
        .values(
            example_id=form.example_id,
            entry=held.entry,
            token=form.token,
            person=person,
            act=form.act.value,
            reason=form.reason,
            detail=form.detail,
            before=before(example, held),
            after={"state": to.value, "version": held.version + 1},
            seconds=max(0.0, (now - held.claimed_at).total_seconds()),
            policy_version=version,
            transition_id=moved,
            at=now,
        )
        .returning(review_events.c.id)
    ).one()
    return Said(event_id, form.example_id, form.act, to)


def before(example: Row[Any], held: Row[Any]) -> dict[str, Any]:
    """How an example and its place in the queue stand, to be brought back."""
    return {
        "example": {
            "state": example.state,
            "reason": example.reason,
            "quality": example.quality,
            "moved_at": example.moved_at.isoformat(),
        },
        "review": {name: _plain(getattr(held, name)) for name in KEPT},
    }


def last_transition(tx: Tx, example_id: int) -> int | None:
    """The newest move of an example."""
    found: int | None = tx.scalar(
        select(func.max(transitions.c.id)).where(transitions.c.example_id == example_id)
    )
    return found


def _act(
    tx: Tx, held: Row[Any], form: Form, person: str, version: int, now: datetime
) -> int | None:
    """The transition it made, if any."""
    if form.act in WORDS and (for_good := _for_good(tx, held, form)) is not None:
        if for_good:
            return _move(tx, form, person, version, now)
        _settle(tx, held, for_curator=True)
    elif form.act is Act.SKIP:
        until = {"until": now + AWAY}
        tx.execute(
            insert(review_skips)
            .values(example_id=form.example_id, person=person, **until)
            .on_conflict_do_update(index_elements=["example_id", "person"], set_=until)
        )
        _settle(tx, held, for_curator=held.for_curator)
    else:
        _settle(tx, held, for_curator=held.for_curator or form.act is Act.FLAG)
    return None


def _for_good(tx: Tx, held: Row[Any], form: Form) -> bool | None:
    """Whether this word moves the example; None: a second is wanted, False: the two differ.

    An edit always does: there is nothing left that a second could judge blind.
    """
    if held.needs == 1 or held.for_curator or form.act is Act.EDIT:
        return True
    first = tx.scalar(
        select(review_events.c.act)
        .where(
            review_events.c.example_id == held.example_id,
            review_events.c.entry == held.entry,
            review_events.c.act.in_([word.value for word in WORDS]),
            ~undone(),
        )
        .limit(1)
    )
    return None if first is None else first == form.act.value


def standing() -> Any:
    """Acts that moved nothing yet and were not taken back: a flag, one word where two are asked."""
    return and_(
        review_events.c.act.in_(STANDING), review_events.c.transition_id.is_(None), ~undone()
    )


def waits_on_a_word() -> Any:
    """Whether somebody said something of an example of the query in its present stay."""
    return (
        select(review_events.c.id)
        .join(
            reviews,
            and_(
                reviews.c.example_id == review_events.c.example_id,
                reviews.c.entry == review_events.c.entry,
            ),
        )
        .where(review_events.c.example_id == examples.c.id, standing())
        .correlate(examples)
        .exists()
    )


def undone() -> Any:
    """Whether an event was taken back."""
    back = review_events.alias("back")
    return select(back.c.id).where(back.c.undoes == review_events.c.id).exists()


def _move(tx: Tx, form: Form, person: str, version: int, now: datetime) -> int | None:
    if form.act is Act.EDIT:
        assert form.edit is not None  # noqa: S101  # the stage read it
        contents.replace(
            tx, example_id=form.example_id, edit=form.edit, editor=person, vouched=True, now=now
        )
    moving.move(
        tx,
        example_id=form.example_id,
        move=MOVES[form.act],
        reason=form.reason or f"{form.act}_by_person",
        detail=form.detail,
        actor=person,
        policy_version=version,
        now=now,
    )
    return last_transition(tx, form.example_id)


def _settle(tx: Tx, held: Row[Any], *, for_curator: bool) -> None:
    tx.execute(
        update(reviews)
        .where(reviews.c.example_id == held.example_id)
        .values(version=held.version + 1, for_curator=for_curator, **NOBODY)
    )


def _earlier(tx: Tx, form: Form, person: str) -> Said | None:
    row = tx.execute(
        select(review_events).where(
            review_events.c.token == form.token,
            review_events.c.person == person,
            review_events.c.example_id == form.example_id,
        )
    ).one_or_none()
    if row is None:
        return None
    return Said(row.id, row.example_id, Act(row.act), State(row.after["state"]), repeated=True)


def _is_theirs(held: Row[Any], form: Form, person: str, now: datetime) -> bool:
    return bool(
        held.token == form.token
        and held.version == form.version
        and held.claimed_by == person
        and held.leased_until > now
    )


def _gone(held: Row[Any] | None, form: Form, person: str, now: datetime) -> Conflict:
    remedy = "nothing was changed; go on with the next one"
    if held is None:
        return Conflict("somebody else has decided this example", remedy=remedy)
    if held.claimed_by == person and held.token == form.token and held.leased_until <= now:
        said = "your time with this example ran out before you decided"
        return Conflict(said, remedy="nothing was changed; it is back in the queue, take it again")
    return Conflict("this example is in somebody else's hands now", remedy=remedy)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
