"""What each example contributes, what is recommended because of it, and what that changed."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

TABLES = """
CREATE TABLE attributions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    domain text NOT NULL,
    version_id bigint NOT NULL,
    state text NOT NULL,
    context text NOT NULL,
    model text NOT NULL,
    simulated boolean NOT NULL DEFAULT false,
    seed integer NOT NULL,
    pool jsonb NOT NULL,
    budget integer NOT NULL,
    reserved integer NOT NULL DEFAULT 0,
    spent integer NOT NULL DEFAULT 0,
    scores integer NOT NULL DEFAULT 0,
    error double precision,
    reason text,
    stale boolean NOT NULL DEFAULT false,
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_attributions PRIMARY KEY (id),
    CONSTRAINT fk_attributions_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT fk_attributions_version_id FOREIGN KEY (version_id)
        REFERENCES dataset_versions (id),
    CONSTRAINT ck_attributions_state CHECK (
        state IN ('open', 'finished', 'failed', 'cancelled')),
    CONSTRAINT ck_attributions_ended_says_when CHECK (
        (state = 'open') = (finished_at IS NULL)),
    CONSTRAINT ck_attributions_budget_holds CHECK (
        reserved >= 0 AND reserved + spent <= budget)
);
CREATE UNIQUE INDEX uq_attributions_open ON attributions (domain) WHERE state = 'open';
CREATE INDEX ix_attributions_domain_created_at ON attributions (domain, created_at);

CREATE TABLE attribution_probes (
    attribution_id uuid NOT NULL,
    number integer NOT NULL,
    demos jsonb NOT NULL,
    items jsonb NOT NULL,
    state text NOT NULL,
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    outages integer NOT NULL DEFAULT 0,
    reserved integer NOT NULL DEFAULT 0,
    calls integer NOT NULL DEFAULT 0,
    CONSTRAINT pk_attribution_probes PRIMARY KEY (attribution_id, number),
    CONSTRAINT fk_attribution_probes_attribution_id FOREIGN KEY (attribution_id)
        REFERENCES attributions (id) ON DELETE CASCADE,
    CONSTRAINT ck_attribution_probes_state CHECK (state IN ('due', 'done', 'left')),
    CONSTRAINT ck_attribution_probes_only_due_probes_are_due CHECK (
        (state = 'due') = (due_at IS NOT NULL))
);
CREATE INDEX ix_attribution_probes_claim ON attribution_probes (attribution_id, due_at)
    WHERE state = 'due';

CREATE TABLE attribution_scores (
    attribution_id uuid NOT NULL,
    number integer NOT NULL,
    item text NOT NULL,
    value double precision,
    error text,
    CONSTRAINT pk_attribution_scores PRIMARY KEY (attribution_id, number, item),
    CONSTRAINT fk_attribution_scores_attribution_id_number FOREIGN KEY (attribution_id, number)
        REFERENCES attribution_probes (attribution_id, number) ON DELETE CASCADE,
    CONSTRAINT ck_attribution_scores_scored_or_why_not CHECK (
        (value IS NULL) = (error IS NOT NULL))
);

CREATE TABLE contributions (
    attribution_id uuid NOT NULL,
    example text NOT NULL,
    value double precision,
    ci_low double precision,
    ci_high double precision,
    verdict text NOT NULL,
    n integer NOT NULL,
    CONSTRAINT pk_contributions PRIMARY KEY (attribution_id, example),
    CONSTRAINT fk_contributions_attribution_id FOREIGN KEY (attribution_id)
        REFERENCES attributions (id) ON DELETE CASCADE,
    CONSTRAINT ck_contributions_verdict CHECK (
        verdict IN ('helpful', 'harmful', 'neutral', 'unknown')),
    CONSTRAINT ck_contributions_a_value_has_its_interval CHECK (
        num_nonnulls(value, ci_low, ci_high) IN (0, 3))
);
CREATE INDEX ix_contributions_example ON contributions (example);

CREATE TABLE recommendations (
    id bigint GENERATED ALWAYS AS IDENTITY,
    domain text NOT NULL,
    version_id bigint NOT NULL,
    attribution_id uuid,
    key text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    title text NOT NULL,
    reason text NOT NULL,
    subject json NOT NULL,
    evidence json NOT NULL,
    predicted json,
    done json,
    actor text,
    created_at timestamptz NOT NULL,
    applied_at timestamptz,
    reverted_at timestamptz,
    CONSTRAINT pk_recommendations PRIMARY KEY (id),
    CONSTRAINT fk_recommendations_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT fk_recommendations_version_id FOREIGN KEY (version_id)
        REFERENCES dataset_versions (id),
    CONSTRAINT fk_recommendations_attribution_id FOREIGN KEY (attribution_id)
        REFERENCES attributions (id) ON DELETE SET NULL,
    CONSTRAINT ck_recommendations_kind CHECK (
        kind IN ('retire', 'collect', 'rejudge', 'fix_label', 'change_threshold')),
    CONSTRAINT ck_recommendations_state CHECK (
        state IN ('open', 'applied', 'reverted', 'superseded')),
    CONSTRAINT ck_recommendations_applied_says_when CHECK (
        (state IN ('applied', 'reverted')) = (applied_at IS NOT NULL)),
    CONSTRAINT ck_recommendations_reverted_says_when CHECK (
        (state = 'reverted') = (reverted_at IS NOT NULL))
);
CREATE UNIQUE INDEX uq_recommendations_open ON recommendations (domain, key)
    WHERE state = 'open';
CREATE INDEX ix_recommendations_domain_created_at ON recommendations (domain, created_at);

CREATE TABLE impacts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    recommendation_id bigint NOT NULL,
    state text NOT NULL,
    planned_calls integer NOT NULL,
    outcome json,
    reason text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_impacts PRIMARY KEY (id),
    CONSTRAINT fk_impacts_recommendation_id FOREIGN KEY (recommendation_id)
        REFERENCES recommendations (id) ON DELETE CASCADE,
    CONSTRAINT ck_impacts_state CHECK (state IN ('open', 'finished', 'failed', 'cancelled')),
    CONSTRAINT ck_impacts_ended_says_when CHECK ((state = 'open') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX uq_impacts_open ON impacts (recommendation_id) WHERE state = 'open';

CREATE TABLE impact_runs (
    impact_id bigint NOT NULL,
    seed integer NOT NULL,
    arm text NOT NULL,
    state text NOT NULL,
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    outages integer NOT NULL DEFAULT 0,
    calls integer NOT NULL DEFAULT 0,
    scores json,
    CONSTRAINT pk_impact_runs PRIMARY KEY (impact_id, seed, arm),
    CONSTRAINT fk_impact_runs_impact_id FOREIGN KEY (impact_id)
        REFERENCES impacts (id) ON DELETE CASCADE,
    CONSTRAINT ck_impact_runs_arm CHECK (arm IN ('with', 'without')),
    CONSTRAINT ck_impact_runs_state CHECK (state IN ('due', 'done', 'left')),
    CONSTRAINT ck_impact_runs_only_due_runs_are_due CHECK (
        (state = 'due') = (due_at IS NOT NULL)),
    CONSTRAINT ck_impact_runs_done_has_scores CHECK ((state = 'done') = (scores IS NOT NULL))
);
CREATE INDEX ix_impact_runs_claim ON impact_runs (due_at) WHERE state = 'due';
"""


def upgrade() -> None:
    """Make the tables."""
    op.get_bind().exec_driver_sql(TABLES)
