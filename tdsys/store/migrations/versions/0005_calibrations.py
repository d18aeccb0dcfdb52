"""Calibrations: what a judge was found to be worth, by whom and when."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

CALIBRATIONS = """
CREATE TABLE calibrations (
    id bigint GENERATED ALWAYS AS IDENTITY,
    domain text NOT NULL,
    source text NOT NULL,
    judge_model text NOT NULL,
    rubric_version text NOT NULL,
    prompt_version text NOT NULL,
    policy_version integer NOT NULL,
    simulated boolean NOT NULL DEFAULT false,
    n integer NOT NULL,
    document json NOT NULL,
    author text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_calibrations PRIMARY KEY (id),
    CONSTRAINT fk_calibrations_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT fk_calibrations_domain_policy_version FOREIGN KEY (domain, policy_version)
        REFERENCES policies (domain, version),
    CONSTRAINT ck_calibrations_source CHECK (source IN ('reviews', 'file'))
);
CREATE INDEX ix_calibrations_domain_id ON calibrations (domain, id);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON calibrations
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE INDEX ix_scores_created_at ON scores USING brin (created_at);
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(CALIBRATIONS)
