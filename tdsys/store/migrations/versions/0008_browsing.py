"""Looking at a million examples: counts kept while writing, words to search by, moves in bulk.

Counts are kept as differences: each statement that writes examples appends what it changed, and
`fold` adds them up now and then. So nobody who writes waits for anybody else who writes, which
rows that are counted up in place would make them do.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

# A person's reason may be long, and an index entry may not.
INDEXES = """
CREATE INDEX ix_examples_newest ON examples (domain, captured_at, id);
CREATE INDEX ix_examples_newest_decided ON examples (domain, state, captured_at, id)
    WHERE state <> 'candidate';
CREATE INDEX ix_examples_best ON examples (domain, quality, id) WHERE quality IS NOT NULL;
CREATE INDEX ix_examples_reason ON examples (left(reason, 100), domain) WHERE reason IS NOT NULL;
CREATE INDEX ix_examples_not_captured ON examples (source, domain) WHERE source <> 'captured';
CREATE INDEX ix_transitions_by_people ON transitions (at)
    WHERE score_id IS NULL AND move <> 'replay' AND detail NOT LIKE 'operation %%';
CREATE INDEX ix_capture_batches_at ON capture_batches (at, batch_id);
CREATE INDEX ix_imports_created_at ON imports (created_at, id);
"""

COUNTS = """
CREATE TABLE example_counts (
    domain text NOT NULL,
    topic text NOT NULL,
    difficulty text NOT NULL,
    source text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    n bigint NOT NULL,
    folded boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX uq_example_counts_folded
    ON example_counts (domain, topic, difficulty, source, state, reason) WHERE folded;

CREATE TABLE age_counts (
    domain text NOT NULL,
    state text NOT NULL,
    day date NOT NULL,
    n bigint NOT NULL,
    folded boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX uq_age_counts_folded ON age_counts (domain, state, day) WHERE folded;

CREATE TABLE score_counts (
    domain text NOT NULL,
    state text NOT NULL,
    dimension text NOT NULL,
    tenth smallint NOT NULL,
    simulated boolean NOT NULL,
    n bigint NOT NULL,
    folded boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX uq_score_counts_folded
    ON score_counts (domain, state, dimension, tenth, simulated) WHERE folded;
"""

# The newest score a judge gave counts, in the state its example has now. Numbers are stored with
# seven digits: 0.3 must not fall below itself. 1.0 counts as 0.9.
TENTHS = """
CREATE FUNCTION tenth(value real) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(floor(value * 10 + 1e-6), 9)::smallint
$$;
CREATE FUNCTION tenths_of(one scores) RETURNS TABLE (dimension text, tenth smallint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    VALUES ('accuracy', tenth(one.accuracy)), ('coherence', tenth(one.coherence)),
           ('relevance', tenth(one.relevance)),
           ('educational_value', tenth(one.educational_value))
$$;
"""

TRIGGERS = """
CREATE FUNCTION count_arrivals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO example_counts (domain, topic, difficulty, source, state, reason, n)
    SELECT domain, topic, difficulty, source, state, left(coalesce(reason, ''), 100), count(*)
    FROM after_rows GROUP BY 1, 2, 3, 4, 5, 6;
    INSERT INTO age_counts (domain, state, day, n)
    SELECT domain, state, (created_at AT TIME ZONE 'UTC')::date, count(*)
    FROM after_rows GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_departures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO example_counts (domain, topic, difficulty, source, state, reason, n)
    SELECT domain, topic, difficulty, source, state, left(coalesce(reason, ''), 100), -count(*)
    FROM before_rows GROUP BY 1, 2, 3, 4, 5, 6;
    INSERT INTO age_counts (domain, state, day, n)
    SELECT domain, state, (created_at AT TIME ZONE 'UTC')::date, -count(*)
    FROM before_rows GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A claim changes nothing that is counted, and there are many.
    IF NOT EXISTS (
        SELECT FROM before_rows b JOIN after_rows a USING (id)
        WHERE (b.domain, b.topic, b.difficulty, b.source, b.state, b.created_at)
              <> (a.domain, a.topic, a.difficulty, a.source, a.state, a.created_at)
           OR b.reason IS DISTINCT FROM a.reason
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO example_counts (domain, topic, difficulty, source, state, reason, n)
    SELECT domain, topic, difficulty, source, state, reason, sum(n) FROM (
        SELECT domain, topic, difficulty, source, state, left(coalesce(reason, ''), 100) AS reason,
               -1 AS n FROM before_rows
        UNION ALL
        SELECT domain, topic, difficulty, source, state, left(coalesce(reason, ''), 100), 1
        FROM after_rows
    ) AS steps GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(n) <> 0;
    INSERT INTO age_counts (domain, state, day, n)
    SELECT domain, state, (created_at AT TIME ZONE 'UTC')::date, sum(n) FROM (
        SELECT domain, state, created_at, -1 AS n FROM before_rows
        UNION ALL SELECT domain, state, created_at, 1 FROM after_rows
    ) AS steps GROUP BY 1, 2, 3 HAVING sum(n) <> 0;
    INSERT INTO score_counts (domain, state, dimension, tenth, simulated, n)
    SELECT steps.domain, steps.state, t.dimension, t.tenth, (word.score).simulated, sum(steps.n)
    FROM (
        SELECT b.id, b.domain, b.state, -1 AS n FROM before_rows b JOIN after_rows a USING (id)
        WHERE (b.domain, b.state) <> (a.domain, a.state)
        UNION ALL
        SELECT a.id, a.domain, a.state, 1 FROM before_rows b JOIN after_rows a USING (id)
        WHERE (b.domain, b.state) <> (a.domain, a.state)
    ) AS steps
    CROSS JOIN LATERAL (
        SELECT s AS score FROM scores s
        WHERE s.example_id = steps.id AND s.kind = 'judge' AND s.outcome = 'scored'
        ORDER BY s.id DESC LIMIT 1
    ) AS word
    CROSS JOIN LATERAL tenths_of(word.score) AS t
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(steps.n) <> 0;
    RETURN NULL;
END
$$;

-- Whoever scores an example holds its row, so two never believe to be the newest score.
CREATE FUNCTION count_scores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO score_counts (domain, state, dimension, tenth, simulated, n)
    SELECT e.domain, e.state, t.dimension, t.tenth, (step.score).simulated, sum(step.n)
    FROM (
        SELECT DISTINCT ON (example_id) example_id, id FROM after_rows
        WHERE kind = 'judge' AND outcome = 'scored' ORDER BY example_id, id DESC
    ) AS newest
    JOIN examples e ON e.id = newest.example_id
    CROSS JOIN LATERAL (
        SELECT s AS score, 1 AS n FROM scores s WHERE s.id = newest.id
        UNION ALL
        (SELECT s, -1 FROM scores s
         WHERE s.example_id = newest.example_id AND s.kind = 'judge' AND s.outcome = 'scored'
           AND s.id NOT IN (SELECT id FROM after_rows)
         ORDER BY s.id DESC LIMIT 1)
    ) AS step
    CROSS JOIN LATERAL tenths_of(step.score) AS t
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(step.n) <> 0;
    RETURN NULL;
END
$$;

-- Before the rows go: afterwards nothing would say which score was the newest.
CREATE FUNCTION count_purged_score() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO score_counts (domain, state, dimension, tenth, simulated, n)
    SELECT OLD.domain, OLD.state, t.dimension, t.tenth, (word.score).simulated, -1
    FROM (
        SELECT s AS score FROM scores s
        WHERE s.example_id = OLD.id AND s.kind = 'judge' AND s.outcome = 'scored'
        ORDER BY s.id DESC LIMIT 1
    ) AS word
    CROSS JOIN LATERAL tenths_of(word.score) AS t;
    RETURN OLD;
END
$$;

CREATE TRIGGER count_arrivals AFTER INSERT ON examples REFERENCING NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_arrivals();
CREATE TRIGGER count_changes AFTER UPDATE ON examples
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_changes();
CREATE TRIGGER count_departures AFTER DELETE ON examples REFERENCING OLD TABLE AS before_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_departures();
CREATE TRIGGER count_purged_score BEFORE DELETE ON examples
    FOR EACH ROW EXECUTE FUNCTION count_purged_score();
CREATE TRIGGER count_scores AFTER INSERT ON scores REFERENCING NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_scores();
"""

# What is here already is counted once.
FIRST_COUNT = """
INSERT INTO example_counts (domain, topic, difficulty, source, state, reason, n, folded)
SELECT domain, topic, difficulty, source, state, left(coalesce(reason, ''), 100), count(*), true
FROM examples GROUP BY 1, 2, 3, 4, 5, 6;
INSERT INTO age_counts (domain, state, day, n, folded)
SELECT domain, state, (created_at AT TIME ZONE 'UTC')::date, count(*), true
FROM examples GROUP BY 1, 2, 3;
INSERT INTO score_counts (domain, state, dimension, tenth, simulated, n, folded)
SELECT e.domain, e.state, t.dimension, t.tenth, (newest.score).simulated, count(*), true
FROM (
    SELECT DISTINCT ON (s.example_id) s.example_id, s AS score FROM scores s
    WHERE s.kind = 'judge' AND s.outcome = 'scored' ORDER BY s.example_id, s.id DESC
) AS newest
JOIN examples e ON e.id = newest.example_id
CROSS JOIN LATERAL tenths_of(newest.score) AS t
GROUP BY 1, 2, 3, 4, 5;
"""

# Beside the examples and behind them: an index of words kept while capturing would halve its rate.
WORDS = """
CREATE TABLE example_words (
    example_id bigint NOT NULL,
    words tsvector NOT NULL,
    template bigint NOT NULL,
    CONSTRAINT pk_example_words PRIMARY KEY (example_id),
    CONSTRAINT fk_example_words_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE
);
CREATE INDEX ix_example_words_words ON example_words USING gin (words);
CREATE INDEX ix_example_words_template ON example_words (template);

CREATE TABLE word_progress (
    indexed_to bigint NOT NULL
);
"""

OPERATIONS = """
CREATE TABLE operations (
    id bigint GENERATED ALWAYS AS IDENTITY,
    actor text NOT NULL,
    move text NOT NULL,
    reason text NOT NULL,
    filter json NOT NULL,
    domains json,
    state text NOT NULL,
    place bigint NOT NULL DEFAULT 0,
    until bigint NOT NULL,
    counts jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    undone_by text,
    undone_at timestamptz,
    CONSTRAINT pk_operations PRIMARY KEY (id),
    CONSTRAINT ck_operations_move CHECK (move IN ('admit', 'review', 'reject', 'park', 'unpark',
        'approve', 'flag', 'retire', 'restore', 'replay', 'edit', 'undo')),
    CONSTRAINT ck_operations_state CHECK (state IN
        ('listing', 'listed', 'moving', 'done', 'undoing', 'undone', 'discarded'))
);
CREATE INDEX ix_operations_open ON operations (id) WHERE state IN ('listing', 'moving', 'undoing');

CREATE TABLE operation_items (
    operation_id bigint NOT NULL,
    example_id bigint NOT NULL,
    from_state text NOT NULL,
    from_reason text,
    outcome text NOT NULL,
    moved_at timestamptz,
    CONSTRAINT pk_operation_items PRIMARY KEY (operation_id, example_id),
    CONSTRAINT fk_operation_items_operation_id FOREIGN KEY (operation_id)
        REFERENCES operations (id) ON DELETE CASCADE,
    CONSTRAINT ck_operation_items_outcome CHECK (outcome IN ('waiting', 'moved', 'illegal',
        'unscored', 'changed', 'gone', 'undone', 'kept'))
);
CREATE INDEX ix_operation_items_example_id ON operation_items (example_id);
"""


def upgrade() -> None:
    """Make indexes, counts with their triggers, words and operations."""
    for script in (INDEXES, COUNTS, TENTHS, TRIGGERS, FIRST_COUNT, WORDS, OPERATIONS):
        op.get_bind().exec_driver_sql(script)
