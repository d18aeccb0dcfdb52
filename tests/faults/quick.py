"""A process's objects with leases of seconds, a judge that costs nothing and a loose clock."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

from tdsys import runtime
from tdsys.inbox import Inbox
from tdsys.intake import Bounds, GuardedIntake
from tdsys.settings import Settings
from tests.scripted import ScriptedJudge, ScriptedVerifier

LEASE = timedelta(seconds=2)
CLOCK = "clock-is-wrong-by"


class QuickRuntime(runtime.Runtime):
    """Claims for two seconds; its clock is wrong by the seconds in a file of TDSYS_HOME."""

    judge = ScriptedJudge()
    verifier = ScriptedVerifier()  # type: ignore[assignment]
    # A file of some dozen lines is then read in many steps, and killed between them.
    intake = GuardedIntake(Bounds(block=15))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.lease = LEASE
        self.inbox = Inbox(self.broker, lease=LEASE)

    def now(self) -> datetime:
        return super().now() + wrong_by(self.settings.home)

    def check_models(self) -> None:
        """There is none."""


def wrong_by(home: Path) -> timedelta:
    with contextlib.suppress(FileNotFoundError):
        return timedelta(seconds=float((home / CLOCK).read_text()))
    return timedelta()
