"""The outbox of alerts: news, who is told, and what is not told; as `tdsys.store.schema`."""

from __future__ import annotations

from enum import StrEnum

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
    UniqueConstraint,
    text,
)

from tdsys.core.alerting import Severity
from tdsys.core.notices import News
from tdsys.store.alert_schema import alerts
from tdsys.store.schema import domains, flag, metadata, one_of, time_
from tdsys.store.values import Prose


class DeliveryState(StrEnum):
    """Where one notice for one channel stands."""

    DUE = "due"
    SENT = "sent"
    DROPPED = "dropped"
    GIVEN_UP = "given_up"


silences = Table(
    "silences",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("rule", Text),
    Column("domain", Text, ForeignKey(domains.c.name)),
    Column("reason", Prose, nullable=False),
    Column("actor", Prose, nullable=False),
    time_("created_at"),
    time_("until"),
)

notices = Table(
    "notices",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("alert_id", BigInteger, ForeignKey(alerts.c.id, ondelete="CASCADE"), nullable=False),
    Column("news", Text, nullable=False),
    Column("severity", Text, nullable=False),
    time_("at"),
    time_("spread_at", nullable=True),
    one_of("news", News),
    one_of("severity", Severity),
    UniqueConstraint("alert_id", "news", "severity"),
    Index("ix_notices_new", "id", postgresql_where=text("spread_at IS NULL")),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("notice_id", BigInteger, ForeignKey(notices.c.id, ondelete="CASCADE"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    time_("due_at", nullable=True),
    flag("held"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("error", Prose),
    time_("ended_at", nullable=True),
    one_of("state", DeliveryState),
    CheckConstraint("(state = 'due') = (due_at IS NOT NULL)", name="due_says_when"),
    CheckConstraint("(state = 'due') = (ended_at IS NULL)", name="ended_says_when"),
    # Whoever hands a notice out twice finds that it was.
    UniqueConstraint("notice_id", "channel"),
    Index("ix_deliveries_due", "due_at", postgresql_where=text("state = 'due'")),
)
