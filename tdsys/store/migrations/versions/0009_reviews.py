"""Reviews: what waits for a person, what people said, what they changed.

A row of `reviews` comes and goes with the state in_review, whoever moves the example.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

REVIEWS = """
CREATE TABLE reviews (
    example_id bigint NOT NULL,
    domain text NOT NULL,
    topic text NOT NULL,
    entry uuid NOT NULL DEFAULT gen_random_uuid(),
    rank double precision NOT NULL,
    why jsonb NOT NULL DEFAULT '[]',
    needs integer NOT NULL DEFAULT 1,
    for_curator boolean NOT NULL DEFAULT false,
    version integer NOT NULL DEFAULT 0,
    claimed_by text,
    token uuid,
    claimed_at timestamptz,
    leased_until timestamptz,
    entered_at timestamptz NOT NULL,
    valued_at timestamptz,
    CONSTRAINT pk_reviews PRIMARY KEY (example_id),
    CONSTRAINT uq_reviews_token UNIQUE (token),
    CONSTRAINT fk_reviews_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE,
    CONSTRAINT ck_reviews_claim_is_whole CHECK (
        num_nulls(claimed_by, token, claimed_at, leased_until) IN (0, 4))
);
CREATE INDEX ix_reviews_next ON reviews (domain, for_curator, rank DESC, example_id);
CREATE INDEX ix_reviews_next_of_topic ON reviews (domain, topic, for_curator, rank DESC);
CREATE INDEX ix_reviews_claimed_by ON reviews (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX ix_reviews_valued_at ON reviews (valued_at);

CREATE TABLE review_events (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    example_id bigint NOT NULL,
    entry uuid NOT NULL,
    token uuid NOT NULL,
    person text NOT NULL,
    act text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    before json NOT NULL,
    after json NOT NULL,
    seconds double precision NOT NULL,
    policy_version integer NOT NULL,
    transition_id bigint,
    undoes bigint,
    at timestamptz NOT NULL,
    CONSTRAINT pk_review_events PRIMARY KEY (id),
    CONSTRAINT uq_review_events_token UNIQUE (token),
    CONSTRAINT uq_review_events_undoes UNIQUE (undoes),
    CONSTRAINT fk_review_events_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE,
    CONSTRAINT fk_review_events_transition_id FOREIGN KEY (transition_id)
        REFERENCES transitions (id) ON DELETE CASCADE,
    CONSTRAINT fk_review_events_undoes FOREIGN KEY (undoes)
        REFERENCES review_events (id) ON DELETE CASCADE,
    CONSTRAINT ck_review_events_act CHECK (
        act IN ('approve', 'reject', 'edit', 'skip', 'flag', 'undo')),
    CONSTRAINT ck_review_events_an_undo_undoes CHECK ((act = 'undo') = (undoes IS NOT NULL))
);
CREATE INDEX ix_review_events_example_id_entry ON review_events (example_id, entry);
CREATE INDEX ix_review_events_person_at ON review_events (person, at);
CREATE INDEX ix_review_events_transition_id ON review_events (transition_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON review_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE example_revisions (
    example_id bigint NOT NULL,
    number integer NOT NULL,
    payload json NOT NULL,
    fingerprint bytea NOT NULL,
    last_score_id bigint NOT NULL,
    editor text NOT NULL,
    vouched boolean NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_example_revisions PRIMARY KEY (example_id, number),
    CONSTRAINT fk_example_revisions_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE
);
CREATE INDEX ix_example_revisions_fingerprint ON example_revisions (fingerprint);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON example_revisions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE review_drafts (
    example_id bigint NOT NULL,
    person text NOT NULL,
    content jsonb NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_review_drafts PRIMARY KEY (example_id, person),
    CONSTRAINT fk_review_drafts_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE
);

CREATE TABLE review_skips (
    example_id bigint NOT NULL,
    person text NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT pk_review_skips PRIMARY KEY (example_id, person),
    CONSTRAINT fk_review_skips_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE
);
"""

MOVES = """
ALTER TABLE transitions DROP CONSTRAINT ck_transitions_move;
ALTER TABLE transitions ADD CONSTRAINT ck_transitions_move CHECK (
    move IN ('admit', 'review', 'reject', 'park', 'unpark', 'approve', 'flag', 'retire', 'restore',
             'replay', 'edit', 'undo')) NOT VALID;
ALTER TABLE transitions VALIDATE CONSTRAINT ck_transitions_move;
"""

# A value of 0 until the program that moved it, or the next bell, says what a look is worth.
QUEUE = """
CREATE FUNCTION rank_of_nothing(since timestamptz) RETURNS double precision
    LANGUAGE sql STABLE AS $$
    SELECT -extract(epoch FROM since - timestamptz '2026-01-01 00:00:00+00') / (20 * 86400)
$$;
CREATE FUNCTION queue_for_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'in_review' THEN
        INSERT INTO reviews (example_id, domain, topic, rank, entered_at)
        VALUES (NEW.id, NEW.domain, NEW.topic, rank_of_nothing(NEW.moved_at), NEW.moved_at)
        ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM reviews WHERE example_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER waits_for_review AFTER UPDATE OF state ON examples FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state
          AND 'in_review' IN (OLD.state, NEW.state))
    EXECUTE FUNCTION queue_for_review();
INSERT INTO reviews (example_id, domain, topic, rank, entered_at)
    SELECT id, domain, topic, rank_of_nothing(moved_at), moved_at FROM examples
    WHERE state = 'in_review';
"""


def upgrade() -> None:
    """Make the tables and the queue of what waits already."""
    for script in (REVIEWS, MOVES, QUEUE):
        op.get_bind().exec_driver_sql(script)
