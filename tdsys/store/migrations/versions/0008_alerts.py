"""Alerts: one firing row for each thing that is amiss; what their rules and pruning look up."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0003"

ALERTS = """
CREATE TABLE alerts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    state text NOT NULL,
    severity text NOT NULL,
    title text NOT NULL,
    detail text NOT NULL,
    remedy text NOT NULL,
    domain text,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    count integer NOT NULL DEFAULT 1,
    acknowledged_by text,
    acknowledged_at timestamptz,
    resolved_at timestamptz,
    CONSTRAINT pk_alerts PRIMARY KEY (id),
    CONSTRAINT fk_alerts_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT ck_alerts_state CHECK (state IN ('firing', 'resolved')),
    CONSTRAINT ck_alerts_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT ck_alerts_resolved_says_when CHECK (
        (state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT ck_alerts_acknowledged_says_when CHECK (
        (acknowledged_by IS NULL) = (acknowledged_at IS NULL))
);
CREATE UNIQUE INDEX uq_alerts_firing ON alerts (key) WHERE state = 'firing';
CREATE INDEX ix_alerts_last_seen_at ON alerts (last_seen_at);
"""

LOOKED_UP = """
CREATE INDEX ix_examples_decided ON examples (domain, moved_at DESC) WHERE state <> 'candidate';
CREATE INDEX ix_capture_duplicates_domain_at ON capture_duplicates (domain, at);
CREATE INDEX ix_transitions_approved ON transitions (example_id) WHERE move = 'approve';
"""


def upgrade() -> None:
    """Make the table and the indexes."""
    for script in (ALERTS, LOOKED_UP):
        op.get_bind().exec_driver_sql(script)
