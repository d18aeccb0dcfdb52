"""One process's way to Postgres: connections, transactions, and errors in our words.

One rule: nothing with a socket exists before first use, so every forked child opens its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.pool import ConnectionPoolEntry

from tdsys.errors import ConfigurationError, StoreUnavailable
from tdsys.store.values import dump

Tx: TypeAlias = Connection

OLDEST_POSTGRES = 15
CONNECT_SECONDS = 5
POOL_SECONDS = 30.0
# Claims take milliseconds; whatever takes a minute is stuck and would hold locks.
LIMITS = {
    "timezone": "UTC",
    "statement_timeout": "60s",
    "lock_timeout": "15s",
    "idle_in_transaction_session_timeout": "60s",
}
# A server that vanished answers nothing, and TCP alone would wait for it for hours: libpq's names.
DEAD_AFTER = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# One that was of use so lately is not tried first, which would take a round trip each time; what a
# restart cuts off just then is StoreUnavailable, as in the middle of a transaction.
USED_LATELY = 1.0
WHERE_TO_SET = "set TDSYS_DATABASE_URL to postgresql://USER:PASSWORD@HOST:PORT/DATABASE"

# undefined_table, undefined_column, undefined_function (SQLSTATE, PostgreSQL appendix A)
FOREIGN_SCHEMA = frozenset({"42P01", "42703", "42883"})


class Store:
    """Postgres, as one process sees it; threads may share it, forked children too."""

    def __init__(self, url: str, *, pool_size: int = 4) -> None:
        self._url = parsed(url)
        self._pool_size = pool_size
        self._engines: dict[int, Engine] = {}
        self._direct: dict[int, Engine] = {}

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """One transaction: committed when the block ends, rolled back when it raises.

        StoreUnavailable when Postgres is away, slow or locked; the same work may succeed later.
        """
        with self._in_our_words(), self._engine().begin() as tx:
            yield tx

    @contextmanager
    def snapshot(self) -> Iterator[Tx]:
        """A transaction that only reads and sees one moment: what is read first and last agrees."""
        with self.begin() as tx:
            tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            yield tx

    @contextmanager
    def single(self) -> Iterator[Tx]:
        """For one statement that is a transaction by itself, and one round trip.

        The connection is not tried before: work that is repeated after StoreUnavailable anyway
        needs no second round trip to learn that Postgres was restarted meanwhile.
        """
        with self._in_our_words(), self._direct_engine().connect() as tx:
            yield tx

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except PoolExhausted as busy:
            raise StoreUnavailable(
                f"all connections to Postgres at {self.address} are in use",
                remedy="start fewer threads in this process",
            ) from busy
        except DBAPIError as failed:
            if getattr(failed.orig, "sqlstate", None) in FOREIGN_SCHEMA:
                raise ConfigurationError(
                    f"the database schema is not this program's: {_first_line(failed)}",
                    remedy="run `tdsys db upgrade`",
                ) from failed
            if not _is_outage(failed):
                raise
            raise StoreUnavailable(
                f"Postgres at {self.address}: {_first_line(failed)}",
                remedy="it will be tried again",
            ) from failed

    @property
    def address(self) -> str:
        """Host and port, for people; never the password."""
        host = self._url.host or self._url.query.get("host") or "localhost"
        return f"{host}:{self._url.port or 5432}"

    def upgrade(self) -> None:
        """Bring the schema to this program's version; harmless when it is, or when two do it."""
        from tdsys.store import migrations  # noqa: PLC0415  # alembic is slow to import, rarely used

        with self.begin() as tx:
            migrations.upgrade(tx)

    def check_schema(self) -> None:
        """ConfigurationError unless the schema is the one this program was written for."""
        from tdsys.store import migrations  # noqa: PLC0415

        with self.begin() as tx:
            found, needed = migrations.revisions(tx)
        if found == needed:
            return
        newer = found is not None and found not in migrations.known()
        raise ConfigurationError(
            f"the database schema is at {found or 'nothing'}, this program needs {needed}",
            remedy="install a newer tdsys" if newer else "run `tdsys db upgrade`",
        )

    def close(self) -> None:
        """Close this process's connections."""
        for engines in (self._engines, self._direct):
            engine = engines.pop(os.getpid(), None)
            if engine is not None:
                engine.dispose()

    def _engine(self) -> Engine:
        # A parent's engine stays in the table untouched: closing it here would close its sockets.
        pid = os.getpid()
        return self._engines.get(pid) or self._engines.setdefault(pid, self._new_engine())

    def _direct_engine(self) -> Engine:
        pid = os.getpid()
        return self._direct.get(pid) or self._direct.setdefault(
            pid, self._new_engine(is_tried=False, isolation_level="AUTOCOMMIT")
        )

    def _new_engine(self, *, is_tried: bool = True, **more: Any) -> Engine:
        options = " ".join(f"-c {name}={value}" for name, value in LIMITS.items())
        given = self._url.query.get("options")
        engine = create_engine(
            self._url,
            pool_size=self._pool_size,
            max_overflow=self._pool_size,
            pool_timeout=POOL_SECONDS,
            hide_parameters=True,
            json_serializer=dump,
            # What the URL says comes last and so wins.
            connect_args={
                **{name: n for name, n in DEAD_AFTER.items() if name not in self._url.query},
                "connect_timeout": CONNECT_SECONDS,
                "options": f"{options} {given}" if given else options,
            },
            **more,
        )
        event.listen(engine, "connect", _greet)
        if is_tried:
            event.listen(engine, "checkin", _note_use)
            event.listen(engine, "checkout", partial(_try, engine.dialect))
        return engine


def parsed(url: str) -> URL:
    """The URL with our driver; ConfigurationError when it names no Postgres."""
    try:
        given = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError("the database URL cannot be read", remedy=WHERE_TO_SET) from None
    if given.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigurationError(
            f"{given.get_backend_name()} is not Postgres, and only Postgres "
            f"has what the store needs",
            remedy=WHERE_TO_SET,
        )
    return given.set(drivername="postgresql+psycopg")


def refuse_old(server_version: int) -> None:
    """ConfigurationError for a server before OLDEST_POSTGRES; libpq's number, 150004 = 15.4."""
    if server_version < OLDEST_POSTGRES * 10_000:
        raise ConfigurationError(
            f"the database server is Postgres {server_version // 10_000}",
            remedy=f"use Postgres {OLDEST_POSTGRES} or later",
        )


def _greet(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    refuse_old(connection.info.server_version)


def _note_use(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    entry.info["used"] = time.monotonic()


def _try(
    dialect: Dialect, connection: DBAPIConnection, entry: ConnectionPoolEntry, _given: object
) -> None:
    """Have the pool open all anew where one that lay idle does not answer."""
    used = entry.info.get("used")
    if used is None or time.monotonic() - used < USED_LATELY:
        return
    try:
        dialect.do_ping(connection)
    except Exception as gone:
        raise InvalidatePoolError from gone


def _is_outage(failed: DBAPIError) -> bool:
    # Class 54: a value is too big for the server, now and always, though it calls it operational.
    if str(getattr(failed.orig, "sqlstate", None) or "").startswith("54"):
        return False
    return failed.connection_invalidated or isinstance(failed, OperationalError | InterfaceError)


def _first_line(failed: DBAPIError) -> str:
    return str(failed.orig).strip().partition("\n")[0] or type(failed.orig).__name__
