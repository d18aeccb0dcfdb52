"""A whole stack in processes of its own, for the tests that tell a story from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from tdsys.runtime import Runtime
from tdsys.settings import Settings, addresses
from tdsys.stages import auditing
from tdsys.store.invariants import Finding

LOOK_EVERY = 0.1


def until(look: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Wait for a state: the first truthy answer, or a failure that says what is missing."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(LOOK_EVERY)
    return found


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
        known = addresses(self.home)
        self.runtime = Runtime(
            Settings(
                home=self.home,
                database_url=SecretStr(known["database_url"]),
                redis_url=SecretStr(known["redis_url"]),
            )
        )
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

    def kill_workers(self) -> list[int]:
        """kill -9 every worker with its pool; the pids killed."""
        pids = [
            one["pid"]
            for name, one in self.processes().items()
            if name.startswith("worker-") and one["pid"]
        ]
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
