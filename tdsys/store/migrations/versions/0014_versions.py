"""Dataset versions are named 2.3, follow each other, and name what left them."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

# What was frozen before had val and test of its own each time: every one began a major.
VERSIONS = """
ALTER TABLE dataset_versions
    ADD COLUMN major integer,
    ADD COLUMN minor integer,
    ADD COLUMN because text,
    ADD COLUMN parent_id bigint,
    ADD COLUMN credits json;
UPDATE dataset_versions SET major = number, minor = 0,
    because = 'frozen before versions had majors', credits = '[]';
ALTER TABLE dataset_versions
    ALTER COLUMN major SET NOT NULL,
    ALTER COLUMN minor SET NOT NULL,
    ALTER COLUMN because SET NOT NULL,
    ALTER COLUMN credits SET NOT NULL,
    ADD CONSTRAINT uq_dataset_versions_domain_major_minor UNIQUE (domain, major, minor),
    ADD CONSTRAINT fk_dataset_versions_parent_id
        FOREIGN KEY (parent_id) REFERENCES dataset_versions (id);

CREATE TABLE dataset_tombstones (
    version_id bigint NOT NULL,
    example_id bigint NOT NULL,
    fingerprint text NOT NULL,
    split text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    CONSTRAINT pk_dataset_tombstones PRIMARY KEY (version_id, fingerprint),
    CONSTRAINT fk_dataset_tombstones_version_id FOREIGN KEY (version_id)
        REFERENCES dataset_versions (id),
    CONSTRAINT ck_dataset_tombstones_split CHECK (split IN ('train', 'val', 'test')),
    CONSTRAINT ck_dataset_tombstones_reason CHECK (
        reason IN ('left', 'edited', 'unfit', 'suspicious', 'near_duplicate'))
);
CREATE INDEX ix_dataset_tombstones_example_id ON dataset_tombstones (example_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON dataset_tombstones
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Name the versions and make the table of what left."""
    op.get_bind().exec_driver_sql(VERSIONS)
