"""Files from strangers are read in a child process with bounded memory and time.

The one rule: the child gets bytes and gives back values; it has no path, no secret and no socket.
"""

from __future__ import annotations

from tdsys.intake.engine import Bounds, GuardedIntake

__all__ = ["Bounds", "GuardedIntake"]
