"""The table of calibrations, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
)

from tdsys.store.schema import VERBATIM, domains, flag, metadata, scores, time_
from tdsys.store.values import Prose

# Append-only, as scores are: what a judge was found to be worth is never rewritten.
calibrations = Table(
    "calibrations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("source", Text, nullable=False),
    Column("judge_model", Text, nullable=False),
    Column("rubric_version", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("policy_version", Integer, nullable=False),
    flag("simulated"),
    Column("n", Integer, nullable=False),
    Column("document", VERBATIM, nullable=False),
    Column("author", Prose, nullable=False),
    time_("at"),
    CheckConstraint("source IN ('reviews', 'file')", name="source"),
    ForeignKeyConstraint(["domain", "policy_version"], ["policies.domain", "policies.version"]),
    Index(None, "domain", "id"),
)

# "What was scored lately?" Scores are only ever appended, so a few pages of an index are enough.
Index("ix_scores_created_at", scores.c.created_at, postgresql_using="brin")
