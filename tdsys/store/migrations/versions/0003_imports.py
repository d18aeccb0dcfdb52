"""Imports at full strength: uploads in their own state, strict and trusted ones, whole rejects."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

IMPORTS = """
ALTER TABLE imports
    ADD COLUMN actor text NOT NULL DEFAULT '',
    ADD COLUMN how text NOT NULL DEFAULT '',
    ADD COLUMN size bigint NOT NULL DEFAULT 0,
    ADD COLUMN done bigint NOT NULL DEFAULT 0,
    ADD COLUMN near_duplicate integer NOT NULL DEFAULT 0,
    ADD COLUMN faulty integer NOT NULL DEFAULT 0,
    ADD COLUMN checked integer NOT NULL DEFAULT 0,
    ADD COLUMN is_checked boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT ck_imports_state,
    ADD CONSTRAINT ck_imports_state CHECK (
        state IN ('uploading', 'due', 'running', 'finished', 'failed'));
UPDATE imports SET faulty = rejected;
-- Before, one record with two faults was counted twice.
UPDATE imports SET read = new + duplicate + rejected WHERE read <> new + duplicate + rejected;
ALTER TABLE imports
    ADD CONSTRAINT ck_imports_every_record_is_counted CHECK (read = new + duplicate + rejected);
CREATE INDEX ix_imports_domain_sha256 ON imports (domain, sha256);

-- What is compressed already gains nothing, and a file is read once.
ALTER TABLE import_chunks ALTER COLUMN content SET STORAGE EXTERNAL;
"""

# Rejects written before have no record number; the order of their lines gives one.
REJECTS = """
ALTER TABLE import_rejects
    ADD COLUMN record integer,
    ADD COLUMN "column" integer NOT NULL DEFAULT 1,
    ADD COLUMN value json;
UPDATE import_rejects SET record = numbered.record
FROM (
    SELECT ctid AS place,
           row_number() OVER (PARTITION BY import_id ORDER BY line, field, code) AS record
    FROM import_rejects
) AS numbered
WHERE import_rejects.ctid = numbered.place;
ALTER TABLE import_rejects
    ALTER COLUMN record SET NOT NULL,
    DROP CONSTRAINT pk_import_rejects,
    ADD CONSTRAINT pk_import_rejects PRIMARY KEY (import_id, record);
"""

BESIDE = """
CREATE TABLE import_templates (
    domain text NOT NULL,
    template bigint NOT NULL,
    CONSTRAINT pk_import_templates PRIMARY KEY (domain, template),
    CONSTRAINT fk_import_templates_domain FOREIGN KEY (domain) REFERENCES domains (name)
);

CREATE TABLE trusted_examples (
    example_id bigint NOT NULL,
    import_id uuid NOT NULL,
    actor text NOT NULL,
    CONSTRAINT pk_trusted_examples PRIMARY KEY (example_id),
    CONSTRAINT fk_trusted_examples_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE,
    CONSTRAINT fk_trusted_examples_import_id FOREIGN KEY (import_id) REFERENCES imports (id)
);
CREATE INDEX ix_trusted_examples_import_id ON trusted_examples (import_id);

CREATE TABLE benchmarks (
    name text NOT NULL,
    filename text NOT NULL,
    sha256 text NOT NULL,
    problems integer NOT NULL,
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_benchmarks PRIMARY KEY (name)
);

CREATE TABLE benchmark_marks (
    benchmark text NOT NULL,
    mark bigint NOT NULL,
    CONSTRAINT pk_benchmark_marks PRIMARY KEY (benchmark, mark),
    CONSTRAINT fk_benchmark_marks_benchmark FOREIGN KEY (benchmark)
        REFERENCES benchmarks (name) ON DELETE CASCADE
);
"""


def upgrade() -> None:
    """Widen the tables of imports, and make those beside them."""
    for script in (IMPORTS, REJECTS, BESIDE):
        op.get_bind().exec_driver_sql(script)
