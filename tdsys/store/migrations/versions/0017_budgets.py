"""What a batch may spend besides calls: tokens, money and time, set aside as calls are."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

BUDGETS = """
ALTER TABLE batches
    ADD COLUMN max_tokens bigint,
    ADD COLUMN reserved_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN cost bigint DEFAULT 0,
    ADD COLUMN max_cost bigint,
    ADD COLUMN reserved_cost bigint NOT NULL DEFAULT 0,
    ADD COLUMN price double precision,
    ADD COLUMN max_seconds integer,
    ADD COLUMN ends_at timestamptz,
    ADD CONSTRAINT ck_batches_reserved_more CHECK (reserved_tokens >= 0 AND reserved_cost >= 0),
    ADD CONSTRAINT ck_batches_money_needs_a_price CHECK (max_cost IS NULL OR price IS NOT NULL),
    ADD CONSTRAINT ck_batches_time_ends CHECK ((max_seconds IS NULL) = (ends_at IS NULL));
-- What was spent before this was counted in calls and tokens only.
UPDATE batches SET cost = NULL WHERE spent > 0;
ALTER TABLE batch_cells
    ADD COLUMN reserved_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN reserved_cost bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT ck_batch_cells_reserved,
    ADD CONSTRAINT ck_batch_cells_reserved
        CHECK (reserved >= 0 AND reserved_tokens >= 0 AND reserved_cost >= 0);
"""


def upgrade() -> None:
    """Add what is missing."""
    op.get_bind().exec_driver_sql(BUDGETS)
