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

# Name, what should hold, and a query for whatever breaks it: see `tdsys.store.invariants`.
INVARIANTS = (
    (
        "val and test stay",
        "within a major version val and test hold nothing that its first version did not",
        """SELECT version.id || ': ' || member.fingerprint
           FROM dataset_versions AS version
           JOIN dataset_versions AS first ON first.domain = version.domain
               AND first.major = version.major AND first.minor = 0
           JOIN dataset_members AS member ON member.version_id = version.id
           WHERE version.minor > 0 AND member.split <> 'train' AND NOT EXISTS (
               SELECT FROM dataset_members AS began WHERE began.version_id = first.id
               AND began.fingerprint = member.fingerprint AND began.split = member.split)""",
    ),
    (
        "what left is named",
        "a minor version holds each member of the one before it, or a tombstone says why not",
        """SELECT version.id || ': ' || was.fingerprint
           FROM dataset_versions AS version
           JOIN dataset_members AS was ON was.version_id = version.parent_id
           WHERE version.minor > 0 AND NOT EXISTS (
               SELECT FROM dataset_members AS member WHERE member.version_id = version.id
               AND member.fingerprint = was.fingerprint AND member.split = was.split
           ) AND NOT EXISTS (
               SELECT FROM dataset_tombstones AS left_it WHERE left_it.version_id = version.id
               AND left_it.fingerprint = was.fingerprint)""",
    ),
)
