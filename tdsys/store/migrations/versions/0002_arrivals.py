"""Captures are taken in by one statement a batch: a function of the database does the rest.

Statements of a function see what was committed before each of them, so what the unique keys
refused can be looked up afterwards, without another round trip.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

# `rows` is a JSON list of what tdsys.core.arrival writes, `payloads` the list of their payloads: a
# payload inside its row would be read twice. No two have the same capture id and fingerprint.
# Whoever calls has made the domains. A row comes to nothing when its capture id or
# its content is there already:
#   resent       the very same capture was stored before
#   conflicting  its id is in use for other content
#   duplicate    its content is in another capture
# Always in the order of fingerprints: two batches that overlap wait, they never deadlock.
STORE = """
CREATE FUNCTION store_arrivals(
    rows json, payloads json, row_count integer, from_source text,
    ready_at timestamptz, arrived_at timestamptz,
    OUT new integer, OUT duplicate integer, OUT conflicting integer, OUT resent integer
) LANGUAGE plpgsql AS $$
DECLARE
    added_ids bigint[];
BEGIN
    WITH given AS MATERIALIZED (
        SELECT r.capture_id, decode(r.fingerprint, 'hex') AS fingerprint, r.domain, r.topic,
               r.difficulty, r.simulated, r.captured_at, r.payload, r.place
        FROM ROWS FROM (json_to_recordset(rows) AS (
            capture_id uuid, fingerprint text, domain text, topic text, difficulty text,
            simulated boolean, captured_at timestamptz
        ), json_array_elements(payloads)) WITH ORDINALITY
        AS r(capture_id, fingerprint, domain, topic, difficulty, simulated, captured_at,
             payload, place)
    ), added AS (
        INSERT INTO examples (capture_id, fingerprint, domain, topic, difficulty, simulated,
                              captured_at, source, state, due_at, created_at, moved_at)
        SELECT g.capture_id, g.fingerprint, g.domain, g.topic, g.difficulty, g.simulated,
               g.captured_at, from_source, 'candidate', ready_at, arrived_at, arrived_at
        FROM given g
        WHERE NOT EXISTS (SELECT FROM capture_duplicates d WHERE d.capture_id = g.capture_id)
        ORDER BY g.fingerprint, g.place
        ON CONFLICT DO NOTHING
        RETURNING id, examples.capture_id, examples.fingerprint
    ), bodies AS (
        INSERT INTO example_bodies (example_id, payload)
        SELECT a.id, g.payload
        FROM added a JOIN given g USING (capture_id, fingerprint)
    )
    SELECT coalesce(array_agg(id), '{}') INTO added_ids FROM added;

    new := cardinality(added_ids);
    duplicate := 0;
    conflicting := 0;
    resent := 0;
    IF new = row_count THEN
        RETURN;
    END IF;

    WITH unplaced AS MATERIALIZED (
        SELECT r.capture_id, decode(r.fingerprint, 'hex') AS fingerprint, r.domain, r.payload,
               known.id IS NOT NULL OR held.capture_id IS NOT NULL AS seen
        FROM ROWS FROM (
            json_to_recordset(rows) AS (capture_id uuid, fingerprint text, domain text),
            json_array_elements(payloads)
        ) AS r(capture_id, fingerprint, domain, payload)
        LEFT JOIN examples known ON known.capture_id = r.capture_id
            AND known.fingerprint = decode(r.fingerprint, 'hex')
        LEFT JOIN capture_duplicates held ON held.capture_id = r.capture_id
            AND held.fingerprint = decode(r.fingerprint, 'hex')
        WHERE known.id IS NULL OR known.id <> ALL (added_ids)
    ), judged AS MATERIALIZED (
        SELECT u.*, NOT seen AND (
            EXISTS (SELECT FROM examples e WHERE e.capture_id = u.capture_id)
            OR EXISTS (SELECT FROM capture_duplicates d WHERE d.capture_id = u.capture_id)
        ) AS clashes
        FROM unplaced u
    ), remembered AS (
        INSERT INTO capture_duplicates
            (capture_id, fingerprint, domain, source, metadata, payload, conflicting, at)
        SELECT capture_id, fingerprint, domain, from_source, payload -> 'metadata',
               CASE WHEN clashes THEN payload END, clashes, arrived_at
        FROM judged WHERE NOT seen
        ORDER BY capture_id, fingerprint
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) FILTER (WHERE NOT seen AND NOT clashes), count(*) FILTER (WHERE clashes),
           count(*) FILTER (WHERE seen)
    INTO duplicate, conflicting, resent FROM judged;
END
$$;
"""

# `places` holds the position of each row in the batch as it was sent; `refusals` those that are
# no rows. A batch that was here before changes nothing and answers with the counts of then.
INGEST = """
CREATE FUNCTION ingest_batch(
    the_batch text, received integer, rows json, payloads json, places integer[], names text[],
    twice integer, refusals json, first_policy json, first_author text, arrived_at timestamptz,
    OUT new integer, OUT duplicate integer, OUT conflicting integer, OUT refused integer,
    OUT resent integer, OUT repeated boolean
) LANGUAGE plpgsql AS $$
DECLARE
    closed text[];
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
    SELECT coalesce(array_agg(domain), '{}') INTO closed FROM (
        SELECT DISTINCT ON (domain) domain, document FROM policies
        WHERE domain = ANY (names) ORDER BY domain, version DESC
    ) newest WHERE document ->> 'collection' = 'off';

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
        resent = ingest_batch.resent
    WHERE b.batch_id = the_batch;
END
$$;
"""

# In one order, so two batches with new domains never deadlock.
DOMAINS = """
CREATE FUNCTION make_domains(
    names text[], first_policy json, first_author text, made_at timestamptz
) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM unnest(names) AS wanted
        WHERE NOT EXISTS (SELECT FROM domains d WHERE d.name = wanted)
    ) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH made AS (
        INSERT INTO domains (name, created_at)
        SELECT DISTINCT wanted, made_at FROM unnest(names) AS wanted ORDER BY wanted
        ON CONFLICT DO NOTHING RETURNING name
    )
    INSERT INTO policies (domain, version, document, author, created_at)
    SELECT name, 1, first_policy, first_author, made_at FROM made
    RETURNING domain;
END
$$;
"""


def upgrade() -> None:
    """Make the three functions."""
    for script in (DOMAINS, STORE, INGEST):
        op.get_bind().exec_driver_sql(script)
