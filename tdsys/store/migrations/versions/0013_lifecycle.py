"""What is kept and what is gone: sizes, pins, prunings, tombstones, evictions."""

from __future__ import annotations

import importlib

from alembic import op

revision = "0013"
down_revision = "0012"

# An example knows how much it holds: to add that up from its payload would read all of them.
SIZES = """
ALTER TABLE examples ADD COLUMN size integer NOT NULL DEFAULT 0;
ALTER TABLE examples DISABLE TRIGGER USER;
UPDATE examples SET size = octet_length(payload::text)
FROM example_bodies WHERE example_id = id;
ALTER TABLE examples ENABLE TRIGGER USER;
"""

TABLES = """
CREATE TABLE pins (
    example_id bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_pins PRIMARY KEY (example_id),
    CONSTRAINT fk_pins_example_id FOREIGN KEY (example_id)
        REFERENCES examples (id) ON DELETE CASCADE
);
CREATE TABLE prunings (
    domain text NOT NULL,
    token uuid NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_prunings PRIMARY KEY (domain),
    CONSTRAINT fk_prunings_domain FOREIGN KEY (domain) REFERENCES domains (name)
);
CREATE TABLE tombstones (
    fingerprint bytea NOT NULL,
    forgotten boolean NOT NULL DEFAULT false,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_tombstones PRIMARY KEY (fingerprint)
);
CREATE TABLE cache_evictions (
    id bigint GENERATED ALWAYS AS IDENTITY,
    tag text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_cache_evictions PRIMARY KEY (id)
);
CREATE INDEX ix_cache_evictions_at ON cache_evictions (at);
ALTER TABLE dataset_members ALTER COLUMN content DROP NOT NULL;
"""

# The one change of a row that is never rewritten: the content of a member is forgotten. It runs
# inside the trigger of a tombstone, hence the depth.
APPEND_ONLY = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND pg_trigger_depth() > 1 THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'dataset_members' AND pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only',
                          ERRCODE = 'restrict_violation';
END
$$;
"""

BURIAL = """
CREATE FUNCTION bury() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM judgements WHERE fingerprint IN (SELECT fingerprint FROM after_rows);
    UPDATE dataset_members SET content = NULL
    WHERE content IS NOT NULL AND fingerprint IN (
        SELECT encode(fingerprint, 'hex') FROM after_rows WHERE forgotten);
    RETURN NULL;
END
$$;
CREATE TRIGGER bury AFTER INSERT ON tombstones REFERENCING NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION bury();
CREATE TRIGGER bury_again AFTER UPDATE ON tombstones REFERENCING NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION bury();
"""


IS_FORGOTTEN = """
CREATE FUNCTION is_forgotten(content bytea) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM tombstones WHERE fingerprint = content AND forgotten)
$$;
"""
# The places of `store_arrivals` that change. What is forgotten counts as a duplicate, and nothing
# of it is kept but the id it came under.
CHANGES = {
    "CREATE FUNCTION store_arrivals": "CREATE OR REPLACE FUNCTION store_arrivals",
    "state, due_at, created_at, moved_at)": "state, due_at, created_at, moved_at, size)",
    "ready_at, arrived_at, arrived_at\n": (
        "ready_at, arrived_at, arrived_at,\n               octet_length(g.payload::text)\n"
    ),
    "WHERE d.capture_id = g.capture_id)\n        ORDER": (
        "WHERE d.capture_id = g.capture_id)\n"
        "          AND NOT is_forgotten(g.fingerprint)\n        ORDER"
    ),
    "SELECT u.*, NOT seen AND (": (
        "SELECT u.*, is_forgotten(u.fingerprint) AS gone,\n"
        "               NOT seen AND NOT is_forgotten(u.fingerprint) AND ("
    ),
    "from_source, payload -> 'metadata',": (
        "from_source,\n               CASE WHEN gone THEN '{}' ELSE payload -> 'metadata' END,"
    ),
}


def upgrade() -> None:
    """Make them, and let what arrives know its size and what is forgotten stay out."""
    arrivals = importlib.import_module("tdsys.store.migrations.versions.0002_arrivals")
    for script in (SIZES, TABLES, APPEND_ONLY, BURIAL, IS_FORGOTTEN, _changed(arrivals.STORE)):
        op.get_bind().exec_driver_sql(script)


def _changed(function: str) -> str:
    for before, after in CHANGES.items():
        if function.count(before) != 1:
            raise ValueError(f"the function has not one place like {before!r}")
        function = function.replace(before, after)
    return function
