"""Why each run began, and who made which program the active one."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

CAUSES = """
CREATE TABLE run_causes (
    run_id uuid NOT NULL,
    domain text NOT NULL,
    follows uuid NOT NULL,
    because json NOT NULL,
    judge text,
    CONSTRAINT pk_run_causes PRIMARY KEY (run_id),
    CONSTRAINT fk_run_causes_run_id FOREIGN KEY (run_id) REFERENCES runs (id),
    CONSTRAINT fk_run_causes_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT uq_run_causes_domain_follows UNIQUE (domain, follows)
);
"""

ACTIVATIONS = """
CREATE TABLE activations (
    id bigint GENERATED ALWAYS AS IDENTITY,
    domain text NOT NULL,
    program_id bigint NOT NULL,
    former_id bigint,
    how text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_activations PRIMARY KEY (id),
    CONSTRAINT fk_activations_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT fk_activations_program_id FOREIGN KEY (program_id) REFERENCES programs (id),
    CONSTRAINT fk_activations_former_id FOREIGN KEY (former_id) REFERENCES programs (id),
    CONSTRAINT ck_activations_how CHECK (how IN ('run', 'person', 'rollback'))
);
CREATE INDEX ix_activations_domain_id ON activations (domain, id);
CREATE INDEX ix_activations_program_id ON activations (program_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON activations
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

# So far runs alone activated programs, and their outcome says which did.
SO_FAR = """
INSERT INTO activations (domain, program_id, former_id, how, actor, reason, at)
SELECT programs.domain, programs.id,
       lag(programs.id) OVER (PARTITION BY programs.domain ORDER BY programs.id),
       'run', 'run', coalesce(runs.reason, ''), programs.created_at
FROM programs JOIN runs ON runs.id = programs.run_id
WHERE programs.active OR runs.outcome->>'activated' = 'true'
ORDER BY programs.id;
"""


def upgrade() -> None:
    """Make the tables and write down what is known of before."""
    for script in (CAUSES, ACTIVATIONS, SO_FAR):
        op.get_bind().exec_driver_sql(script)
