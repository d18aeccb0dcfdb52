"""The words of problems, to search by, and which problems are the same but for their numbers.

One rule: whoever stores an example does not wait for this. Words follow behind, in the order of
ids; what was stored by a transaction that ended late is looked for again for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, bindparam, cast, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.dialects.postgresql import insert as upsert

from tdsys.core.browsing import words
from tdsys.core.contamination import mark
from tdsys.core.similarity import template
from tdsys.store.browse_schema import example_words, word_progress
from tdsys.store.engine import Tx
from tdsys.store.schema import example_bodies, examples

# No transaction may take longer than its limits allow; what is older than this is all there.
LATEST = timedelta(minutes=10)
LONGEST_WORD = 60
MOST_WORDS = 2000
# Shorter ones would be the beginning of half the dictionary; numbers are meant as they are.
SHORTEST_BEGINNING = 3
LOCK = 7_301_001
# So many problems hold these that what begins like them need not be looked for as well.
_COMMON = (
    "and are does each find for has have her his how many more much she that the their them then"
    " there they this was what when which who will with"
)
COMMON = frozenset(_COMMON.split())


class Near(NamedTuple):
    """Another example whose problem is the same but for numbers and names."""

    id: int
    state: str
    topic: str
    difficulty: str
    problem: str


def index(tx: Tx, *, limit: int, now: datetime) -> int:
    """Write the words of the next examples that have none; how many. One at a time does it."""
    if not tx.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
        return 0
    indexed_to = tx.scalar(select(word_progress.c.indexed_to))
    if indexed_to is None:
        tx.execute(insert(word_progress).values(indexed_to=0))
    missing = ~exists().where(example_words.c.example_id == examples.c.id)
    found = tx.execute(
        select(examples.c.id, _problem())
        .join(example_bodies, example_bodies.c.example_id == examples.c.id)
        .where(examples.c.id > (indexed_to or 0), missing)
        .order_by(examples.c.id)
        .limit(limit)
    ).all()
    if found:
        tx.execute(_INSERTION, [_row(example_id, problem) for example_id, problem in found])
    _advance(tx, indexed_to or 0, last=found[-1][0] if len(found) == limit else None, now=now)
    return len(found)


def _advance(tx: Tx, indexed_to: int, *, last: int | None, now: datetime) -> None:
    """Leave behind what nobody can add to any more."""
    settled = select(func.max(examples.c.id)).where(
        examples.c.id > indexed_to,
        examples.c.created_at < now - LATEST,
        examples.c.id <= last if last is not None else examples.c.id > indexed_to,
    )
    reached = tx.scalar(settled)
    if reached is not None:
        tx.execute(update(word_progress).values(indexed_to=reached))


def _row(example_id: int, problem: str) -> dict[str, object]:
    found = {word[:LONGEST_WORD] for word in words(problem)[:MOST_WORDS]}
    return {
        "example": example_id,
        "found": sorted(found),
        "mark": mark("template", template(problem)),
    }


def _problem() -> ColumnElement[str]:
    return func.coalesce(example_bodies.c.payload["outputs"]["problem"].as_string(), "")


def query(text: str) -> ColumnElement[object]:
    """What a text asks for: all its words, each as it is or as a beginning."""
    asked = " & ".join(_asked(word) for word in words(text))
    return cast(bindparam("asked", asked, type_=Text, unique=True), TSQUERY)


def _asked(word: str) -> str:
    begins = word.isalpha() and len(word) >= SHORTEST_BEGINNING and word not in COMMON
    return f"'{word[:LONGEST_WORD]}'" + (":*" if begins else "")


def matches(text: str) -> ColumnElement[bool]:
    """Whether an example's words answer a search."""
    return example_words.c.words.bool_op("@@")(query(text))


def behind(tx: Tx) -> int:
    """About how many of the newest examples cannot be found by their words yet."""
    newest = tx.scalar(select(func.max(examples.c.id))) or 0
    indexed = tx.scalar(select(func.max(example_words.c.example_id))) or 0
    return max(0, newest - indexed)


def near(tx: Tx, *, example_id: int, limit: int) -> list[Near]:
    """The examples of the same domain that are this one with other numbers or names."""
    domain, marked = (
        tx.execute(
            select(examples.c.domain, example_words.c.template)
            .join(example_words, example_words.c.example_id == examples.c.id)
            .where(examples.c.id == example_id)
        ).one_or_none()
    ) or (None, None)
    if domain is None:
        return []
    rows = tx.execute(
        select(examples.c.id, examples.c.state, examples.c.topic, examples.c.difficulty, _problem())
        .join(example_words, example_words.c.example_id == examples.c.id)
        .join(example_bodies, example_bodies.c.example_id == examples.c.id)
        .where(
            example_words.c.template == marked,
            examples.c.domain == domain,
            examples.c.id != example_id,
        )
        .limit(limit)
    )
    return [Near(*row) for row in rows]


_INSERTION = (
    upsert(example_words)
    .values(
        example_id=bindparam("example"),
        words=func.array_to_tsvector(bindparam("found")),
        template=bindparam("mark"),
    )
    .on_conflict_do_nothing()
)
__all__: Sequence[str] = ("Near", "behind", "index", "matches", "near", "query")
