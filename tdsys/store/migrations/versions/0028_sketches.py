"""What is compared of a problem is its own: numbers and names count, too."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"

# What was placed keeps its template and its cluster, and is placed again by planning: until then
# nothing new is compared with it.
SKETCHES = """
DROP TABLE template_keys;
DROP TABLE template_numbers;
ALTER TABLE templates DROP COLUMN features;
ALTER TABLE templates ADD COLUMN led boolean NOT NULL DEFAULT false;
ALTER TABLE templates ALTER COLUMN led DROP DEFAULT;
ALTER TABLE example_templates DROP COLUMN numbers;
ALTER TABLE example_templates ADD COLUMN features bytea;
-- Hashes do not compress, and trying costs a third of storing them.
ALTER TABLE example_templates ALTER COLUMN features SET STORAGE EXTERNAL;
CREATE TABLE example_keys (
    key bigint NOT NULL,
    example_id bigint NOT NULL,
    CONSTRAINT pk_example_keys PRIMARY KEY (key, example_id)
);
ALTER TABLE example_keys SET (autovacuum_vacuum_insert_scale_factor = 0.02);
"""


def upgrade() -> None:
    """Drop what templates were compared by, and make room for what examples are compared by."""
    op.get_bind().exec_driver_sql(SKETCHES)
