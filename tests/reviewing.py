"""Short ways to examples that wait for a person."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from tdsys.core.lifecycle import Move
from tdsys.core.people import ROLES, Person, Role
from tdsys.core.reviewing import Act
from tdsys.core.rubric import Decision
from tdsys.store import Store, reviews
from tdsys.store.reviews import Form, Held, Said, Wish
from tests.factories import NOW, make_assessment, make_capture, make_verdict
from tests.stored import claim, decide, ingest

REVIEW = Decision(move=Move.REVIEW, reason="unsure_quality", quality=0.5)
LEASE = timedelta(minutes=10)
SOON = NOW + timedelta(seconds=20)


def person(name: str = "ann", role: Role = Role.REVIEWER, *domains: str) -> Person:
    return Person(1, name, role, ROLES[role], frozenset(domains) or None)


def make_waiting(
    store: Store, count: int = 1, *, domain: str = "arithmetic", topic: str = "sums", **over: Any
) -> list[int]:
    """Examples that wait, correct ones; their ids."""
    captures = [
        make_capture(
            domain=domain,
            inputs={"topic": topic, "difficulty": "easy", "context": f"shop {uuid.uuid4()}"},
            outputs={
                "problem": f"A shop sells 3 trays of {n} buns. How many buns is that?",
                "solution": f"3 trays hold 3*{n}=<<3*{n}={3 * n}>>{3 * n} buns.",
                "answer": str(3 * n),
            },
        )
        for n in range(2, count + 2)
    ]
    with store.begin() as tx:
        ingest(tx, captures)
        claimed = claim(tx)
        for candidate in claimed:
            given = {"answer": make_assessment(0.55), "verdict": make_verdict(), **over}
            assert decide(tx, candidate, REVIEW, **given)
    return [candidate.id for candidate in claimed]


def take(store: Store, name: str = "ann", *, now: datetime = NOW, **wish: Any) -> Held | None:
    with store.begin() as tx:
        return reviews.claim(tx, wish=Wish(name, **wish), lease=LEASE, now=now)


def taken(store: Store, name: str = "ann", *, now: datetime = NOW, **wish: Any) -> Held:
    held = take(store, name, now=now, **wish)
    assert held is not None
    return held


def say(
    store: Store, held: Held, act: Act, name: str = "ann", *, now: datetime = SOON, **over: Any
) -> Said:
    form = Form(held.example_id, held.token, held.version, act, **over)
    with store.begin() as tx:
        return reviews.decide(tx, form=form, person=name, now=now)
