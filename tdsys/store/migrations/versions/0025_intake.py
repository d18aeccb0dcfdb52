"""A conflict that comes again is one again; claims of an import that brought nothing."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"

# It was taken for a capture that is stored, because it is kept with its reason.
BEFORE = "held.capture_id IS NOT NULL AS seen"
AFTER = "held.conflicting IS FALSE AS seen"


STALLS = "ALTER TABLE imports ADD COLUMN stalls integer NOT NULL DEFAULT 0"


def upgrade() -> None:
    """Change the one place of `store_arrivals`, and make the column."""
    bind = op.get_bind()
    bind.exec_driver_sql(STALLS)
    function: str = bind.exec_driver_sql(
        "SELECT pg_get_functiondef('store_arrivals'::regproc)"
    ).scalar_one()
    if function.count(BEFORE) != 1:
        raise ValueError(f"the function has not one place like {BEFORE!r}")
    bind.exec_driver_sql(function.replace(BEFORE, AFTER))
