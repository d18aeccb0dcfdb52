"""The tables of near-duplicate clusters, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
# all templates it is connected with, and only ever falls; `led` says that an example of it has the
# keys of its wording. Nothing has a foreign key to templates,
# and they have none: whoever adds or drops one holds its domain, and to look each up would be a
# twentieth of placing.
templates = Table(
    "templates",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("domain", Text, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Column("cluster", BigInteger, nullable=False),
    Column("led", Boolean, nullable=False),
    UniqueConstraint("domain", "mark"),
    Index(None, "cluster"),
)

# Keys are hashes of the domain too, so another's examples never come up. No foreign key, as above.
example_keys = Table(
    "example_keys",
    metadata,
    Column("key", BigInteger, nullable=False),
    Column("example_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", "example_id"),
)

example_templates = Table(
    "example_templates",
    metadata,
    of_example(),
    Column("template_id", BigInteger, nullable=False),
    # NULL where it was placed by another rule: it is compared with nothing until planning has
    # placed it again.
    Column("features", LargeBinary),
    Index(None, "template_id"),
)
