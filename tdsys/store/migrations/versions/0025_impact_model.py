"""On which model an impact is measured: it says nothing about another."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"

# What was measured before tells at most that it was simulated, so it is of no model that is set.
MODEL = """
ALTER TABLE impacts ADD COLUMN model text NOT NULL DEFAULT 'unknown';
UPDATE impacts SET model = 'offline' WHERE outcome::jsonb ->> 'simulated' = 'true';
ALTER TABLE impacts ALTER COLUMN model DROP DEFAULT;
"""


def upgrade() -> None:
    """Add it, and fill it in where it is known."""
    op.get_bind().exec_driver_sql(MODEL)
