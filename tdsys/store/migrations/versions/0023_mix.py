"""How good the examples of each source are at the end of each day: no page adds up a million."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Make room for it beside the rest of a day."""
    op.get_bind().exec_driver_sql("ALTER TABLE days ADD qualities json")
