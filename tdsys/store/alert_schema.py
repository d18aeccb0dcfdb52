"""The table of alerts, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from tdsys.core.alerting import AlertState, Severity
from tdsys.store.schema import domains, metadata, one_of, time_
from tdsys.store.values import Prose

IS_FIRING = text("state = 'firing'")

alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Prose, nullable=False),
    Column("detail", Prose, nullable=False),
    Column("remedy", Prose, nullable=False),
    Column("domain", Text, ForeignKey(domains.c.name)),
    time_("first_seen_at"),
    time_("last_seen_at"),
    Column("count", Integer, nullable=False, server_default=text("1")),
    Column("acknowledged_by", Prose),
    time_("acknowledged_at", nullable=True),
    time_("resolved_at", nullable=True),
    one_of("state", AlertState),
    one_of("severity", Severity),
    CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_says_when"),
    CheckConstraint(
        "(acknowledged_by IS NULL) = (acknowledged_at IS NULL)", name="acknowledged_says_when"
    ),
    # Whoever sees the same thing again finds it here, however many look at once.
    Index("uq_alerts_firing", "key", unique=True, postgresql_where=IS_FIRING),
    Index(None, "last_seen_at"),
)
