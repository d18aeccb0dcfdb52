"""Works calculations out in a guarded child that has neither files nor a network.

One rule: whatever a child does, its calculation is refused with a reason and the next has a fresh
one.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from tdsys.core.calculating import Calculated
from tdsys.verify.guarding import GuardedChild

CHILD = Path(__file__).with_name("calculator.py")
MAX_CHARS = 4000
DIED = "it took too long or too much memory, and its process was ended"


class GuardedCalculator:
    """Works calculations out, one at a time; safe in threads and after a fork."""

    def __init__(self, *, timeout: float = 5.0, recycle_after: int = 2000) -> None:
        self._child = GuardedChild(CHILD, timeout=timeout, recycle_after=recycle_after)

    def calculate(self, text: str) -> Calculated:
        """What it comes to, or why it was refused."""
        if len(text) > MAX_CHARS:
            return Calculated(None, {}, f"longer than {MAX_CHARS} characters")
        reply = self._child.ask(text)
        if not isinstance(reply, dict):
            return Calculated(None, {}, DIED)
        if refused := reply.get("refused"):
            return Calculated(None, {}, str(refused))
        names = {str(name): Fraction(value) for name, value in reply["names"].items()}
        return Calculated(Fraction(reply["answer"]), names)

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return self._child.pid

    def close(self) -> None:
        """End the child; a later calculation starts another."""
        self._child.close()
