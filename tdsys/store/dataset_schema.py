"""What left dataset versions, and what must be true of how versions follow each other.

The tables of versions and members are in `tdsys.store.schema`; the same rule holds here.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from tdsys.core.dataset import Split
from tdsys.core.versions import Leaving
from tdsys.store.schema import dataset_versions, metadata, one_of

# An example that a version had to give up: which and why, and nothing of its content.
dataset_tombstones = Table(
    "dataset_tombstones",
    metadata,
    Column("version_id", BigInteger, ForeignKey(dataset_versions.c.id), nullable=False),
    Column("example_id", BigInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("split", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("version_id", "fingerprint"),
    one_of("split", Split),
    one_of("reason", Leaving),
    Index(None, "example_id"),
)
