"""Fixtures: one Postgres and one Valkey per test process, or those TDSYS_TEST_*_URL name."""

from __future__ import annotations

import os
import shutil
import subprocess
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB; a cluster needs 40."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a small file system is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
