"""The tables of batches, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from tdsys.core.batch import BatchState, CellState, Kind
from tdsys.store.schema import (
    VERBATIM,
    count,
    domains,
    examples,
    flag,
    metadata,
    one_of,
    time_,
)
from tdsys.store.values import Prose

IS_UNDER_WAY = text("state IN ('due', 'judging')")

# `reserved` are calls that somebody may be making right now, `spent` those that were made. No
# interleaving of workers takes their sum over `max_calls`, because no row can hold it. Tokens and
# costs are set aside by compare-and-set, and what was really spent is written whatever it is. Costs
# are millionths of a dollar, NULL where a price is not known; `price` is a token's at the most.
batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("plan", VERBATIM, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("model", Prose, nullable=False),
    Column("max_calls", Integer, nullable=False),
    count("reserved"),
    count("spent"),
    Column("tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("max_tokens", BigInteger),
    Column("reserved_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("cost", BigInteger, server_default=text("0")),
    Column("max_cost", BigInteger),
    Column("reserved_cost", BigInteger, nullable=False, server_default=text("0")),
    Column("price", Double),
    Column("max_seconds", Integer),
    time_("ends_at", nullable=True),
    Column("actor", Prose, nullable=False),
    time_("created_at"),
    time_("finished_at", nullable=True),
    ForeignKeyConstraint(["domain", "policy_version"], ["policies.domain", "policies.version"]),
    one_of("kind", Kind),
    one_of("state", BatchState),
    CheckConstraint("(state = 'open') = (finished_at IS NULL)", name="ended_says_when"),
    CheckConstraint("reserved >= 0 AND reserved + spent <= max_calls", name="budget_holds"),
    CheckConstraint("reserved_tokens >= 0 AND reserved_cost >= 0", name="reserved_more"),
    CheckConstraint("max_cost IS NULL OR price IS NOT NULL", name="money_needs_a_price"),
    CheckConstraint("(max_seconds IS NULL) = (ends_at IS NULL)", name="time_ends"),
    Index(None, "domain", "created_at"),
)

# One row a portion of a topic and difficulty, so that several workers can fill one cell. `tries`
# counts the attempts of the strategy at place `rung` of `ladder`.
batch_cells = Table(
    "batch_cells",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("batch_id", Uuid, ForeignKey(batches.c.id, ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("topic", Text, nullable=False),
    Column("difficulty", Text, nullable=False),
    Column("ladder", VERBATIM, nullable=False),
    count("rung"),
    Column("wanted", Integer, nullable=False),
    count("tries"),
    Column("state", Text, nullable=False),
    time_("due_at", nullable=True),
    count("attempts"),
    count("outages"),
    count("reserved"),
    Column("reserved_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("reserved_cost", BigInteger, nullable=False, server_default=text("0")),
    Column("fallbacks", VERBATIM, nullable=False),
    Column("reason", Prose),
    UniqueConstraint("batch_id", "position"),
    one_of("state", CellState),
    CheckConstraint(
        "(state IN ('due', 'judging')) = (due_at IS NOT NULL)", name="only_open_cells_are_due"
    ),
    CheckConstraint(
        "reserved >= 0 AND reserved_tokens >= 0 AND reserved_cost >= 0", name="reserved"
    ),
    Index("ix_batch_cells_claim", "due_at", postgresql_where=IS_UNDER_WAY),
)

# One row an attempt: its number is what keeps a result from being made, and paid for, twice.
batch_items = Table(
    "batch_items",
    metadata,
    Column("cell_id", BigInteger, ForeignKey(batch_cells.c.id, ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("example_id", BigInteger, ForeignKey(examples.c.id, ondelete="SET NULL")),
    Column("reason", Prose),
    Column("detail", Prose),
    Column("content", VERBATIM),
    Column("evidence", VERBATIM, nullable=False),
    Column("made_by", VERBATIM),
    Column("calls", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    flag("simulated"),
    time_("at"),
    PrimaryKeyConstraint("cell_id", "number"),
    CheckConstraint("number > 0", name="number"),
    Index(None, "example_id"),
)
