"""The tables of judges, of what they said, and of how they did on canaries."""

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
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tdsys.core.canaries import Outcome
from tdsys.store.schema import flag, metadata, one_of, time_
from tdsys.store.values import Prose


class Said(StrEnum):
    """Whether a judge's answer was one."""

    SCORED = "scored"
    UNSCORED = "unscored"


jurors = Table(
    "jurors",
    metadata,
    Column("key", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("rubric", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("texts", Text, nullable=False),
    flag("simulated"),
    time_("first_at"),
)

# The ledger: what was answered and paid for. By content, not by example, so the same content is
# never asked of the same juror twice, wherever it comes from. Append-only, as scores are.
judgements = Table(
    "judgements",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("juror", Text, ForeignKey(jurors.c.key), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("answers", JSONB(none_as_null=True)),
    Column("values", JSONB(none_as_null=True)),
    Column("rationales", JSONB(none_as_null=True)),
    Column("reason", Prose),
    Column("sample", Integer, nullable=False),
    time_("at"),
    one_of("outcome", Said),
    CheckConstraint("(outcome = 'scored') = (answers IS NOT NULL)", name="answers_when_scored"),
    CheckConstraint("(outcome = 'unscored') = (reason IS NOT NULL)", name="reason_when_unscored"),
    Index(
        "uq_judgements_scored",
        "fingerprint",
        "juror",
        unique=True,
        postgresql_where=text("outcome = 'scored'"),
    ),
)

canary_answers = Table(
    "canary_answers",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("juror", Text, ForeignKey(jurors.c.key), nullable=False),
    Column("canary", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Prose, nullable=False),
    Column("sample", Integer, nullable=False),
    time_("at"),
    one_of("outcome", Outcome),
    Index(None, "juror", "canary"),
)

# A juror with a row that is not lifted admits nothing by itself.
suspensions = Table(
    "suspensions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("juror", Text, ForeignKey(jurors.c.key), nullable=False),
    Column("canary", Text, nullable=False),
    Column("detail", Prose, nullable=False),
    time_("at"),
    time_("lifted_at", nullable=True),
    Column("lifted_by", Prose),
    CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name="lifted_by_somebody"),
    Index(
        "uq_suspensions_standing", "juror", unique=True, postgresql_where=text("lifted_at IS NULL")
    ),
)
