"""People: who may sign in, their sessions and tokens, failed tries, and what was done to them."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

PEOPLE = """
CREATE TABLE users (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    password text NOT NULL,
    role text NOT NULL,
    domains text[],
    created_at timestamptz NOT NULL,
    disabled_at timestamptz,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_name UNIQUE (name),
    CONSTRAINT ck_users_role CHECK (
        role IN ('viewer', 'reviewer', 'curator', 'operator', 'admin'))
);

CREATE TABLE sessions (
    token bytea NOT NULL,
    user_id bigint NOT NULL,
    address text NOT NULL,
    browser text NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (token),
    CONSTRAINT fk_sessions_user_id FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_sessions_seen_at ON sessions (seen_at);

CREATE TABLE api_tokens (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    name text NOT NULL,
    secret bytea NOT NULL,
    role text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT pk_api_tokens PRIMARY KEY (id),
    CONSTRAINT fk_api_tokens_user_id FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT ck_api_tokens_role CHECK (
        role IN ('viewer', 'reviewer', 'curator', 'operator', 'admin'))
);
CREATE INDEX ix_api_tokens_user_id ON api_tokens (user_id);

CREATE TABLE sign_in_failures (
    name bytea NOT NULL,
    address text NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    last_at timestamptz NOT NULL,
    free_at timestamptz NOT NULL,
    CONSTRAINT pk_sign_in_failures PRIMARY KEY (name, address)
);
CREATE INDEX ix_sign_in_failures_last_at ON sign_in_failures (last_at);

CREATE TABLE people_events (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    event text NOT NULL,
    actor text NOT NULL,
    detail text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_people_events PRIMARY KEY (id),
    CONSTRAINT fk_people_events_user_id FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT ck_people_events_event CHECK (
        event IN ('created', 'changed', 'disabled', 'enabled', 'password', 'signed_in', 'refused',
                  'signed_out', 'revoked', 'token_made', 'token_ended'))
);
CREATE INDEX ix_people_events_user_id_at ON people_events (user_id, at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON people_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Make the tables of people."""
    op.get_bind().exec_driver_sql(PEOPLE)
