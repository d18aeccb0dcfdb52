"""Embeddings of problems, where a domain wants them; pgvector comes with such a policy."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"

VECTORS = """
CREATE TABLE example_vectors (
    example_id bigint NOT NULL,
    domain text NOT NULL,
    model text NOT NULL,
    vector real[],
    reason text,
    due_at timestamp with time zone,
    CONSTRAINT pk_example_vectors PRIMARY KEY (example_id),
    CONSTRAINT fk_example_vectors_example_id FOREIGN KEY (example_id)
        REFERENCES example_templates (example_id) ON DELETE CASCADE,
    CONSTRAINT fk_example_vectors_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT ck_example_vectors_vector_or_reason CHECK (num_nulls(vector, reason) = 1),
    CONSTRAINT ck_example_vectors_due CHECK (num_nulls(reason, due_at) IN (0, 2))
);
CREATE INDEX ix_example_vectors_domain_model ON example_vectors (domain, model);
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(VECTORS)
