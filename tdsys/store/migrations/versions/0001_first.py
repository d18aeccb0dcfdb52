"""The first schema: the whole loop from capture to program.

Plain SQL, because a migration must mean the same for ever, whatever schema.py says later.
Why a column is as it is stands there; here stand the triggers.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

DOMAINS = """
CREATE TABLE domains (
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    dataset_counter bigint NOT NULL DEFAULT 0,
    CONSTRAINT pk_domains PRIMARY KEY (name)
);

CREATE TABLE policies (
    domain text NOT NULL,
    version integer NOT NULL,
    document json NOT NULL,
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_policies PRIMARY KEY (domain, version),
    CONSTRAINT fk_policies_domain FOREIGN KEY (domain) REFERENCES domains (name)
);
"""

EXAMPLES = """
CREATE TABLE examples (
    id bigint GENERATED ALWAYS AS IDENTITY,
    capture_id uuid,
    fingerprint bytea NOT NULL,
    domain text NOT NULL,
    topic text NOT NULL,
    difficulty text NOT NULL,
    source text NOT NULL,
    state text NOT NULL,
    simulated boolean NOT NULL DEFAULT false,
    quality real,
    reason text,
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    captured_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    moved_at timestamptz NOT NULL,
    CONSTRAINT pk_examples PRIMARY KEY (id),
    CONSTRAINT uq_examples_capture_id UNIQUE (capture_id),
    CONSTRAINT uq_examples_fingerprint UNIQUE (fingerprint),
    CONSTRAINT fk_examples_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT ck_examples_source CHECK (
        source IN ('captured', 'bootstrapped', 'synthetic', 'imported', 'manual')),
    CONSTRAINT ck_examples_state CHECK (
        state IN ('candidate', 'admitted', 'in_review', 'rejected', 'parked', 'retired')),
    CONSTRAINT ck_examples_only_candidates_are_due CHECK (
        (state = 'candidate') = (due_at IS NOT NULL)),
    CONSTRAINT ck_examples_admitted_has_quality CHECK (
        state <> 'admitted' OR quality IS NOT NULL)
);
CREATE INDEX ix_examples_claim ON examples (due_at, id) WHERE state = 'candidate';
CREATE INDEX ix_examples_domain_state_topic_difficulty
    ON examples (domain, state, topic, difficulty);
CREATE INDEX ix_examples_domain_created_at ON examples (domain, created_at);

CREATE TABLE example_bodies (
    example_id bigint NOT NULL,
    payload json NOT NULL,
    CONSTRAINT pk_example_bodies PRIMARY KEY (example_id),
    CONSTRAINT fk_example_bodies_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE
);
"""

CAPTURES = """
CREATE TABLE capture_batches (
    batch_id text NOT NULL,
    received integer NOT NULL DEFAULT 0,
    new integer NOT NULL DEFAULT 0,
    duplicate integer NOT NULL DEFAULT 0,
    conflicting integer NOT NULL DEFAULT 0,
    refused integer NOT NULL DEFAULT 0,
    resent integer NOT NULL DEFAULT 0,
    at timestamptz NOT NULL,
    CONSTRAINT pk_capture_batches PRIMARY KEY (batch_id)
);

CREATE TABLE capture_duplicates (
    capture_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    domain text NOT NULL,
    source text NOT NULL,
    metadata json NOT NULL,
    payload json,
    conflicting boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL,
    CONSTRAINT pk_capture_duplicates PRIMARY KEY (capture_id, fingerprint),
    CONSTRAINT fk_capture_duplicates_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT ck_capture_duplicates_source CHECK (
        source IN ('captured', 'bootstrapped', 'synthetic', 'imported', 'manual')),
    CONSTRAINT ck_capture_duplicates_conflicting_keeps_payload CHECK (
        conflicting = (payload IS NOT NULL))
);

CREATE TABLE capture_refusals (
    batch_id text NOT NULL,
    position integer NOT NULL,
    code text NOT NULL,
    path text NOT NULL,
    message text NOT NULL,
    raw text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_capture_refusals PRIMARY KEY (batch_id, position),
    CONSTRAINT fk_capture_refusals_batch_id FOREIGN KEY (batch_id)
        REFERENCES capture_batches (batch_id)
);
"""

HISTORY = """
CREATE TABLE scores (
    id bigint GENERATED ALWAYS AS IDENTITY,
    example_id bigint NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL,
    verdict jsonb,
    accuracy real,
    coherence real,
    relevance real,
    educational_value real,
    rationales jsonb,
    judge_model text,
    rubric_version text,
    prompt_version text,
    policy_version integer NOT NULL,
    simulated boolean NOT NULL DEFAULT false,
    attempt integer NOT NULL,
    reason text,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_scores PRIMARY KEY (id),
    CONSTRAINT fk_scores_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE,
    CONSTRAINT ck_scores_kind CHECK (kind IN ('verifier', 'judge')),
    CONSTRAINT ck_scores_outcome CHECK (outcome IN ('scored', 'unscored')),
    CONSTRAINT ck_scores_verifier_has_verdict CHECK (
        (kind = 'verifier') = (verdict IS NOT NULL)),
    CONSTRAINT ck_scores_numbers_only_when_judged CHECK (
        num_nonnulls(accuracy, coherence, relevance, educational_value)
        = CASE WHEN kind = 'judge' AND outcome = 'scored' THEN 4 ELSE 0 END)
);
CREATE INDEX ix_scores_example_id ON scores (example_id);

CREATE TABLE transitions (
    id bigint GENERATED ALWAYS AS IDENTITY,
    example_id bigint NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    move text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    actor text NOT NULL,
    policy_version integer NOT NULL,
    score_id bigint,
    at timestamptz NOT NULL,
    CONSTRAINT pk_transitions PRIMARY KEY (id),
    CONSTRAINT fk_transitions_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE,
    CONSTRAINT fk_transitions_score_id FOREIGN KEY (score_id)
        REFERENCES scores (id) ON DELETE CASCADE,
    CONSTRAINT ck_transitions_from_state CHECK (
        from_state IN ('candidate', 'admitted', 'in_review', 'rejected', 'parked', 'retired')),
    CONSTRAINT ck_transitions_to_state CHECK (
        to_state IN ('candidate', 'admitted', 'in_review', 'rejected', 'parked', 'retired')),
    CONSTRAINT ck_transitions_move CHECK (
        move IN ('admit', 'review', 'reject', 'park', 'unpark', 'approve', 'flag', 'retire',
                 'restore', 'replay'))
);
CREATE INDEX ix_transitions_example_id_to_state ON transitions (example_id, to_state);
CREATE INDEX ix_transitions_score_id ON transitions (score_id);
"""

OPTIMIZATION = """
CREATE TABLE dataset_versions (
    id bigint GENERATED ALWAYS AS IDENTITY,
    domain text NOT NULL,
    number bigint NOT NULL,
    fingerprint text NOT NULL,
    signature json NOT NULL,
    policy_version integer NOT NULL,
    counts jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    frozen_at timestamptz NOT NULL,
    CONSTRAINT pk_dataset_versions PRIMARY KEY (id),
    CONSTRAINT uq_dataset_versions_fingerprint UNIQUE (fingerprint),
    CONSTRAINT uq_dataset_versions_domain_number UNIQUE (domain, number),
    CONSTRAINT fk_dataset_versions_domain FOREIGN KEY (domain) REFERENCES domains (name)
);

CREATE TABLE dataset_members (
    version_id bigint NOT NULL,
    example_id bigint NOT NULL,
    split text NOT NULL,
    position integer NOT NULL,
    cluster integer NOT NULL,
    fingerprint text NOT NULL,
    content json NOT NULL,
    topic text NOT NULL,
    difficulty text NOT NULL,
    source text NOT NULL,
    simulated boolean NOT NULL,
    quality double precision NOT NULL,
    CONSTRAINT pk_dataset_members PRIMARY KEY (version_id, example_id),
    CONSTRAINT uq_dataset_members_version_id_split_position
        UNIQUE (version_id, split, position),
    CONSTRAINT fk_dataset_members_version_id FOREIGN KEY (version_id)
        REFERENCES dataset_versions (id),
    CONSTRAINT ck_dataset_members_split CHECK (split IN ('train', 'val', 'test'))
);
CREATE INDEX ix_dataset_members_example_id ON dataset_members (example_id);

CREATE TABLE runs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    domain text NOT NULL,
    version_id bigint NOT NULL,
    state text NOT NULL,
    seed integer NOT NULL,
    auto text NOT NULL,
    model text NOT NULL,
    plan jsonb NOT NULL,
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    outages integer NOT NULL DEFAULT 0,
    cancel_requested boolean NOT NULL DEFAULT false,
    progress jsonb NOT NULL DEFAULT '{}',
    outcome jsonb,
    reason text,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT pk_runs PRIMARY KEY (id),
    CONSTRAINT fk_runs_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT fk_runs_version_id FOREIGN KEY (version_id) REFERENCES dataset_versions (id),
    CONSTRAINT ck_runs_state CHECK (
        state IN ('due', 'running', 'finished', 'failed', 'cancelled')),
    CONSTRAINT ck_runs_only_open_runs_are_due CHECK (
        (state IN ('due', 'running')) = (due_at IS NOT NULL))
);
CREATE UNIQUE INDEX uq_runs_open ON runs (domain) WHERE state IN ('due', 'running');
CREATE INDEX ix_runs_claim ON runs (due_at) WHERE state IN ('due', 'running');
CREATE INDEX ix_runs_domain_created_at ON runs (domain, created_at);

CREATE TABLE trials (
    run_id uuid NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    score double precision NOT NULL,
    instruction text NOT NULL,
    seconds double precision NOT NULL,
    calls integer NOT NULL,
    demos jsonb NOT NULL,
    CONSTRAINT pk_trials PRIMARY KEY (run_id, number),
    CONSTRAINT fk_trials_run_id FOREIGN KEY (run_id) REFERENCES runs (id),
    CONSTRAINT ck_trials_kind CHECK (kind IN ('full', 'minibatch'))
);

CREATE TABLE trial_items (
    run_id uuid NOT NULL,
    number integer NOT NULL,
    position integer NOT NULL,
    uid text NOT NULL,
    value double precision,
    error text,
    CONSTRAINT pk_trial_items PRIMARY KEY (run_id, number, position),
    CONSTRAINT fk_trial_items_run_id_number FOREIGN KEY (run_id, number)
        REFERENCES trials (run_id, number) ON DELETE CASCADE
);

CREATE TABLE programs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    domain text NOT NULL,
    run_id uuid NOT NULL,
    version_id bigint NOT NULL,
    state json NOT NULL,
    envelope json NOT NULL,
    items integer NOT NULL,
    requests integer NOT NULL,
    before double precision NOT NULL,
    after double precision NOT NULL,
    after_low double precision NOT NULL,
    after_high double precision NOT NULL,
    gain double precision NOT NULL,
    gain_low double precision NOT NULL,
    gain_high double precision NOT NULL,
    active boolean NOT NULL DEFAULT false,
    stale boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_programs PRIMARY KEY (id),
    CONSTRAINT uq_programs_run_id UNIQUE (run_id),
    CONSTRAINT fk_programs_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT fk_programs_run_id FOREIGN KEY (run_id) REFERENCES runs (id),
    CONSTRAINT fk_programs_version_id FOREIGN KEY (version_id)
        REFERENCES dataset_versions (id)
);
CREATE UNIQUE INDEX uq_programs_active ON programs (domain) WHERE active;
CREATE INDEX ix_programs_version_id ON programs (version_id);
"""

IMPORTS = """
CREATE TABLE imports (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    domain text NOT NULL,
    filename text NOT NULL,
    sha256 text NOT NULL,
    options json NOT NULL,
    state text NOT NULL,
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    read integer NOT NULL DEFAULT 0,
    new integer NOT NULL DEFAULT 0,
    duplicate integer NOT NULL DEFAULT 0,
    rejected integer NOT NULL DEFAULT 0,
    reason text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_imports PRIMARY KEY (id),
    CONSTRAINT fk_imports_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT ck_imports_state CHECK (state IN ('due', 'running', 'finished', 'failed')),
    CONSTRAINT ck_imports_only_open_imports_are_due CHECK (
        (state IN ('due', 'running')) = (due_at IS NOT NULL))
);
CREATE INDEX ix_imports_claim ON imports (due_at) WHERE state IN ('due', 'running');

CREATE TABLE import_chunks (
    import_id uuid NOT NULL,
    position integer NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT pk_import_chunks PRIMARY KEY (import_id, position),
    CONSTRAINT fk_import_chunks_import_id FOREIGN KEY (import_id)
        REFERENCES imports (id) ON DELETE CASCADE
);

CREATE TABLE import_rejects (
    import_id uuid NOT NULL,
    line integer NOT NULL,
    field text NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    remedy text NOT NULL,
    raw text NOT NULL,
    CONSTRAINT pk_import_rejects PRIMARY KEY (import_id, line, field, code),
    CONSTRAINT fk_import_rejects_import_id FOREIGN KEY (import_id)
        REFERENCES imports (id) ON DELETE CASCADE
);

CREATE TABLE reports (
    id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    body json NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_reports PRIMARY KEY (id)
);
CREATE INDEX ix_reports_kind_created_at ON reports (kind, created_at);
"""

# What was decided on is never rewritten. Purging an example takes its history along through the
# foreign key; such a DELETE runs inside the key's own trigger, hence the depth.
APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND pg_trigger_depth() > 1 THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only',
                          ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON scores
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON transitions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON policies
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON dataset_members
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

# No example is admitted, or moved at all, without the row that explains it. Checked at commit,
# because the two rows are written one after the other.
EXPLAINED = """
CREATE FUNCTION require_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM examples
               WHERE id = NEW.id AND state = NEW.state AND moved_at = NEW.moved_at)
       AND NOT EXISTS (SELECT FROM transitions
                       WHERE example_id = NEW.id AND to_state = NEW.state AND at = NEW.moved_at)
    THEN
        RAISE EXCEPTION USING
            MESSAGE = format('example %%s became %%s without a transition', NEW.id, NEW.state),
            ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER moves_are_explained AFTER UPDATE OF state ON examples
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION require_transition();
CREATE CONSTRAINT TRIGGER arrivals_are_candidates AFTER INSERT ON examples
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state <> 'candidate') EXECUTE FUNCTION require_transition();
"""


def upgrade() -> None:
    """Make everything."""
    for script in (
        DOMAINS,
        EXAMPLES,
        CAPTURES,
        HISTORY,
        OPTIMIZATION,
        IMPORTS,
        APPEND_ONLY,
        EXPLAINED,
    ):
        op.get_bind().exec_driver_sql(script)
