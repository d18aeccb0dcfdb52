"""A whole stack in processes of its own, for the tests that tell a story from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from tdsys.runtime import Runtime
from tdsys.settings import Settings, addresses
from tdsys.stages import auditing
from tdsys.store.invariants import Finding


def runtime_of(home: Path) -> Runtime:
    """The objects of a process that works with the stack in `home`."""
    known = addresses(home)
    return Runtime(
        Settings(
            home=home,
            database_url=SecretStr(known["database_url"]),
            redis_url=SecretStr(known["redis_url"]),
        )
    )


class RunningStack:
    """`tdsys up --detach` in a home of its own; `tdsys down` at the end."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        self.env = {**os.environ, "TDSYS_HOME": str(home), **env}
        for name in ("TDSYS_DATABASE_URL", "TDSYS_REDIS_URL"):
            self.env.pop(name, None)

    def __enter__(self) -> Self:
        done = self.tdsys("up", "--detach", "--no-flower")
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        self.runtime = runtime_of(self.home)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        broken = [] if kind else self.broken()
        self.runtime.close()
        done = self.tdsys("down")
        assert done.returncode == 0, done.stderr
        assert not broken

    def broken(self) -> list[Finding]:
        """The invariants that do not hold; every story ends with none."""
        found = auditing.audit(self.runtime.store, lease=self.runtime.lease, now=self.runtime.now())
        return [one for one in found if not one.holds]

    def tdsys(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as a person would."""
        return subprocess.run(
            [sys.executable, "-m", "tdsys", *words],
            env=self.env,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def processes(self) -> dict[str, dict[str, Any]]:
        """What `tdsys status` shows, by name."""
        found = json.loads(self.tdsys("status", "--json").stdout)
        return {one["name"]: one for one in found["processes"]}

    def workers(self) -> list[int]:
        """The pids of the workers; who wants them dead at a moment asks before it."""
        return [
            one["pid"]
            for name, one in self.processes().items()
            if name.startswith("worker-") and one["pid"]
        ]

    def kill_workers(self, workers: list[int] | None = None) -> list[int]:
        """kill -9 every worker with its pool, or these; the pids killed."""
        pids = self.workers() if workers is None else workers
        for pid in pids:
            for child in children(pid):
                _kill(child)
            _kill(pid)
        return pids

    def logs(self) -> str:
        """The end of every log, for a failed test's message."""
        return "\n".join(
            f"--- {path.name}\n" + path.read_text(errors="replace")[-1500:]
            for path in sorted((self.home / "logs").glob("*.log"))
        )


def children(pid: int) -> list[int]:
    """The processes `pid` started."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
