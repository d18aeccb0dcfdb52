"""Batches: what is to be made, portion by portion, and every attempt at it."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

BATCHES = """
CREATE TABLE batches (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    domain text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    wanted integer NOT NULL,
    plan json NOT NULL,
    policy_version integer NOT NULL,
    model text NOT NULL,
    max_calls integer NOT NULL,
    reserved integer NOT NULL DEFAULT 0,
    spent integer NOT NULL DEFAULT 0,
    tokens bigint NOT NULL DEFAULT 0,
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_batches PRIMARY KEY (id),
    CONSTRAINT fk_batches_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT fk_batches_domain_policy_version FOREIGN KEY (domain, policy_version)
        REFERENCES policies (domain, version),
    CONSTRAINT ck_batches_kind CHECK (kind IN ('bootstrap', 'synthesis')),
    CONSTRAINT ck_batches_state CHECK (state IN ('open', 'finished', 'partial', 'cancelled')),
    CONSTRAINT ck_batches_ended_says_when CHECK ((state = 'open') = (finished_at IS NULL)),
    CONSTRAINT ck_batches_budget_holds CHECK (reserved >= 0 AND reserved + spent <= max_calls)
);
CREATE INDEX ix_batches_domain_created_at ON batches (domain, created_at);

CREATE TABLE batch_cells (
    id bigint GENERATED ALWAYS AS IDENTITY,
    batch_id uuid NOT NULL,
    position integer NOT NULL,
    topic text NOT NULL,
    difficulty text NOT NULL,
    ladder json NOT NULL,
    rung integer NOT NULL DEFAULT 0,
    wanted integer NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    state text NOT NULL,
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    outages integer NOT NULL DEFAULT 0,
    reserved integer NOT NULL DEFAULT 0,
    fallbacks json NOT NULL,
    reason text,
    CONSTRAINT pk_batch_cells PRIMARY KEY (id),
    CONSTRAINT fk_batch_cells_batch_id FOREIGN KEY (batch_id)
        REFERENCES batches (id) ON DELETE CASCADE,
    CONSTRAINT uq_batch_cells_batch_id_position UNIQUE (batch_id, position),
    CONSTRAINT ck_batch_cells_state CHECK (
        state IN ('due', 'judging', 'done', 'short', 'cancelled')),
    CONSTRAINT ck_batch_cells_only_open_cells_are_due CHECK (
        (state IN ('due', 'judging')) = (due_at IS NOT NULL)),
    CONSTRAINT ck_batch_cells_reserved CHECK (reserved >= 0)
);
CREATE INDEX ix_batch_cells_claim ON batch_cells (due_at) WHERE state IN ('due', 'judging');

CREATE TABLE batch_items (
    cell_id bigint NOT NULL,
    number integer NOT NULL,
    strategy text NOT NULL,
    example_id bigint,
    reason text,
    detail text,
    content json,
    evidence json NOT NULL,
    made_by json,
    calls integer NOT NULL,
    tokens integer NOT NULL,
    seconds double precision NOT NULL,
    simulated boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL,
    CONSTRAINT pk_batch_items PRIMARY KEY (cell_id, number),
    CONSTRAINT fk_batch_items_cell_id FOREIGN KEY (cell_id)
        REFERENCES batch_cells (id) ON DELETE CASCADE,
    CONSTRAINT fk_batch_items_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE SET NULL,
    CONSTRAINT ck_batch_items_number CHECK (number > 0)
);
CREATE INDEX ix_batch_items_example_id ON batch_items (example_id);
"""


def upgrade() -> None:
    """Make the tables."""
    op.get_bind().exec_driver_sql(BATCHES)
