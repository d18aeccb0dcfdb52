"""Alerts: one firing row for each thing that is amiss; what rules look up, and follow."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

ALERTS = """
CREATE TABLE alerts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    state text NOT NULL,
    severity text NOT NULL,
    title text NOT NULL,
    detail text NOT NULL,
    remedy text NOT NULL,
    domain text,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    count integer NOT NULL DEFAULT 1,
    acknowledged_by text,
    acknowledged_at timestamptz,
    resolved_at timestamptz,
    CONSTRAINT pk_alerts PRIMARY KEY (id),
    CONSTRAINT fk_alerts_domain FOREIGN KEY (domain) REFERENCES domains (name),
    CONSTRAINT ck_alerts_state CHECK (state IN ('firing', 'resolved')),
    CONSTRAINT ck_alerts_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT ck_alerts_resolved_says_when CHECK (
        (state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT ck_alerts_acknowledged_says_when CHECK (
        (acknowledged_by IS NULL) = (acknowledged_at IS NULL))
);
CREATE UNIQUE INDEX uq_alerts_firing ON alerts (key) WHERE state = 'firing';
CREATE INDEX ix_alerts_last_seen_at ON alerts (last_seen_at);
"""

LOOKED_UP = """
CREATE INDEX ix_examples_decided ON examples (domain, moved_at DESC) WHERE state <> 'candidate';
CREATE INDEX ix_capture_duplicates_domain_at ON capture_duplicates (domain, at);
CREATE INDEX ix_transitions_approved ON transitions (example_id) WHERE move = 'approve';
"""

# Which policy was in force: of a run, of an import, of each domain in a batch of captures.
FOLLOWED = """
ALTER TABLE runs ADD COLUMN policy_version integer;
UPDATE runs SET policy_version = v.policy_version
FROM dataset_versions v WHERE v.id = runs.version_id;
ALTER TABLE runs ALTER COLUMN policy_version SET NOT NULL;

ALTER TABLE imports ADD COLUMN policy_version integer;
UPDATE imports SET policy_version = coalesce((
    SELECT max(version) FROM policies p
    WHERE p.domain = imports.domain AND p.created_at <= imports.created_at), 1);
ALTER TABLE imports ALTER COLUMN policy_version SET NOT NULL;

-- Empty for batches of before.
ALTER TABLE capture_batches ADD COLUMN policies jsonb NOT NULL DEFAULT '{}';
"""

# As before, and the batch keeps the version of each domain's policy.
INGEST = """
CREATE OR REPLACE FUNCTION ingest_batch(
    the_batch text, received integer, rows json, payloads json, places integer[], names text[],
    twice integer, refusals json, first_policy json, first_author text, arrived_at timestamptz,
    OUT new integer, OUT duplicate integer, OUT conflicting integer, OUT refused integer,
    OUT resent integer, OUT repeated boolean
) LANGUAGE plpgsql AS $$
DECLARE
    closed text[];
    used jsonb;
    unwanted integer := 0;
BEGIN
    INSERT INTO capture_batches (batch_id, received, at) VALUES (the_batch, received, arrived_at)
    ON CONFLICT DO NOTHING;
    repeated := NOT FOUND;
    IF repeated THEN
        SELECT b.new, b.duplicate, b.conflicting, b.refused, b.resent
        INTO new, duplicate, conflicting, refused, resent
        FROM capture_batches b WHERE batch_id = the_batch;
        RETURN;
    END IF;

    PERFORM make_domains(names, first_policy, first_author, arrived_at);
    SELECT coalesce(array_agg(domain) FILTER (WHERE document ->> 'collection' = 'off'), '{}'),
           coalesce(jsonb_object_agg(domain, version), '{}')
    INTO closed, used FROM (
        SELECT DISTINCT ON (domain) domain, version, document FROM policies
        WHERE domain = ANY (names) ORDER BY domain, version DESC
    ) newest;

    IF cardinality(closed) > 0 THEN
        INSERT INTO capture_refusals (batch_id, position, code, path, message, raw, at)
        SELECT the_batch, places[r.place], 'collection_off', 'domain',
               (r.element ->> 'domain') || ' collects nothing', '', arrived_at
        FROM json_array_elements(rows) WITH ORDINALITY AS r(element, place)
        WHERE r.element ->> 'domain' = ANY (closed);
        GET DIAGNOSTICS unwanted = ROW_COUNT;
        SELECT coalesce(json_agg(r.element ORDER BY r.place), '[]'),
               coalesce(json_agg(r.payload ORDER BY r.place), '[]')
        INTO rows, payloads
        FROM ROWS FROM (json_array_elements(rows), json_array_elements(payloads))
            WITH ORDINALITY AS r(element, payload, place)
        WHERE r.element ->> 'domain' <> ALL (closed);
    END IF;

    SELECT s.new, s.duplicate, s.conflicting, s.resent
    INTO new, duplicate, conflicting, resent
    FROM store_arrivals(rows, payloads, cardinality(places) - unwanted, 'captured',
                        arrived_at, arrived_at) s;
    INSERT INTO capture_refusals (batch_id, position, code, path, message, raw, at)
    SELECT the_batch, r.position, r.code, r.path, r.message, r.raw, arrived_at
    FROM json_to_recordset(refusals) AS r(
        position integer, code text, path text, message text, raw text);
    GET DIAGNOSTICS refused = ROW_COUNT;
    refused := refused + unwanted;
    resent := resent + twice;
    UPDATE capture_batches b
    SET new = ingest_batch.new, duplicate = ingest_batch.duplicate,
        conflicting = ingest_batch.conflicting, refused = ingest_batch.refused,
        resent = ingest_batch.resent, policies = used
    WHERE b.batch_id = the_batch;
END
$$;
"""


def upgrade() -> None:
    """Make the table and the indexes, and keep which policy was followed."""
    for script in (ALERTS, LOOKED_UP, FOLLOWED, INGEST):
        op.get_bind().exec_driver_sql(script)
