"""A real worker in a process of its own, and the queue in front of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import Redis

from tdsys import wire
from tdsys.broker import connect
from tdsys.wire import Task
from tests.processes import wait_for
from tests.running import children

ROOT = Path(__file__).parents[1]


class Desk:
    """A real worker, and the stream and queues in front of it."""

    def __init__(self, broker: Redis, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.broker, self._log, self._process = broker, log, process

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text()

    def ends(self) -> None:
        """Kill it with its pool."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_pool(self) -> None:
        for child in children(self._process.pid):
            os.kill(child, signal.SIGKILL)

    def put(self, records: str, *, batch_id: str = "b1") -> None:
        self.add({"batch": batch_id, "records": records})
        self.send(Task.INGEST)

    def add(self, fields: dict[Any, Any]) -> None:
        self.broker.xadd(wire.CAPTURES, fields)

    def send(self, task: Task, **headers: Any) -> None:
        message = json.loads(wire.envelope(task))
        message["headers"].update(headers)
        self.broker.lpush(wire.queue_key(task.queue), json.dumps(message))

    def rings(self) -> bool:
        """Ring as beat does, for waits: always true."""
        self.send(Task.INGEST)
        return True

    def acknowledged(self, batch_id: str = "b1") -> bool:
        return bool(self.broker.exists(wire.acknowledgement_key(batch_id)))

    def in_hand(self) -> int:
        """Messages that are read and not answered for."""
        return int(self.broker.hlen(wire.PREFIX + "unacked"))

    def waiting(self) -> int:
        return int(self.broker.xlen(wire.CAPTURES))


@contextmanager
def a_worker(
    redis_url: str, database_url: str, folder: Path, *, queues: str = "capture,reports", **also: str
) -> Iterator[Desk]:
    """A worker of one pool process; `also` goes into its environment."""
    broker = connect(redis_url)
    log = folder / "worker.log"
    command = ["-m", "celery", "-A", "tdsys.worker.app", "worker", "-n", "desk@%h", "-Q", queues]
    env = {
        **os.environ,
        "TDSYS_HOME": str(folder),
        "TDSYS_REDIS_URL": redis_url,
        "TDSYS_DATABASE_URL": database_url,
        **also,
    }
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, *command, "-c", "1", "--without-mingle", "--without-gossip", "-lINFO"],
            env=env,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        desk = Desk(broker, log, process)
        try:
            wait_for(lambda: " ready." in desk.log(), "the worker is ready")
            yield desk
        finally:
            desk.ends()
            broker.close()
