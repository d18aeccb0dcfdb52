"""The tables as SQLAlchemy Core sees them; migrations make them, and a test holds the two equal.

One rule: whatever must hold under two workers at once is a constraint or an index here, never a
check in Python. Triggers (append-only tables, no move without its transition) are in the first
migration only, because queries never mention them.

Documents that go back to a program are `json`, not `jsonb`: jsonb sorts keys, and the order of a
signature's fields is the order in which a model writes them (reasoning before answer).
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL

from tdsys.core.dataset import Split
from tdsys.core.example import Source
from tdsys.core.lifecycle import Move, State
from tdsys.store.values import Prose

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class RunState(StrEnum):
    """Where one optimization stands."""

    DUE = "due"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ScoreKind(StrEnum):
    """Who spoke: evidence first, then the judge."""

    VERIFIER = "verifier"
    JUDGE = "judge"


# SQL NULL, not the JSON word null, where a document is missing.
_JSONB = JSONB(none_as_null=True)
VERBATIM = JSON(none_as_null=True)


# Written into the statement, not bound: a prepared statement's generic plan cannot match a
# parameter with the predicate of a partial index.
CANDIDATE = literal_column("'candidate'", Text)
ADMITTED = literal_column("'admitted'", Text)
APPROVE = literal_column("'approve'", Text)
IS_OPEN = text("state IN ('due', 'running')")


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    """Only these words."""
    listed = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def time_(name: str, *, nullable: bool = False) -> Column[object]:
    """A moment."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def of_example() -> Column[int]:
    """What there is once for an example, and goes with it."""
    goes = ForeignKey("examples.id", ondelete="CASCADE")
    return Column("example_id", BigInteger, goes, primary_key=True, autoincrement=False)


def about_example() -> Column[int]:
    """What there is any number of times for an example, and goes with it."""
    goes = ForeignKey("examples.id", ondelete="CASCADE")
    return Column("example_id", BigInteger, goes, nullable=False)


def count(name: str) -> Column[int]:
    """How many, from 0."""
    return Column(name, Integer, nullable=False, server_default=text("0"))


def flag(name: str) -> Column[bool]:
    """Whether; not, unless said."""
    return Column(name, Boolean, nullable=False, server_default=text("false"))


domains = Table(
    "domains",
    metadata,
    Column("name", Text, primary_key=True),
    time_("created_at"),
    # Numbers of dataset versions come from here: whoever freezes holds this row, so no number
    # is skipped or given twice.
    Column("dataset_counter", BigInteger, nullable=False, server_default=text("0")),
)

policies = Table(
    "policies",
    metadata,
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", VERBATIM, nullable=False),
    Column("author", Prose, nullable=False),
    time_("created_at"),
    PrimaryKeyConstraint("domain", "version"),
)

# Narrow on purpose (about 80 bytes a row): reports, claims and deletes never touch the payload.
# Measured at 1 M rows: freshness report 2,316 -> 363 ms, delete of 395 k rows 23 -> 2.1 s.
examples = Table(
    "examples",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("capture_id", Uuid),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("topic", Text, nullable=False),
    Column("difficulty", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    flag("simulated"),
    Column("quality", REAL),
    Column("reason", Prose),
    time_("due_at", nullable=True),
    count("attempts"),
    time_("captured_at"),
    time_("created_at"),
    time_("moved_at"),
    # Bytes of its payload as text.
    count("size"),
    UniqueConstraint("capture_id"),
    UniqueConstraint("fingerprint"),
    one_of("source", Source),
    one_of("state", State),
    # A candidate without a time would wait for ever; anything else must never be claimed.
    CheckConstraint("(state = 'candidate') = (due_at IS NOT NULL)", name="only_candidates_are_due"),
    # An unscored example is never counted as zero, so it is never admitted either.
    CheckConstraint("state <> 'admitted' OR quality IS NOT NULL", name="admitted_has_quality"),
    Index("ix_examples_claim", "due_at", "id", postgresql_where=text("state = 'candidate'")),
    Index(None, "domain", "state", "topic", "difficulty"),
    Index(None, "domain", "created_at"),
    # The newest decisions of a domain; a capture that arrives is not in it.
    Index(
        "ix_examples_decided",
        "domain",
        text("moved_at DESC"),
        postgresql_where=text("state <> 'candidate'"),
    ),
)

example_bodies = Table(
    "example_bodies",
    metadata,
    of_example(),
    Column("payload", VERBATIM, nullable=False),
)

# One row a batch: the primary key is what makes a batch that is sent again harmless.
capture_batches = Table(
    "capture_batches",
    metadata,
    Column("batch_id", Text, primary_key=True),
    count("received"),
    count("new"),
    count("duplicate"),
    count("conflicting"),
    count("refused"),
    count("resent"),
    time_("at"),
    # The version in force of each domain in it.
    Column("policies", _JSONB, nullable=False, server_default=text("'{}'")),
)

# A capture that made no example: its content was there already, or (conflicting) its id was
# there with other content. The payload is kept only when no example holds it.
capture_duplicates = Table(
    "capture_duplicates",
    metadata,
    Column("capture_id", Uuid, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("source", Text, nullable=False),
    Column("metadata", VERBATIM, nullable=False),
    Column("payload", VERBATIM),
    flag("conflicting"),
    time_("at"),
    PrimaryKeyConstraint("capture_id", "fingerprint"),
    one_of("source", Source),
    CheckConstraint("conflicting = (payload IS NOT NULL)", name="conflicting_keeps_payload"),
    # "When was anything captured last?"; an example's own index says the rest.
    Index(None, "domain", "at"),
)

capture_refusals = Table(
    "capture_refusals",
    metadata,
    Column("batch_id", Text, ForeignKey(capture_batches.c.batch_id), nullable=False),
    Column("position", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("path", Prose, nullable=False),
    Column("message", Prose, nullable=False),
    Column("raw", Prose, nullable=False),
    time_("at"),
    PrimaryKeyConstraint("batch_id", "position"),
)

# Append-only: a trigger refuses UPDATE, and DELETE unless the example itself is purged.
scores = Table(
    "scores",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    about_example(),
    Column("kind", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("verdict", _JSONB),
    Column("accuracy", REAL),
    Column("coherence", REAL),
    Column("relevance", REAL),
    Column("educational_value", REAL),
    Column("rationales", _JSONB),
    # Each juror's answers, criterion by criterion; the columns above are what they say together.
    Column("judgements", _JSONB),
    Column("judge_model", Text),
    Column("rubric_version", Text),
    Column("prompt_version", Text),
    Column("policy_version", Integer, nullable=False),
    flag("simulated"),
    Column("attempt", Integer, nullable=False),
    Column("reason", Prose),
    time_("created_at"),
    one_of("kind", ScoreKind),
    CheckConstraint("outcome IN ('scored', 'unscored')", name="outcome"),
    CheckConstraint("(kind = 'verifier') = (verdict IS NOT NULL)", name="verifier_has_verdict"),
    # Numbers exist exactly where a judge gave them: never a zero that stands for "no answer".
    CheckConstraint(
        "num_nonnulls(accuracy, coherence, relevance, educational_value)"
        " = CASE WHEN kind = 'judge' AND outcome = 'scored' THEN 4 ELSE 0 END",
        name="numbers_only_when_judged",
    ),
    Index(None, "example_id"),
)

# Append-only like scores: the decision that explains each state an example was ever in.
transitions = Table(
    "transitions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    about_example(),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("move", Text, nullable=False),
    Column("reason", Prose, nullable=False),
    Column("detail", Prose, nullable=False),
    Column("actor", Prose, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("score_id", BigInteger, ForeignKey(scores.c.id, ondelete="CASCADE")),
    time_("at"),
    one_of("from_state", State),
    one_of("to_state", State),
    one_of("move", Move),
    Index(None, "example_id", "to_state"),
    # Deleting a score (purge only) looks here for its decision.
    Index(None, "score_id"),
    # "Did a person approve it?", asked when examples are retired.
    Index("ix_transitions_approved", "example_id", postgresql_where=text("move = 'approve'")),
)

dataset_versions = Table(
    "dataset_versions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("number", BigInteger, nullable=False),
    # Its name, 2.3: within a major val and test stay; `because` says why it was made.
    Column("major", Integer, nullable=False),
    Column("minor", Integer, nullable=False),
    Column("because", Text, nullable=False),
    Column("parent_id", BigInteger, ForeignKey("dataset_versions.id")),
    # Licences and attributions of its members, as they were: an export must not need the examples.
    Column("credits", VERBATIM, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("signature", VERBATIM, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("counts", _JSONB, nullable=False),
    time_("created_at"),
    # Set again when the same selection comes back, so "latest" is what the data is now.
    time_("frozen_at"),
    UniqueConstraint("fingerprint"),
    UniqueConstraint("domain", "number"),
    UniqueConstraint("domain", "major", "minor"),
)

# No foreign key to examples: a version must read the same after its examples were purged.
dataset_members = Table(
    "dataset_members",
    metadata,
    Column("version_id", BigInteger, ForeignKey(dataset_versions.c.id), nullable=False),
    Column("example_id", BigInteger, nullable=False),
    Column("split", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("cluster", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    # NULL: it was forgotten.
    Column("content", VERBATIM),
    Column("topic", Text, nullable=False),
    Column("difficulty", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("quality", Double, nullable=False),
    PrimaryKeyConstraint("version_id", "example_id"),
    UniqueConstraint("version_id", "split", "position"),
    one_of("split", Split),
    # "Which programs learned from this example?", asked when it leaves the admitted set.
    Index(None, "example_id"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("version_id", BigInteger, ForeignKey(dataset_versions.c.id), nullable=False),
    Column("state", Text, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("auto", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("plan", _JSONB, nullable=False),
    time_("due_at", nullable=True),
    count("attempts"),
    count("outages"),
    flag("cancel_requested"),
    Column("progress", _JSONB, nullable=False, server_default=text("'{}'")),
    Column("outcome", _JSONB),
    Column("reason", Prose),
    time_("created_at"),
    time_("started_at", nullable=True),
    time_("finished_at", nullable=True),
    Column("policy_version", Integer, nullable=False),
    one_of("state", RunState),
    CheckConstraint(
        "(state IN ('due', 'running')) = (due_at IS NOT NULL)", name="only_open_runs_are_due"
    ),
    # "Only one at a time" for a domain, whoever asks.
    Index("uq_runs_open", "domain", unique=True, postgresql_where=IS_OPEN),
    Index("ix_runs_claim", "due_at", postgresql_where=IS_OPEN),
    Index(None, "domain", "created_at"),
)

trials = Table(
    "trials",
    metadata,
    Column("run_id", Uuid, ForeignKey(runs.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("instruction", Prose, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("demos", _JSONB, nullable=False),
    PrimaryKeyConstraint("run_id", "number"),
    CheckConstraint("kind IN ('full', 'minibatch')", name="kind"),
)

trial_items = Table(
    "trial_items",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("uid", Text, nullable=False),
    Column("value", Double),
    Column("error", Prose),
    PrimaryKeyConstraint("run_id", "number", "position"),
    ForeignKeyConstraint(
        ["run_id", "number"], ["trials.run_id", "trials.number"], ondelete="CASCADE"
    ),
)

programs = Table(
    "programs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("run_id", Uuid, ForeignKey(runs.c.id), nullable=False),
    Column("version_id", BigInteger, ForeignKey(dataset_versions.c.id), nullable=False),
    Column("state", VERBATIM, nullable=False),
    Column("envelope", VERBATIM, nullable=False),
    Column("items", Integer, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("before", Double, nullable=False),
    Column("after", Double, nullable=False),
    Column("after_low", Double, nullable=False),
    Column("after_high", Double, nullable=False),
    Column("gain", Double, nullable=False),
    Column("gain_low", Double, nullable=False),
    Column("gain_high", Double, nullable=False),
    flag("active"),
    flag("stale"),
    time_("created_at"),
    UniqueConstraint("run_id"),
    Index("uq_programs_active", "domain", unique=True, postgresql_where=text("active")),
    Index(None, "version_id"),
)
