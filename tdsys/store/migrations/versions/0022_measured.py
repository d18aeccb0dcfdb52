"""What programs scored on each test item, so that one can be measured again later."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"

TEST_SCORES = """
CREATE TABLE test_scores (
    run_id uuid NOT NULL,
    side text NOT NULL,
    position integer NOT NULL,
    uid text NOT NULL,
    value double precision,
    CONSTRAINT pk_test_scores PRIMARY KEY (run_id, side, position),
    CONSTRAINT fk_test_scores_run_id FOREIGN KEY (run_id) REFERENCES runs (id),
    CONSTRAINT ck_test_scores_side CHECK (side IN ('before', 'after'))
);
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(TEST_SCORES)
