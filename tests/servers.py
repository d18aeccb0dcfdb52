"""Fixtures: one Postgres and one Valkey per test process, or those TDSYS_TEST_*_URL name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsys.embedded.postgres import EmbeddedPostgres
from tdsys.embedded.valkey import EmbeddedValkey


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres_url(server_home: Path) -> Iterator[str]:
    given = os.environ.get("TDSYS_TEST_DATABASE_URL")
    if given:
        yield given
        return
    server = EmbeddedPostgres(server_home)
    server.start()
    yield server.dsn
    server.stop()


@pytest.fixture(scope="session")
def redis_url(server_home: Path) -> Iterator[str]:
    given = os.environ.get("TDSYS_TEST_REDIS_URL")
    if given:
        yield given
        return
    server = EmbeddedValkey(server_home)
    server.start()
    yield server.url
    server.stop()
