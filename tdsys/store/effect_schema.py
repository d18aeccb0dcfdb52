"""The tables of attribution, recommendations and their impact, as `tdsys.store.schema` has it."""

from __future__ import annotations

from enum import StrEnum

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
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tdsys.core.advising import AdviceState, Kind
from tdsys.core.attribution import Effect
from tdsys.store.schema import (
    VERBATIM,
    count,
    dataset_versions,
    domains,
    flag,
    metadata,
    one_of,
    time_,
)
from tdsys.store.values import Prose

_JSONB = JSONB(none_as_null=True)


class AttributionState(StrEnum):
    """Where one attribution stands."""

    OPEN = "open"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ProbeState(StrEnum):
    """Where one prompt to try stands; left: the budget or a person ended before it."""

    DUE = "due"
    DONE = "done"
    LEFT = "left"


class Arm(StrEnum):
    """The two sides of a controlled pair of runs."""

    WITH = "with"
    WITHOUT = "without"


ARE_OPEN = text("state = 'open'")
ARE_DUE = text("state = 'due'")

# `context` is a hash of the model, the metric and the signature: scores of one context are
# evidence for each other, whatever the dataset version. `stale`: the data is another by now.
attributions = Table(
    "attributions",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("version_id", BigInteger, ForeignKey(dataset_versions.c.id), nullable=False),
    Column("state", Text, nullable=False),
    Column("context", Text, nullable=False),
    Column("model", Text, nullable=False),
    flag("simulated"),
    Column("seed", Integer, nullable=False),
    Column("pool", _JSONB, nullable=False),
    Column("budget", Integer, nullable=False),
    count("reserved"),
    count("spent"),
    count("scores"),
    Column("error", Double),
    Column("reason", Prose),
    flag("stale"),
    Column("actor", Prose, nullable=False),
    time_("created_at"),
    time_("finished_at", nullable=True),
    one_of("state", AttributionState),
    CheckConstraint("(state = 'open') = (finished_at IS NULL)", name="ended_says_when"),
    # The budget, whatever any number of workers do at once.
    CheckConstraint("reserved >= 0 AND reserved + spent <= budget", name="budget_holds"),
    Index("uq_attributions_open", "domain", unique=True, postgresql_where=ARE_OPEN),
    Index(None, "domain", "created_at"),
)

# Each is a task: claimed under a lease, done once. `demos` are content hashes of examples.
probes = Table(
    "attribution_probes",
    metadata,
    Column(
        "attribution_id", Uuid, ForeignKey(attributions.c.id, ondelete="CASCADE"), nullable=False
    ),
    Column("number", Integer, nullable=False),
    Column("demos", _JSONB, nullable=False),
    Column("items", _JSONB, nullable=False),
    Column("state", Text, nullable=False),
    time_("due_at", nullable=True),
    count("attempts"),
    count("outages"),
    count("reserved"),
    count("calls"),
    PrimaryKeyConstraint("attribution_id", "number"),
    one_of("state", ProbeState),
    CheckConstraint("(state = 'due') = (due_at IS NOT NULL)", name="only_due_probes_are_due"),
    Index("ix_attribution_probes_claim", "attribution_id", "due_at", postgresql_where=ARE_DUE),
)

# A score or why there is none: unscored is a state, never a zero.
probe_scores = Table(
    "attribution_scores",
    metadata,
    Column("attribution_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("item", Text, nullable=False),
    Column("value", Double),
    Column("error", Prose),
    PrimaryKeyConstraint("attribution_id", "number", "item"),
    ForeignKeyConstraint(
        ["attribution_id", "number"],
        ["attribution_probes.attribution_id", "attribution_probes.number"],
        ondelete="CASCADE",
    ),
    CheckConstraint("(value IS NULL) = (error IS NOT NULL)", name="scored_or_why_not"),
)

contributions = Table(
    "contributions",
    metadata,
    Column(
        "attribution_id", Uuid, ForeignKey(attributions.c.id, ondelete="CASCADE"), nullable=False
    ),
    Column("example", Text, nullable=False),
    Column("value", Double),
    Column("ci_low", Double),
    Column("ci_high", Double),
    Column("verdict", Text, nullable=False),
    Column("n", Integer, nullable=False),
    PrimaryKeyConstraint("attribution_id", "example"),
    Index(None, "example"),
    one_of("verdict", Effect),
    CheckConstraint(
        "num_nonnulls(value, ci_low, ci_high) IN (0, 3)", name="a_value_has_its_interval"
    ),
)

# `key` names what is recommended, so that saying it again is one row while it is open.
recommendations = Table(
    "recommendations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("version_id", BigInteger, ForeignKey(dataset_versions.c.id), nullable=False),
    Column("attribution_id", Uuid, ForeignKey(attributions.c.id, ondelete="SET NULL")),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("title", Prose, nullable=False),
    Column("reason", Prose, nullable=False),
    Column("subject", VERBATIM, nullable=False),
    Column("evidence", VERBATIM, nullable=False),
    Column("predicted", VERBATIM),
    Column("done", VERBATIM),
    Column("actor", Prose),
    time_("created_at"),
    time_("applied_at", nullable=True),
    time_("reverted_at", nullable=True),
    one_of("kind", Kind),
    one_of("state", AdviceState),
    CheckConstraint(
        "(state IN ('applied', 'reverted')) = (applied_at IS NOT NULL)", name="applied_says_when"
    ),
    CheckConstraint("(state = 'reverted') = (reverted_at IS NOT NULL)", name="reverted_says_when"),
    Index("uq_recommendations_open", "domain", "key", unique=True, postgresql_where=ARE_OPEN),
    Index(None, "domain", "created_at"),
)

# One measurement of what a recommendation changed: pairs of runs that differ in nothing else.
# `model`: the name of the one that it was planned for; it speaks about no other.
impacts = Table(
    "impacts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "recommendation_id",
        BigInteger,
        ForeignKey(recommendations.c.id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("state", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("planned_calls", Integer, nullable=False),
    Column("outcome", VERBATIM),
    Column("reason", Prose),
    time_("created_at"),
    time_("finished_at", nullable=True),
    one_of("state", AttributionState),
    CheckConstraint("(state = 'open') = (finished_at IS NULL)", name="ended_says_when"),
    Index("uq_impacts_open", "recommendation_id", unique=True, postgresql_where=ARE_OPEN),
)

impact_runs = Table(
    "impact_runs",
    metadata,
    Column("impact_id", BigInteger, ForeignKey(impacts.c.id, ondelete="CASCADE"), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("arm", Text, nullable=False),
    Column("state", Text, nullable=False),
    time_("due_at", nullable=True),
    count("attempts"),
    count("outages"),
    count("calls"),
    Column("scores", VERBATIM),
    PrimaryKeyConstraint("impact_id", "seed", "arm"),
    one_of("arm", Arm),
    one_of("state", ProbeState),
    CheckConstraint("(state = 'due') = (due_at IS NOT NULL)", name="only_due_runs_are_due"),
    CheckConstraint("(state = 'done') = (scores IS NOT NULL)", name="done_has_scores"),
    Index("ix_impact_runs_claim", "due_at", postgresql_where=ARE_DUE),
)
