"""The table of embeddings, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Table,
    Text,
)

from tdsys.store.cluster_schema import example_templates
from tdsys.store.schema import domains, metadata

# Of an example as it was placed: when its text is edited, or it goes, this goes too. Plain numbers,
# so that the schema is the same where pgvector is not; they are compared as its `vector`.
example_vectors = Table(
    "example_vectors",
    metadata,
    Column(
        "example_id",
        BigInteger,
        ForeignKey(example_templates.c.example_id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("model", Text, nullable=False),
    Column("vector", ARRAY(REAL)),
    # Why there is none, and when it is asked for again.
    Column("reason", Text),
    Column("due_at", DateTime(timezone=True)),
    CheckConstraint("num_nulls(vector, reason) = 1", name="vector_or_reason"),
    CheckConstraint("num_nulls(reason, due_at) IN (0, 2)", name="due"),
    Index(None, "domain", "model"),
)
