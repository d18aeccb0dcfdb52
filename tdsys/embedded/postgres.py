"""A Postgres server of our own in `home`/postgres.

The one rule: it is Postgres that says when it is ready (postmaster.pid), never an SQL client here.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import time
from pathlib import Path

from tdsys.embedded import binaries
from tdsys.embedded.account import own_folder, service_account, stand_in
from tdsys.embedded.home import disk_errors, open_home, password, write_private
from tdsys.embedded.ports import LOOPBACK
from tdsys.embedded.supervisor import (
    POLL,
    Child,
    Life,
    Report,
    ServerPlan,
    Supervised,
    failed,
    run_once,
    silent,
    start_on_port,
    stop_all,
)
from tdsys.errors import ConfigurationError, Conflict

USER = DATABASE = "tdsys"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "120",
    "synchronous_commit": "on",
    # What one process writes much of is on the disk before another one's commit has to wait for it.
    "wal_writer_delay": "10ms",
    # A new file of the log takes 60 ms, for which every commit waits: old ones are used again. And
    # after each checkpoint whole pages are logged again, so a large prune has few of them.
    "min_wal_size": "1GB",
    "max_wal_size": "4GB",
    "cluster_name": "tdsys",
}
# Of memory, an eighth between these. With few, a large prune takes half as long again: every page
# that is read puts out one that somebody has written.
LEAST_BUFFERS, MOST_BUFFERS = 128, 512  # MB
INITDB = (
    *("-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"),
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    *("--no-sync", "--no-instructions"),
)
LONGEST_RECOVERY = 600.0  # seconds; after a crash Postgres first replays its log
LONGEST_SHUTDOWN = 30.0
READY_LINE = 7  # of postmaster.pid: LOCK_FILE_LINE_PM_STATUS - 1 (miscadmin.h)


class EmbeddedPostgres:
    """One cluster and the server on it; `start()` makes what is missing."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        held: tuple[int, ...] = (),
        report: Report = silent,
    ) -> None:
        self.home = open_home(home)
        self.folder = self.home / "postgres"
        self.data = self.folder / "data"
        self.port = port
        self._asked = port
        self._plan = ServerPlan(held=held, patience=LONGEST_RECOVERY, report=report)
        self._account = service_account()
        self._running: Supervised | None = None

    @property
    def dsn(self) -> str:
        """Where the started server is: postgresql://USER:PASSWORD@HOST:PORT/DATABASE."""
        secret = password(self.home, "postgres")
        return f"postgresql://{USER}:{secret}@{LOOPBACK}:{self.port}/{DATABASE}"

    def start(self) -> Supervised:
        """Serve the cluster, making it first if there is none; ready when this returns."""
        programs = binaries.postgres(self.home, self._account)
        if not self.folder.exists():
            self._create(programs)
        self._check(programs.major)
        self._settle()
        self._running = start_on_port(
            "postgres",
            self.home,
            lambda port: self._server(programs.postgres, port),
            asked=self._asked,
            plan=self._plan,
        )
        return self._running

    def stop(self) -> None:
        """Shut down at once but cleanly; open transactions are rolled back."""
        if self._running:
            stop_all([self._running])

    def _server(self, program: str, port: int) -> Child:
        self.port = port
        settings = {**SETTINGS, "shared_buffers": f"{_buffers()}MB"}
        flags = [part for item in settings.items() for part in ("-c", "=".join(item))]
        where = stand_in(self.data, self._account)
        return Child(
            name="postgres",
            argv=(program, "-D", where, "-p", str(port), *flags),
            env=_environment(),
            cwd=self.data,
            address=f"{LOOPBACK}:{port}",
            account=self._account,
            ready=self._is_ready,
            stop_signal=signal.SIGINT,  # "fast shutdown"
            death_signal=signal.SIGINT,
        )

    def _is_ready(self, life: Life) -> bool:
        # a stale file of a killed server says "ready" too: it must be of this process
        lines = self._pid_file()
        return len(lines) > READY_LINE and (lines[0], lines[READY_LINE]) == (str(life.pid), "ready")

    def _pid_file(self) -> list[str]:
        try:
            text = (self.data / "postmaster.pid").read_text()
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]

    def _create(self, programs: binaries.PostgresBinaries) -> None:
        """Make the cluster beside its place and move it in when it is whole."""
        self._plan.report("creating the database")
        _check_user_has_a_name()
        fresh = self.folder.with_name(".postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            with disk_errors(fresh):
                own_folder(fresh, self._account)
                own_folder(fresh / "data", self._account)
            self._initialise(programs, fresh)
            fresh.rename(self.folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _initialise(self, programs: binaries.PostgresBinaries, fresh: Path) -> None:
        data, log = fresh / "data", self.home / "logs" / "initdb.log"
        where = stand_in(data, self._account)
        secret = fresh / "password"
        write_private(secret, password(self.home, "postgres") + "\n")
        if self._account:
            os.chown(secret, *self._account)
        argv = (programs.initdb, "-D", where, "--pwfile=../password", *INITDB)
        run_once(self._tool("initdb", argv, data), log, report=self._plan.report)
        secret.unlink()
        single = (programs.postgres, "--single", "-F", "-j", "-D", where, "postgres")
        said = run_once(
            self._tool("postgres --single", single, data),
            log,
            given=f"CREATE DATABASE {DATABASE};\n\n".encode(),
            report=self._plan.report,
        )
        if "ERROR" in said:
            raise failed("postgres --single", log, said)

    def _tool(self, name: str, argv: tuple[str, ...], cwd: Path) -> Child:
        return Child(name=name, argv=argv, env=_environment(), cwd=cwd, account=self._account)

    def _check(self, major: int) -> None:
        """The cluster must be of this major version, and we must know its password."""
        found = (self.data / "PG_VERSION").read_text().strip()
        if found != str(major):
            raise ConfigurationError(
                f"{self.data} holds data of Postgres {found}, and this is Postgres {major}",
                remedy=f"dump it with Postgres {found} (pg_dumpall) and load it into a new"
                " TDSYS_HOME, or set TDSYS_DATABASE_URL",
            )
        if not (self.home / "secrets" / "postgres").exists():
            raise ConfigurationError(
                f"{self.home / 'secrets' / 'postgres'}, the password of the database, is missing",
                remedy="restore the file, or set TDSYS_HOME to a new folder",
            )

    def _settle(self) -> None:
        """Wait for a server that is still ending; forget one that is long gone."""
        deadline = time.monotonic() + LONGEST_SHUTDOWN
        while (lines := self._pid_file()) and _is_postgres(lines[0]):
            if time.monotonic() > deadline:
                raise Conflict(
                    f"{self.data} is served by process {lines[0]}",
                    remedy=f"end that process, for example with: kill -INT {lines[0]}",
                )
            time.sleep(POLL)
        # Postgres refuses a pid file whose number now belongs to any process of the same user
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def _buffers() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return min(max(memory // 8, LEAST_BUFFERS), MOST_BUFFERS)


def _environment() -> dict[str, str]:
    kept = {k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH") if k in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _is_postgres(pid: str) -> bool:
    try:
        return b"postgres" in Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return False


def _check_user_has_a_name() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise ConfigurationError(
            f"initdb needs a user with a name, and user id {os.geteuid()} has none",
            remedy="run as a user listed in /etc/passwd, or set TDSYS_DATABASE_URL",
        ) from None
