"""Why runs began and which programs were active, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from tdsys.store.schema import VERBATIM, domains, metadata, one_of, programs, runs, time_
from tdsys.store.values import Prose


class Activated(StrEnum):
    """How a program became the active one."""

    BY_RUN = "run"
    BY_PERSON = "person"
    BY_ROLLBACK = "rollback"


# `follows` is the run that was the domain's newest when this one was decided on, or nil: of two
# that decide by the same facts one is first, so each run is followed by at most one.
run_causes = Table(
    "run_causes",
    metadata,
    Column("run_id", Uuid, ForeignKey(runs.c.id), primary_key=True),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("follows", Uuid, nullable=False),
    Column("because", VERBATIM, nullable=False),
    Column("judge", Prose),
    UniqueConstraint("domain", "follows"),
)

# Append-only: who put which program in place of which. `former_id` is where a rollback leads.
activations = Table(
    "activations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("domain", Text, ForeignKey(domains.c.name), nullable=False),
    Column("program_id", BigInteger, ForeignKey(programs.c.id), nullable=False),
    Column("former_id", BigInteger, ForeignKey(programs.c.id)),
    Column("how", Text, nullable=False),
    Column("actor", Prose, nullable=False),
    Column("reason", Prose, nullable=False),
    time_("at"),
    one_of("how", Activated),
    Index(None, "domain", "id"),
    Index(None, "program_id"),
)
