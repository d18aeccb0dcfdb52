"""A conflict that comes again is one again; imports without a domain yet, claims that stalled."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"

# It was taken for a capture that is stored, because it is kept with its reason.
BEFORE = "held.capture_id IS NOT NULL AS seen"
AFTER = "held.conflicting IS FALSE AS seen"


# A strict import makes its domain when its records come in, or never.
IMPORTS = """
ALTER TABLE imports ADD COLUMN stalls integer NOT NULL DEFAULT 0;
ALTER TABLE imports DROP CONSTRAINT fk_imports_domain;
"""


def upgrade() -> None:
    """Change the one place of `store_arrivals`, and the table."""
    bind = op.get_bind()
    bind.exec_driver_sql(IMPORTS)
    function: str = bind.exec_driver_sql(
        "SELECT pg_get_functiondef('store_arrivals'::regproc)"
    ).scalar_one()
    if function.count(BEFORE) != 1:
        raise ValueError(f"the function has not one place like {BEFORE!r}")
    bind.exec_driver_sql(function.replace(BEFORE, AFTER))
