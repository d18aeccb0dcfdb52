"""A person looks at what waits: take the next, decide it, edit it, take it back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from tdsys.core.example import check_document
from tdsys.core.people import Person, Right
from tdsys.core.reviewing import Act, Why
from tdsys.core.rubric import Check, Verdict, Verifier
from tdsys.errors import InvalidInput
from tdsys.store import Store, Tx, neighbours, policies, reviews, waiting
from tdsys.store.reviews import Event, Form, Held, Pace, Said, Score, Seen, Wish

LEASE = timedelta(minutes=10)
NEIGHBOURS = 3
FRESHENED = 200
LONGEST_REASON = 2000


class Refused(InvalidInput):
    """An edit that evidence speaks against: `checks` say what."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        told = "; ".join(f"{c.name}: {c.evidence}" for c in checks)
        super().__init__(
            f"the edit was not saved, a check failed: {told}"[:1000],
            remedy="mend the text and save again, or reject the example",
        )
        self.checks = checks


class Similar(NamedTuple):
    """A neighbour, and how far the two agree."""

    id: int
    problem: str
    share: float


class Changed(NamedTuple):
    """One field of an edit, as pieces of text that stayed, went or came."""

    field: str
    pieces: list[tuple[str, str]]


class Item(NamedTuple):
    """What waits, as the reviewer who holds it is shown it.

    `score` is None while it is hidden or nobody gave one; `hidden` says which.
    """

    held: Held
    example: Seen
    verdict: Verdict | None
    score: Score | None
    hidden: bool
    history: list[Event]
    draft: dict[str, Any] | None
    diffs: list[list[Changed]]


class Progress(NamedTuple):
    """How many wait (at most 1000 are counted), and how quick somebody is."""

    waiting: int
    pace: Pace


def take(store: Store, *, wish: Wish, now: datetime) -> tuple[Item | None, Progress]:
    """The next example for somebody, None when nothing waits for them; and how it goes."""
    with store.begin() as tx:
        found = reviews.claim(tx, wish=wish, lease=LEASE, now=now)
        return found and _item(tx, found, wish.person), _progress(tx, wish, now)


def held(store: Store, *, by: Person, now: datetime) -> Item | None:
    """The example somebody holds, whatever they wished for."""
    with store.begin() as tx:
        found = reviews.holding(tx, person=by.name, domains=by.domains, now=now)
        return found and _item(tx, found, by.name)


def _item(tx: Tx, held: Held, person: str) -> Item:
    example = reviews.seen(tx, example_id=held.example_id)
    assert example is not None  # noqa: S101  # it cannot be purged while it is held
    _, policy = policies.current(tx, domain=held.domain)
    hidden = policy.blind_reviews and not held.for_curator
    alone = held.needs > 1 and not held.for_curator
    said = [] if alone else reviews.events(tx, example_id=held.example_id)
    history = _told_once(reviews.steps(tx, example_id=held.example_id), said)
    return Item(
        held=held,
        example=example,
        verdict=reviews.verdict(tx, example_id=held.example_id),
        score=None if hidden else reviews.score(tx, example_id=held.example_id),
        hidden=hidden,
        history=history,
        draft=reviews.draft(tx, example_id=held.example_id, person=person),
        diffs=_diffs(reviews.revisions(tx, example_id=held.example_id), example),
    )


def progress(store: Store, *, wish: Wish, now: datetime) -> Progress:
    """How much waits, and how it goes."""
    with store.begin() as tx:
        return _progress(tx, wish, now)


def _progress(tx: Tx, wish: Wish, now: datetime) -> Progress:
    waits = reviews.waiting_count(tx, wish=wish)
    return Progress(waits, reviews.pace(tx, person=wish.person, now=now))


def decide(store: Store, *, form: Form, by: Person, verifier: Verifier, now: datetime) -> Said:
    """Do what somebody says of what they hold; an edit is verified first."""
    checked = _checked(form)
    if checked.edit is not None:
        with store.begin() as tx:
            domain = _domain(tx, form, by)
        # No transaction is open while the guarded child works.
        found = verifier.verify(domain, checked.edit.inputs, checked.edit.outputs)
        if found.failed():
            raise Refused(found.failed())
    with store.begin() as tx:
        _domain(tx, form, by)
        return reviews.decide(tx, form=checked, person=by.name, now=now)


def _domain(tx: Tx, form: Form, by: Person) -> str:
    """The example's domain, if it is one of theirs."""
    domain = reviews.domain_of(tx, example_id=form.example_id)
    if domain is None:
        raise InvalidInput(f"there is no example {form.example_id}", remedy="take the next one")
    by.require(Right.REVIEW, domain=domain)
    return domain


def undo(store: Store, *, by: Person, token: UUID | None = None, now: datetime) -> Said:
    """Take back one's last act."""
    with store.begin() as tx:
        return reviews.undo(tx, person=by.name, token=token or uuid.uuid4(), lease=LEASE, now=now)


def extend(store: Store, *, token: UUID, by: Person, now: datetime) -> bool:
    """Hold an example longer; False when it is no longer theirs."""
    with store.begin() as tx:
        return reviews.extend(tx, token=token, person=by.name, lease=LEASE, now=now)


def keep_draft(
    store: Store, *, token: UUID, by: Person, content: dict[str, Any], now: datetime
) -> bool:
    """Keep what is being typed; False when the example is no longer theirs."""
    check_document(content)
    with store.begin() as tx:
        return reviews.save_draft(tx, token=token, person=by.name, content=content, now=now)


def freshen(store: Store, *, now: datetime) -> int:
    """Appraise anew some of what waits: cells fill, policies change."""
    with store.begin() as tx:
        return waiting.refresh(tx, limit=FRESHENED, now=now)


def similar(store: Store, *, example_id: int, by: Person) -> list[Similar]:
    """The problems of its domain that are most like it."""
    with store.begin() as tx:
        example = reviews.seen(tx, example_id=example_id)
        if example is None:
            return []
        by.require(Right.REVIEW, domain=example.domain)
        near = neighbours.nearest(tx, example_id=example_id, limit=NEIGHBOURS)
    return [Similar(one.example_id, one.problem, one.likeness) for one in near]


def _told_once(steps: list[Event], said: list[Event]) -> list[Event]:
    """Moves and what people said, the newest first; what moved it is not told a second time."""
    moved = {(one.at, one.who) for one in steps}
    alone = [one for one in said if (one.at, one.who) not in moved]
    return sorted([*steps, *alone], reverse=True)


def _checked(form: Form) -> Form:
    if form.act is Act.UNDO or (form.act is Act.EDIT) != (form.edit is not None):
        raise InvalidInput("that form says nothing", remedy="reload the page")
    if form.act is Act.REJECT and form.reason not in set(Why):
        raise InvalidInput("a rejection needs its reason", remedy=f"use one of {', '.join(Why)}")
    if form.act is not Act.REJECT:
        form = form._replace(reason="")
    if form.edit is not None:
        check_document(form.edit.inputs, path="inputs")
        check_document(form.edit.outputs, path="outputs")
    return form._replace(detail=form.detail[:LONGEST_REASON])


def _diffs(older: list[reviews.Revision], example: Seen) -> list[list[Changed]]:
    contents = [*(one.payload for one in older), example.payload]
    return [list(changes(old, new)) for old, new in pairwise(contents)]


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Changed]:
    """The fields that two contents do not share, word by word."""
    for side in ("inputs", "outputs"):
        for name in [*new[side], *(n for n in old[side] if n not in new[side])]:
            before, after = _text(old[side].get(name)), _text(new[side].get(name))
            if before != after:
                yield Changed(name, _pieces(before, after))


def _pieces(before: str, after: str) -> list[tuple[str, str]]:
    old, new = before.split(" "), after.split(" ")
    found: list[tuple[str, str]] = []
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            found.append(("kept", " ".join(old[a:b])))
            continue
        found += [
            (k, " ".join(w))
            for k, w in (("gone", old[a:b]), ("new", new[c:d]))
            if w not in ([], [""])
        ]
    return found


def _text(value: JsonValue) -> str:
    if isinstance(value, list):
        return "\n".join(_text(one) for one in value)
    return "" if value is None else str(value)
