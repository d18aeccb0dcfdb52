"""The tables of browsing: counts, words and operations; same rule as `tdsys.store.schema`.

Triggers of migration 0009 keep the counts; whoever reads them adds rows up, folded or not.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from tdsys.core.lifecycle import Move
from tdsys.store.import_schema import imports
from tdsys.store.schema import (
    VERBATIM,
    capture_batches,
    examples,
    flag,
    metadata,
    of_example,
    one_of,
    time_,
    transitions,
)
from tdsys.store.values import Prose

LONGEST_REASON = 100


class OperationState(StrEnum):
    """Where a bulk action stands: its examples are listed, then moved, and may be moved back."""

    LISTING = "listing"
    LISTED = "listed"
    MOVING = "moving"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    DISCARDED = "discarded"


class Outcome(StrEnum):
    """What a bulk action did with one example."""

    WAITING = "waiting"
    MOVED = "moved"
    ILLEGAL = "illegal"
    UNSCORED = "unscored"
    CHANGED = "changed"
    GONE = "gone"
    UNDONE = "undone"
    KEPT = "kept"


_FOLDED = text("folded")
Index("ix_examples_newest", examples.c.domain, examples.c.captured_at, examples.c.id)
Index(
    "ix_examples_newest_decided",
    examples.c.domain,
    examples.c.state,
    examples.c.captured_at,
    examples.c.id,
    postgresql_where=text("state <> 'candidate'"),
)
Index(
    "ix_examples_best",
    examples.c.domain,
    examples.c.quality,
    examples.c.id,
    postgresql_where=text("quality IS NOT NULL"),
)
Index(
    "ix_examples_reason",
    text(f'"left"(reason, {LONGEST_REASON})'),
    examples.c.domain,
    postgresql_where=text("reason IS NOT NULL"),
)
Index(
    "ix_examples_not_captured",
    examples.c.source,
    examples.c.domain,
    postgresql_where=text("source <> 'captured'"),
)
# What people did one by one.
BY_PEOPLE = text("score_id IS NULL AND move <> 'replay' AND detail NOT LIKE 'operation %'")
Index("ix_transitions_by_people", transitions.c.at, postgresql_where=BY_PEOPLE)
Index("ix_capture_batches_at", capture_batches.c.at, capture_batches.c.batch_id)
Index("ix_imports_created_at", imports.c.created_at, imports.c.id)


def _counted(name: str, *keys: Column[Any]) -> Table:
    return Table(
        name,
        metadata,
        *keys,
        Column("n", BigInteger, nullable=False),
        flag("folded"),
        Index(f"uq_{name}_folded", *(k.name for k in keys), unique=True, postgresql_where=_FOLDED),
    )


def _key(name: str, type_: Any = Text) -> Column[Any]:
    return Column(name, type_, nullable=False)


example_counts = _counted(
    "example_counts", *map(_key, ("domain", "topic", "difficulty", "source", "state", "reason"))
)
# By the day on which they were stored, UTC.
age_counts = _counted("age_counts", _key("domain"), _key("state"), _key("day", Date))
score_counts = _counted(
    "score_counts",
    *map(_key, ("domain", "state", "dimension")),
    _key("tenth", SmallInteger),
    _key("simulated", Boolean),
)

example_words = Table(
    "example_words",
    metadata,
    of_example(),
    Column("words", TSVECTOR, nullable=False),
    # The mark of the problem without its numbers and names: equal ones are near-duplicates.
    Column("template", BigInteger, nullable=False),
    Index(None, "words", postgresql_using="gin"),
    Index(None, "template"),
)
# One row: all examples up to this id have their words.
word_progress = Table("word_progress", metadata, Column("indexed_to", BigInteger, nullable=False))

# `place` is the last id that is done with, in the list while it is made, then on each way through.
operations = Table(
    "operations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("actor", Prose, nullable=False),
    Column("move", Text, nullable=False),
    Column("reason", Prose, nullable=False),
    Column("filter", VERBATIM, nullable=False),
    Column("domains", VERBATIM),
    Column("state", Text, nullable=False),
    Column("place", BigInteger, nullable=False, server_default=text("0")),
    Column("until", BigInteger, nullable=False),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    time_("created_at"),
    time_("started_at", nullable=True),
    time_("finished_at", nullable=True),
    Column("undone_by", Prose),
    time_("undone_at", nullable=True),
    one_of("move", Move),
    one_of("state", OperationState),
    Index(
        "ix_operations_open",
        "id",
        postgresql_where=text("state IN ('listing', 'moving', 'undoing')"),
    ),
)

operation_items = Table(
    "operation_items",
    metadata,
    Column(
        "operation_id", BigInteger, ForeignKey(operations.c.id, ondelete="CASCADE"), nullable=False
    ),
    Column("example_id", BigInteger, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("from_reason", Prose),
    Column("outcome", Text, nullable=False),
    time_("moved_at", nullable=True),
    PrimaryKeyConstraint("operation_id", "example_id"),
    one_of("outcome", Outcome),
    Index(None, "example_id"),
)
