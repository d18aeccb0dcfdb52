"""Algebra on untrusted text, in a guarded child.

One rule: silence for three seconds, a crash, a strange reply and an oversized text all mean
UNKNOWN, never wrong.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, Self

from tdsys.core.answers import Equality
from tdsys.verify.guarding import GuardedChild

CHILD = Path(__file__).with_name("child.py")
MAX_CHARS = 400
MAX_DEPTH = 20
_OVERSIZED = re.compile(r"[0-9]{65}|(?:\^|\*\*)\s*[({]*\s*[-+]?[0-9]{5}|[\x00-\x1f\x7f]")


class Ruling(NamedTuple):
    """What the engine says, and why it says nothing."""

    equality: Equality
    reason: str = ""


class SymbolicEngine:
    """Compares two expressions in one lazily started child; safe in threads and after a fork."""

    def __init__(self, *, timeout: float = 3.0, recycle_after: int = 2000) -> None:
        self._child = GuardedChild(CHILD, timeout=timeout, recycle_after=recycle_after)

    def compare(self, left: str, right: str) -> Ruling:
        """EQUAL or UNEQUAL where it is proved, otherwise UNKNOWN with the reason."""
        if reason := _refusal(left) or _refusal(right):
            return Ruling(Equality.UNKNOWN, reason)
        reply = self._child.ask([left, right])
        if reply in (Equality.EQUAL, Equality.UNEQUAL):
            return Ruling(Equality(reply))
        told = reply if isinstance(reply, str) else "no answer in time, or the engine died"
        return Ruling(Equality.UNKNOWN, told)

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return self._child.pid

    def close(self) -> None:
        """End the child; a later question starts another."""
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _refusal(text: str) -> str:
    """Why a text is not even shown to the child."""
    if len(text) > MAX_CHARS:
        return f"longer than {MAX_CHARS} characters"
    if _OVERSIZED.search(text):
        return "a number is too large"
    return "nested too deeply" if _depth(text) > MAX_DEPTH else ""


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return deepest
