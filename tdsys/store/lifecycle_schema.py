"""The tables of what is kept and what is gone, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    Uuid,
)

from tdsys.store.schema import domains, flag, metadata, of_example, time_
from tdsys.store.values import Prose

# Somebody said that pruning takes this last.
pins = Table(
    "pins",
    metadata,
    of_example(),
    Column("actor", Prose, nullable=False),
    Column("reason", Prose, nullable=False),
    time_("at"),
)

# Who prunes a domain now: a plan made for an older token is not carried out any further.
prunings = Table(
    "prunings",
    metadata,
    Column("domain", Text, ForeignKey(domains.c.name), primary_key=True),
    Column("token", Uuid, nullable=False),
    Column("actor", Prose, nullable=False),
    time_("at"),
)

# What is left of a deleted example. A trigger deletes what hangs on the content alone; what is
# `forgotten` loses its content in dataset versions too, and does not come in again.
tombstones = Table(
    "tombstones",
    metadata,
    Column("fingerprint", LargeBinary, primary_key=True),
    flag("forgotten"),
    Column("actor", Prose, nullable=False),
    Column("reason", Prose, nullable=False),
    time_("at"),
)

# Answers of models that may not be kept: each machine that has a cache looks here for what is new.
cache_evictions = Table(
    "cache_evictions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tag", Text, nullable=False),
    time_("at"),
    Index(None, "at"),
)
