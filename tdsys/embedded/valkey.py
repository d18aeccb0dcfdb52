"""A Valkey server of our own in `home`/valkey.

The one rule: nothing it was given is evicted or forgotten: `noeviction`, append-only file on.
Nothing larger than 8 MB gets in, twice what a worker reads: it writes down what it took.
"""

from __future__ import annotations

import os
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tdsys.embedded import binaries
from tdsys.embedded.account import own_folder, service_account, stand_in
from tdsys.embedded.home import disk_errors, open_home, password, write_private
from tdsys.embedded.ports import LOOPBACK, answers
from tdsys.embedded.supervisor import (
    Child,
    Life,
    Report,
    ServerPlan,
    Supervised,
    silent,
    start_on_port,
    stop_all,
)

CONFIGURATION = """\
bind {host}
port {port}
requirepass {secret}
dir "{where}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
proto-max-bulk-len 8mb
"""


class EmbeddedValkey:
    """One Valkey server with its append-only file."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        held: tuple[int, ...] = (),
        report: Report = silent,
    ) -> None:
        self.home = open_home(home)
        self.folder = self.home / "valkey"
        self.port = port
        self._asked = port
        self._plan = ServerPlan(held=held, report=report)
        self._account = service_account()
        self._running: Supervised | None = None

    @property
    def url(self) -> str:
        """Where the started server is: redis://:PASSWORD@HOST:PORT/0."""
        return f"redis://:{password(self.home, 'valkey')}@{LOOPBACK}:{self.port}/0"

    def start(self) -> Supervised:
        """Serve; ready when this returns."""
        program = str(binaries.valkey(self.home, self._account))
        with disk_errors(self.folder):
            own_folder(self.folder, self._account)
        self._running = start_on_port(
            "valkey",
            self.home,
            lambda port: self._server(program, port),
            asked=self._asked,
            plan=self._plan,
        )
        return self._running

    def stop(self) -> None:
        """Write out what is buffered and end."""
        if self._running:
            stop_all([self._running])

    def _server(self, program: str, port: int) -> Child:
        self.port = port
        where = stand_in(self.folder, self._account)
        self._configure(where, port)
        return Child(
            name="valkey",
            argv=(program, f"{where}/valkey.conf"),
            env={"PATH": os.environ.get("PATH", ""), "TZ": "UTC"},
            cwd=self.folder,
            address=f"{LOOPBACK}:{port}",
            account=self._account,
            ready=self._is_ready,
            # SIGTERM flushes the append-only file first
            death_signal=Child.stop_signal,
        )

    def _configure(self, where: str, port: int) -> None:
        secret = password(self.home, "valkey")
        text = CONFIGURATION.format(host=LOOPBACK, port=port, secret=secret, where=where)
        write_private(self.folder / "valkey.conf", text)
        if self._account:
            os.chown(self.folder / "valkey.conf", *self._account)

    def _is_ready(self, _life: Life) -> bool:
        if self.port is None or not answers(self.port):
            return False
        once = Retry(NoBackoff(), 0)
        try:
            # the password makes sure that it is ours that answers
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=once) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
