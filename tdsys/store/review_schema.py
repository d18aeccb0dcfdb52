"""The tables of reviews, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tdsys.core.reviewing import Act
from tdsys.store.schema import (
    VERBATIM,
    about_example,
    count,
    flag,
    metadata,
    of_example,
    one_of,
    time_,
    transitions,
)
from tdsys.store.values import Prose

# One row for each example that waits for a person, and for no other: a trigger of `examples`
# makes and takes it. `entry` names this stay in the queue, `token` one person's hold on it.
reviews = Table(
    "reviews",
    metadata,
    of_example(),
    Column("domain", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("entry", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("rank", Double, nullable=False),
    Column("why", JSONB(none_as_null=True), nullable=False, server_default=text("'[]'")),
    Column("needs", Integer, nullable=False, server_default=text("1")),
    flag("for_curator"),
    count("version"),
    Column("claimed_by", Text),
    Column("token", Uuid),
    time_("claimed_at", nullable=True),
    time_("leased_until", nullable=True),
    time_("entered_at"),
    time_("valued_at", nullable=True),
    UniqueConstraint("token"),
    CheckConstraint(
        "num_nulls(claimed_by, token, claimed_at, leased_until) IN (0, 4)", name="claim_is_whole"
    ),
    Index("ix_reviews_next", "domain", "for_curator", text("rank DESC"), "example_id"),
    Index("ix_reviews_next_of_topic", "domain", "topic", "for_curator", text("rank DESC")),
    Index("ix_reviews_claimed_by", "claimed_by", postgresql_where=text("claimed_by IS NOT NULL")),
    Index("ix_reviews_valued_at", "valued_at"),
)

# Append-only. `token` is the hold it was said under: the same form sent twice is one event.
review_events = Table(
    "review_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    about_example(),
    Column("entry", Uuid, nullable=False),
    Column("token", Uuid, nullable=False),
    Column("person", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Prose, nullable=False),
    Column("before", VERBATIM, nullable=False),
    Column("after", VERBATIM, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("transition_id", BigInteger, ForeignKey(transitions.c.id, ondelete="CASCADE")),
    Column("undoes", BigInteger, ForeignKey("review_events.id", ondelete="CASCADE")),
    time_("at"),
    UniqueConstraint("token"),
    UniqueConstraint("undoes"),
    one_of("act", Act),
    CheckConstraint("(act = 'undo') = (undoes IS NOT NULL)", name="an_undo_undoes"),
    Index(None, "example_id", "entry"),
    Index(None, "person", "at"),
    Index(None, "transition_id"),
)

# What an example held before each edit. Scores up to `last_score_id` are of the old content.
example_revisions = Table(
    "example_revisions",
    metadata,
    about_example(),
    Column("number", Integer, nullable=False),
    Column("payload", VERBATIM, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("last_score_id", BigInteger, nullable=False),
    Column("editor", Text, nullable=False),
    Column("vouched", Boolean, nullable=False),
    time_("at"),
    PrimaryKeyConstraint("example_id", "number"),
    Index(None, "fingerprint"),
)

review_drafts = Table(
    "review_drafts",
    metadata,
    about_example(),
    Column("person", Text, nullable=False),
    Column("content", JSONB(none_as_null=True), nullable=False),
    time_("at"),
    PrimaryKeyConstraint("example_id", "person"),
)

# Until when somebody who skipped an example is not shown it.
review_skips = Table(
    "review_skips",
    metadata,
    about_example(),
    Column("person", Text, nullable=False),
    time_("until"),
    PrimaryKeyConstraint("example_id", "person"),
)
