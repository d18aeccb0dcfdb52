"""What an example holds, and what it held before each edit."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Text, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from tdsys.core.example import Document, fingerprint, label
from tdsys.core.sketching import problem_of
from tdsys.errors import Conflict
from tdsys.store import clusters, words
from tdsys.store.engine import Tx
from tdsys.store.review_schema import example_revisions
from tdsys.store.schema import example_bodies, examples, scores


class Edit(NamedTuple):
    """What an example is to hold."""

    inputs: Document
    outputs: Document


class Revision(NamedTuple):
    """What it held before, until when, and who changed it.

    Scores up to `last_score_id` were given to this content.
    """

    number: int
    payload: dict[str, Any]
    last_score_id: int
    editor: str
    vouched: bool
    at: datetime


def revisions(tx: Tx, *, example_id: int) -> list[Revision]:
    """Every content before the present one, the oldest first."""
    kept = example_revisions.c
    rows = tx.execute(
        select(*(kept[name] for name in Revision._fields))
        .where(kept.example_id == example_id)
        .order_by(kept.number)
    )
    return [Revision(*row) for row in rows]


def replace(
    tx: Tx, *, example_id: int, edit: Edit, editor: str, vouched: bool, now: datetime
) -> int:
    """Let an example (held by the caller) hold this; the number of the revision that keeps the old.

    Conflict when another example holds it already, or nothing would change.
    """
    kept = examples.c
    domain, before = tx.execute(
        select(kept.domain, kept.fingerprint).where(kept.id == example_id)
    ).one()
    new = fingerprint(domain, edit.inputs, edit.outputs)
    if new == before:
        raise Conflict("nothing was changed", remedy="edit the text, or approve it as it is")
    number = _keep(tx, example_id, before, editor=editor, vouched=vouched, now=now)
    cell = {
        "topic": label(edit.inputs, "topic", "general"),
        "difficulty": label(edit.inputs, "difficulty", "unrated"),
    }
    try:
        with tx.begin_nested():
            tx.execute(update(examples).where(kept.id == example_id)
                       .values(fingerprint=new, **cell))  # fmt: skip
    except IntegrityError:
        raise _taken(tx, new) from None
    payload = tx.scalars(_payload(example_id)).one()
    changed = {**payload, "inputs": edit.inputs, "outputs": edit.outputs}
    tx.execute(
        update(example_bodies)
        .where(example_bodies.c.example_id == example_id)
        .values(payload=changed)
    )
    tx.execute(
        update(examples)
        .where(kept.id == example_id)
        .values(size=select(func.octet_length(cast(example_bodies.c.payload, Text)))
                .where(example_bodies.c.example_id == example_id).scalar_subquery())
    )  # fmt: skip
    # Words and template were those of the old text.
    words.rewrite(tx, example_id=example_id, problem=str(edit.outputs.get("problem", "")))
    problems = [problem_of(outputs) for outputs in (payload["outputs"], edit.outputs)]
    clusters.replace(
        tx, domain=domain, example_id=example_id, before=problems[0], after=problems[1]
    )
    return number


def _keep(
    tx: Tx, example_id: int, before: bytes, *, editor: str, vouched: bool, now: datetime
) -> int:
    old = example_revisions.c
    number = (tx.scalar(select(func.max(old.number)).where(old.example_id == example_id)) or 0) + 1
    last = tx.scalar(select(func.max(scores.c.id)).where(scores.c.example_id == example_id)) or 0
    tx.execute(
        insert(example_revisions).values(
            example_id=example_id,
            number=number,
            payload=tx.scalars(_payload(example_id)).one(),
            fingerprint=before,
            last_score_id=last,
            editor=editor,
            vouched=vouched,
            at=now,
        )
    )
    return number


def _payload(example_id: int) -> Any:
    return select(example_bodies.c.payload).where(example_bodies.c.example_id == example_id)


def _taken(tx: Tx, new: bytes) -> Conflict:
    other = tx.execute(
        select(examples.c.id, examples.c.state).where(examples.c.fingerprint == new)
    ).one_or_none()
    which = f"example {other.id} ({other.state})" if other else "another example"
    return Conflict(
        f"{which} already is exactly this problem",
        remedy="reject this one as a duplicate, or edit it differently",
    )
