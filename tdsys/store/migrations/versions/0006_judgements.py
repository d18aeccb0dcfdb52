"""Judgements: what each juror said of which content, and what canaries showed of jurors."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

JUDGEMENTS = """
CREATE TABLE jurors (
    key text NOT NULL,
    model text NOT NULL,
    rubric text NOT NULL,
    prompt text NOT NULL,
    texts text NOT NULL,
    simulated boolean NOT NULL DEFAULT false,
    first_at timestamptz NOT NULL,
    CONSTRAINT pk_jurors PRIMARY KEY (key)
);

CREATE TABLE judgements (
    id bigint GENERATED ALWAYS AS IDENTITY,
    fingerprint bytea NOT NULL,
    juror text NOT NULL,
    outcome text NOT NULL,
    answers jsonb,
    "values" jsonb,
    rationales jsonb,
    reason text,
    sample integer NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_judgements PRIMARY KEY (id),
    CONSTRAINT fk_judgements_juror FOREIGN KEY (juror) REFERENCES jurors (key),
    CONSTRAINT ck_judgements_outcome CHECK (outcome IN ('scored', 'unscored')),
    CONSTRAINT ck_judgements_answers_when_scored CHECK (
        (outcome = 'scored') = (answers IS NOT NULL)),
    CONSTRAINT ck_judgements_reason_when_unscored CHECK (
        (outcome = 'unscored') = (reason IS NOT NULL))
);
CREATE UNIQUE INDEX uq_judgements_scored ON judgements (fingerprint, juror)
    WHERE outcome = 'scored';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON judgements
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE scores ADD COLUMN judgements jsonb;
"""

CANARIES = """
CREATE TABLE canary_answers (
    id bigint GENERATED ALWAYS AS IDENTITY,
    juror text NOT NULL,
    canary text NOT NULL,
    outcome text NOT NULL,
    detail text NOT NULL,
    sample integer NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_canary_answers PRIMARY KEY (id),
    CONSTRAINT fk_canary_answers_juror FOREIGN KEY (juror) REFERENCES jurors (key),
    CONSTRAINT ck_canary_answers_outcome CHECK (
        outcome IN ('right', 'passed', 'refused', 'unscored'))
);
CREATE INDEX ix_canary_answers_juror_canary ON canary_answers (juror, canary);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON canary_answers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE suspensions (
    id bigint GENERATED ALWAYS AS IDENTITY,
    juror text NOT NULL,
    canary text NOT NULL,
    detail text NOT NULL,
    at timestamptz NOT NULL,
    lifted_at timestamptz,
    lifted_by text,
    CONSTRAINT pk_suspensions PRIMARY KEY (id),
    CONSTRAINT fk_suspensions_juror FOREIGN KEY (juror) REFERENCES jurors (key),
    CONSTRAINT ck_suspensions_lifted_by_somebody CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE UNIQUE INDEX uq_suspensions_standing ON suspensions (juror) WHERE lifted_at IS NULL;
"""


def upgrade() -> None:
    """Make the tables."""
    for script in (JUDGEMENTS, CANARIES):
        op.get_bind().exec_driver_sql(script)
