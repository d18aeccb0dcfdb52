"""A migrated database for the whole session, empty before each test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import make_url, text

from tdsys.store import Store
from tdsys.store.schema import metadata

# A table with nothing in its file was never written to.
WRITTEN = """
SELECT relname, pg_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0
"""
FROM_ONE = """
SELECT setval(format('%I.%I', schemaname, sequencename), 1, false) FROM pg_sequences
WHERE schemaname = 'public' AND last_value IS NOT NULL
"""
LARGE = 1024 * 1024


@pytest.fixture(scope="session")
def new_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Makes empty databases; all are dropped in the end."""
    made: list[str] = []

    def make() -> str:
        name = f"tdsys_test_{uuid.uuid4().hex}"
        with psycopg.connect(postgres_url, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        made.append(name)
        return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)

    yield make
    with psycopg.connect(postgres_url, autocommit=True) as server:
        for name in made:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """A migrated database that the whole session shares."""
    url = new_database()
    store = Store(url)
    store.upgrade()
    store.close()
    return url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty, migrated store."""
    store = Store(database_url, pool_size=8)
    emptied(store)
    yield store
    store.close()


def emptied(store: Store) -> None:
    """Take every row away and count from one again.

    Row by row without any trigger, where there are few: TRUNCATE takes an eighth of a second.
    """
    with store.begin() as tx:
        found = {name: size for name, size in tx.execute(text(WRITTEN)) if name in metadata.tables}
        if max(found.values(), default=0) > LARGE:
            names = ", ".join(metadata.tables)
            tx.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        elif found:
            tx.execute(text("SET LOCAL session_replication_role = replica"))
            rows = "; ".join(f"DELETE FROM {name}" for name in found)  # noqa: S608  # our tables
            tx.exec_driver_sql(rows)
        tx.execute(text(FROM_ONE))
