"""Take back what one said a moment ago: everything is as it was, and both are on record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.lifecycle import Move, State, after
from tdsys.core.reviewing import Act
from tdsys.errors import Conflict
from tdsys.store import attributions, programs
from tdsys.store.engine import Tx
from tdsys.store.review_schema import review_events, review_skips, reviews
from tdsys.store.reviews import claims, contents
from tdsys.store.reviews.contents import Edit
from tdsys.store.reviews.decisions import KEPT, Said, last_transition, standing, undone
from tdsys.store.schema import examples, transitions

FOR = timedelta(minutes=10)
MOMENTS = ("entered_at", "valued_at")
LATER = "nothing was changed; find the example in the list and move it there"


def undo(tx: Tx, *, person: str, token: UUID, lease: timedelta, now: datetime) -> Said:
    """Take back one's own last act and hold the example again; `token` names this request.

    Conflict when there is none of the last minutes, or something happened to the example since.
    """
    said = _last(tx, person, token, now)
    if said.act == Act.UNDO:
        return Said(said.id, said.example_id, Act.UNDO, State.IN_REVIEW, repeated=True)
    # Before the example, as who decides does it: so neither waits for the other in a circle.
    if said.transition_id is None:
        _require_untouched(tx, said, person, now)
    example = tx.execute(
        select(examples).where(examples.c.id == said.example_id).with_for_update()
    ).one()
    if said.transition_id is not None:
        _bring_back(tx, said, example, person, now)
    claims.let_go(tx, person=person)
    _requeue(tx, said)
    claims.hold(tx, example_id=said.example_id, person=person, lease=lease, now=now)
    event_id = _write(tx, said, example, person, token, now)
    return Said(event_id, said.example_id, Act.UNDO, State.IN_REVIEW)


def resume_stays(tx: Tx, *, since: Mapping[int, datetime]) -> None:
    """Go on with the stays in the queue that began then, as people left them.

    Whose word is still wanted, and what was said, are not lost by moving examples there and back.
    """
    rows = tx.execute(
        select(review_events.c.example_id, review_events.c.entry, review_events.c.act,
               review_events.c.at, review_events.c.before)
        .where(review_events.c.example_id.in_(since), standing())
        .order_by(review_events.c.id)
    ).all()  # fmt: skip
    here = [row for row in rows if row.at >= since[row.example_id]]
    acts: dict[int, set[str]] = {}
    for row in here:
        said = acts.setdefault(row.example_id, set())
        said.add(row.act)
        tx.execute(
            update(reviews)
            .where(reviews.c.example_id == row.example_id)
            .values(
                entry=row.entry,
                needs=row.before["review"]["needs"],
                for_curator=Act.FLAG.value in said or len(said) > 1,
            )
        )


def _last(tx: Tx, person: str, token: UUID, now: datetime) -> Row[Any]:
    earlier = tx.execute(
        select(review_events).where(
            review_events.c.token == token, review_events.c.person == person
        )
    ).one_or_none()
    if earlier is not None and earlier.act == Act.UNDO:
        return earlier
    said = tx.execute(
        select(review_events)
        .where(
            review_events.c.person == person,
            review_events.c.at > now - FOR,
            review_events.c.act != Act.UNDO.value,
            ~undone(),
        )
        .order_by(review_events.c.id.desc())
        .limit(1)
    ).one_or_none()
    if said is None:
        minutes = int(FOR.total_seconds() // 60)
        raise Conflict(
            f"you decided nothing in the last {minutes} minutes that could be taken back",
            remedy="find the example in the list and move it there",
        )
    return said


def _require_untouched(tx: Tx, said: Row[Any], person: str, now: datetime) -> None:
    row = tx.execute(
        select(reviews).where(reviews.c.example_id == said.example_id).with_for_update()
    ).one_or_none()
    if row is None or row.entry != said.entry or row.version != said.after["version"]:
        raise Conflict("something happened to this example since", remedy=LATER)
    if row.claimed_by not in (None, person) and row.leased_until > now:
        raise Conflict("somebody else is looking at this example", remedy=LATER)


def _bring_back(tx: Tx, said: Row[Any], example: Row[Any], person: str, now: datetime) -> None:
    if last_transition(tx, said.example_id) != said.transition_id:
        raise Conflict("something happened to this example since", remedy=LATER)
    if said.act == Act.EDIT:
        _restore(tx, said.example_id, person, now)
    was = said.before["example"]
    tx.execute(
        update(examples)
        .where(examples.c.id == said.example_id)
        .values(
            state=after(State(example.state), Move.UNDO).value,
            reason=was["reason"],
            quality=was["quality"],
            moved_at=datetime.fromisoformat(was["moved_at"]),
            due_at=None,
        )
    )
    tx.execute(
        insert(transitions).values(
            example_id=said.example_id,
            from_state=example.state,
            to_state=State.IN_REVIEW.value,
            move=Move.UNDO.value,
            reason=was["reason"] or "",
            detail=f"{person} took back: {said.act}",
            actor=person,
            policy_version=said.policy_version,
            score_id=_score_before(tx, said),
            at=now,
        )
    )
    if example.state == State.ADMITTED:
        programs.outdate(tx, example_ids=[said.example_id])
        attributions.outdate(tx, example_ids=[said.example_id])


def _restore(tx: Tx, example_id: int, person: str, now: datetime) -> None:
    """The content of before the last edit, vouched for by whoever vouched for it then."""
    *older, last = contents.revisions(tx, example_id=example_id)
    editor, vouched = (older[-1].editor, older[-1].vouched) if older else (person, False)
    edit = Edit(last.payload["inputs"], last.payload["outputs"])
    contents.replace(tx, example_id=example_id, edit=edit, editor=editor, vouched=vouched, now=now)


def _score_before(tx: Tx, said: Row[Any]) -> int | None:
    """The score that the move before the undone one was made on."""
    found: int | None = tx.scalar(
        select(transitions.c.score_id)
        .where(transitions.c.example_id == said.example_id, transitions.c.id < said.transition_id)
        .order_by(transitions.c.id.desc())
        .limit(1)
    )
    return found


def _requeue(tx: Tx, said: Row[Any]) -> None:
    """Its place in the queue as it was, but for the version: an old form must not fit."""
    was = {name: said.before["review"][name] for name in KEPT}
    for name in MOMENTS:
        was[name] = datetime.fromisoformat(was[name]) if was[name] else None
    was |= {"entry": UUID(was["entry"]), "version": said.after["version"] + 1}
    tx.execute(update(reviews).where(reviews.c.example_id == said.example_id).values(was))
    tx.execute(
        delete(review_skips).where(
            review_skips.c.example_id == said.example_id, review_skips.c.person == said.person
        )
    )


def _write(
    tx: Tx, said: Row[Any], example: Row[Any], person: str, token: UUID, now: datetime
) -> int:
    event_id: int = tx.scalars(
        insert(review_events)
        .values(
            example_id=said.example_id,
            entry=said.entry,
            token=token,
            person=person,
            act=Act.UNDO.value,
            reason="",
            detail=said.act,
            before={"state": example.state},
            after={"state": State.IN_REVIEW.value, "version": said.after["version"] + 1},
            seconds=0,
            policy_version=said.policy_version,
            transition_id=last_transition(tx, said.example_id) if said.transition_id else None,
            undoes=said.id,
            at=now,
        )
        .returning(review_events.c.id)
    ).one()
    return event_id
