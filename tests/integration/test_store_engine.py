"""Connections and transactions: what a process is told when Postgres is not as it should be."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import make_url, text

from tdsys.errors import ConfigurationError, StoreUnavailable, Transient
from tdsys.store import Store, Tx, engine, policies
from tests.factories import NOW
from tests.stored import die, in_one_transaction


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def pid_of(tx: Tx) -> int:
    return int(tx.scalar(text("SELECT pg_backend_pid()")) or 0)


def backend(store: Store) -> int:
    with store.begin() as tx:
        return pid_of(tx)


def wait_until_gone(url: str, pid: int) -> None:
    alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    deadline = time.monotonic() + 10
    with psycopg.connect(url, autocommit=True) as other:
        while other.execute(alive, [pid]).fetchone() != (0,):
            assert time.monotonic() < deadline


def test_a_server_that_is_away_is_named_without_the_password(closed_port: int) -> None:
    store = Store(f"postgresql://app:hunter2@127.0.0.1:{closed_port}/tdsys")
    with pytest.raises(StoreUnavailable) as away, store.begin():
        pass
    assert f"127.0.0.1:{closed_port}" in str(away.value)
    assert "hunter2" not in str(away.value)
    assert isinstance(away.value, Transient)


def test_a_wrong_password_is_not_shown_either(database_url: str) -> None:
    url = make_url(database_url).set(password="hunter2").render_as_string(hide_password=False)
    with pytest.raises(StoreUnavailable) as refused, Store(url).begin():
        pass
    assert "hunter2" not in str(refused.value)


def test_values_never_reach_an_error_message(store: Store) -> None:
    with pytest.raises(Exception, match="division by zero") as failed, store.begin() as tx:
        tx.execute(text("SELECT 1 / (length(:secret) - 7)"), {"secret": "hunter2"})
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mysql://u:hunter2@h/d", "not a url", ""])
def test_anything_but_postgres_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Store(url)
    assert "TDSYS_DATABASE_URL" in refused.value.remedy
    assert "hunter2" not in str(refused.value)


def test_an_old_server_is_refused_with_its_version(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "OLDEST_POSTGRES", 99)
    with pytest.raises(ConfigurationError, match="the database server is Postgres") as refused:
        backend(Store(database_url))
    assert refused.value.remedy == "use Postgres 99 or later"


def test_what_raises_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        in_one_transaction(
            store, lambda tx: policies.ensure_domain(tx, domain="algebra", now=NOW), die
        )
    with store.begin() as tx:
        assert policies.domains(tx) == []


def test_a_cut_connection_is_an_outage_and_the_next_transaction_works(
    store: Store, database_url: str
) -> None:
    def cut(tx: Tx) -> None:
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid_of(tx)])

    with pytest.raises(StoreUnavailable):
        in_one_transaction(store, cut, pid_of)
    assert backend(store) > 0


def test_a_statement_that_takes_too_long_is_an_outage(store: Store) -> None:
    hurry, dawdle = text("SET LOCAL statement_timeout = '20ms'"), text("SELECT pg_sleep(30)")
    with pytest.raises(StoreUnavailable, match="statement timeout"):
        in_one_transaction(store, lambda tx: tx.execute(hurry), lambda tx: tx.execute(dawdle))


def test_an_idle_transaction_that_was_ended_is_an_outage(store: Store, database_url: str) -> None:
    def idle(tx: Tx) -> None:
        pid = pid_of(tx)
        tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = '20ms'"))
        wait_until_gone(database_url, pid)

    with pytest.raises(StoreUnavailable):
        in_one_transaction(store, idle, pid_of)


def test_every_connection_has_limits_and_speaks_utc(store: Store) -> None:
    with store.begin() as tx:
        found = {name: tx.scalar(text(f"SHOW {name}")) for name in engine.LIMITS}
    assert found == {
        "timezone": "UTC",
        "statement_timeout": "1min",
        "lock_timeout": "15s",
        "idle_in_transaction_session_timeout": "1min",
    }


def test_a_server_that_vanished_is_given_up_within_half_a_minute(store: Store) -> None:
    with store.begin() as tx:
        held = tx.connection.dbapi_connection
        assert held
        with socket.socket(fileno=os.dup(held.fileno())) as ours:
            asked = [
                ours.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            ]
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert asked == [15, 5, 3, 30_000]


def test_the_url_may_set_its_own_limits(database_url: str) -> None:
    store = Store(f"{database_url}?options=-c%20statement_timeout%3D7s")
    with store.begin() as tx:
        assert tx.scalar(text("SHOW statement_timeout")) == "7s"
    store.close()


def test_connections_that_are_all_in_use_are_an_outage(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POOL_SECONDS", 0.05)
    store = Store(database_url, pool_size=1)
    with store.begin(), store.begin(), pytest.raises(StoreUnavailable, match="are in use"):
        backend(store)
    store.close()


def test_threads_share_a_store(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = threads.map(lambda n: _make_domain(store, f"d{n % 4}"), range(32))
    assert sum(made) == 4


def _make_domain(store: Store, name: str) -> bool:
    with store.begin() as tx:
        return policies.ensure_domain(tx, domain=name, now=NOW)


def test_a_forked_child_opens_its_own_connection_and_leaves_the_parents_alone(
    store: Store,
) -> None:
    before = backend(store)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(backend(store)).encode())
            store.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    in_child = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    assert in_child not in {0, before}
    assert backend(store) == before


def test_closing_gives_the_connections_back_and_the_store_can_be_used_again(
    store: Store, database_url: str
) -> None:
    pid = backend(store)
    store.close()
    wait_until_gone(database_url, pid)
    assert backend(store) != pid


def test_a_database_without_our_schema_says_how_to_get_it(new_database: Callable[[], str]) -> None:
    store = Store(new_database())
    with pytest.raises(ConfigurationError, match="run `tdsys db upgrade`"), store.begin() as tx:
        policies.domains(tx)
    store.close()
