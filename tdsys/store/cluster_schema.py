"""The tables of near-duplicate clusters, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from tdsys.store.schema import metadata, of_example

# One row for all problems that differ in numbers and names only; `cluster` is the smallest id of
# all templates it is connected with, and only ever falls. Nothing has a foreign key to templates,
# and they have none: whoever adds or drops one holds its domain, and to look each up would be a
# twentieth of placing.
templates = Table(
    "templates",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("domain", Text, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("cluster", BigInteger, nullable=False),
    UniqueConstraint("domain", "mark"),
    Index(None, "cluster"),
)

# Keys and numbers are hashes of the domain too, so another's templates never come up.
template_keys = Table(
    "template_keys",
    metadata,
    Column("key", BigInteger, nullable=False),
    Column("template_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", "template_id"),
)

template_numbers = Table(
    "template_numbers",
    metadata,
    Column("numbers", BigInteger, nullable=False),
    Column("template_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("numbers", "template_id"),
)

example_templates = Table(
    "example_templates",
    metadata,
    of_example(),
    Column("template_id", BigInteger, nullable=False),
    # NULL where a problem's numbers say nothing.
    Column("numbers", BigInteger),
    Index(None, "template_id"),
)
