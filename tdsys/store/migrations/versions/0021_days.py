"""Each domain at the end of each day, in place of reports that nobody read."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0019"

DAYS = """
DROP TABLE reports;

CREATE TABLE days (
    domain text NOT NULL,
    day date NOT NULL,
    states json NOT NULL,
    sources json NOT NULL,
    cells json NOT NULL,
    scores json NOT NULL,
    written_at timestamptz NOT NULL,
    CONSTRAINT pk_days PRIMARY KEY (domain, day),
    CONSTRAINT fk_days_domain FOREIGN KEY (domain) REFERENCES domains (name)
);
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(DAYS)
