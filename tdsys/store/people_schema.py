"""The tables of people, under the same rule as `tdsys.store.schema`."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from tdsys.core.people import Role
from tdsys.store.schema import count, metadata, one_of, time_
from tdsys.store.values import Prose


class Event(StrEnum):
    """What is written down about people."""

    CREATED = "created"
    CHANGED = "changed"
    DISABLED = "disabled"
    ENABLED = "enabled"
    PASSWORD = "password"  # noqa: S105  # a word for an event
    SIGNED_IN = "signed_in"
    REFUSED = "refused"
    SIGNED_OUT = "signed_out"
    REVOKED = "revoked"
    TOKEN_MADE = "token_made"  # noqa: S105
    TOKEN_ENDED = "token_ended"  # noqa: S105
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


# `domains` is NULL for all of them, `password` for who signs in by a provider alone. A row is never
# deleted: decisions name it.
users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("password", Text),
    Column("role", Text, nullable=False),
    Column("domains", ARRAY(Text)),
    time_("created_at"),
    time_("disabled_at", nullable=True),
    UniqueConstraint("name"),
    one_of("role", Role),
)

# Hashes of tokens: whoever reads this database signs in as nobody.
sessions = Table(
    "sessions",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("user_id", BigInteger, ForeignKey(users.c.id), nullable=False),
    Column("address", Prose, nullable=False),
    Column("browser", Prose, nullable=False),
    time_("created_at"),
    time_("seen_at"),
    Index(None, "user_id"),
    Index(None, "seen_at"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", BigInteger, ForeignKey(users.c.id), nullable=False),
    Column("name", Prose, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),
    time_("created_at"),
    time_("expires_at"),
    time_("used_at", nullable=True),
    time_("ended_at", nullable=True),
    one_of("role", Role),
    Index(None, "user_id"),
)

# The name is hashed: people type passwords into the wrong field.
sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("name", LargeBinary, nullable=False),
    Column("address", Text, nullable=False),
    count("failures"),
    time_("last_at"),
    time_("free_at"),
    PrimaryKeyConstraint("name", "address"),
    Index(None, "last_at"),
)

people_events = Table(
    "people_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", BigInteger, ForeignKey(users.c.id), nullable=False),
    Column("event", Text, nullable=False),
    Column("actor", Prose, nullable=False),
    Column("detail", Prose, nullable=False),
    time_("at"),
    one_of("event", Event),
    Index(None, "user_id", "at"),
)
