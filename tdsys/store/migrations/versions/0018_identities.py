"""Signing in by an identity provider, accounts without a password, and limits of pace."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

IDENTITIES = """
ALTER TABLE users ALTER COLUMN password DROP NOT NULL;

ALTER TABLE people_events DROP CONSTRAINT ck_people_events_event;
ALTER TABLE people_events ADD CONSTRAINT ck_people_events_event CHECK (
    event IN ('created', 'changed', 'disabled', 'enabled', 'password', 'signed_in', 'refused',
              'signed_out', 'revoked', 'token_made', 'token_ended', 'connected', 'disconnected'));

CREATE TABLE identities (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id bigint NOT NULL,
    follows boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT pk_identities PRIMARY KEY (id),
    CONSTRAINT uq_identities_issuer_subject UNIQUE (issuer, subject),
    CONSTRAINT fk_identities_user_id FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX ix_identities_user_id ON identities (user_id);

CREATE TABLE provider_visits (
    state bytea NOT NULL,
    browser bytea NOT NULL,
    nonce text NOT NULL,
    verifier text NOT NULL,
    next text NOT NULL,
    address text NOT NULL,
    user_id bigint,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_provider_visits PRIMARY KEY (state),
    CONSTRAINT fk_provider_visits_user_id FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX ix_provider_visits_created_at ON provider_visits (created_at);
CREATE INDEX ix_provider_visits_address ON provider_visits (address);

CREATE TABLE paces (
    who text NOT NULL,
    kind text NOT NULL,
    even_at timestamptz NOT NULL,
    CONSTRAINT pk_paces PRIMARY KEY (who, kind)
);
"""


def upgrade() -> None:
    """Make the tables; passwords may be left out."""
    op.get_bind().exec_driver_sql(IDENTITIES)
