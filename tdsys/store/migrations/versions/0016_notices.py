"""The outbox of alerts: news of them, who is told of which, and what nobody is told."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

NOTICES = """
CREATE TABLE silences (
    id bigint GENERATED ALWAYS AS IDENTITY,
    rule text,
    domain text,
    reason text NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT pk_silences PRIMARY KEY (id),
    CONSTRAINT fk_silences_domain FOREIGN KEY (domain) REFERENCES domains (name)
);

CREATE TABLE notices (
    id bigint GENERATED ALWAYS AS IDENTITY,
    alert_id bigint NOT NULL,
    news text NOT NULL,
    severity text NOT NULL,
    at timestamptz NOT NULL,
    spread_at timestamptz,
    CONSTRAINT pk_notices PRIMARY KEY (id),
    CONSTRAINT fk_notices_alert_id FOREIGN KEY (alert_id) REFERENCES alerts (id)
        ON DELETE CASCADE,
    CONSTRAINT ck_notices_news CHECK (news IN ('began', 'worse', 'over')),
    CONSTRAINT ck_notices_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT uq_notices_alert_id_news_severity UNIQUE (alert_id, news, severity)
);
CREATE INDEX ix_notices_new ON notices (id) WHERE spread_at IS NULL;

CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY,
    notice_id bigint NOT NULL,
    channel text NOT NULL,
    state text NOT NULL,
    due_at timestamptz,
    held boolean NOT NULL DEFAULT false,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    ended_at timestamptz,
    CONSTRAINT pk_deliveries PRIMARY KEY (id),
    CONSTRAINT fk_deliveries_notice_id FOREIGN KEY (notice_id) REFERENCES notices (id)
        ON DELETE CASCADE,
    CONSTRAINT ck_deliveries_state CHECK (state IN ('due', 'sent', 'dropped', 'given_up')),
    CONSTRAINT ck_deliveries_due_says_when CHECK ((state = 'due') = (due_at IS NOT NULL)),
    CONSTRAINT ck_deliveries_ended_says_when CHECK ((state = 'due') = (ended_at IS NULL)),
    CONSTRAINT uq_deliveries_notice_id_channel UNIQUE (notice_id, channel)
);
CREATE INDEX ix_deliveries_due ON deliveries (due_at) WHERE state = 'due';
"""


def upgrade() -> None:
    """Make the tables."""
    op.get_bind().exec_driver_sql(NOTICES)
