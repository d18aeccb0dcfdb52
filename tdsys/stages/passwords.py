"""Passwords: hashed by argon2id, two at a time, and in the same time for names nobody has."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from tdsys.errors import Transient

MEMORY_KIB = 19 * 1024  # OWASP's second choice: 19 MiB, two passes, one lane
PASSES = 2
AT_ONCE = 2  # or a flood of sign-ins would take all memory and both cores
WAITING = 8  # more would take every thread that pages need


class Passwords:
    """Hashes and compares; one per process."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
        self._slots = BoundedSemaphore(AT_ONCE)
        self._places = BoundedSemaphore(AT_ONCE + WAITING)
        self._nobodys = self.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """The password as it is kept; Transient when too many wait for their turn."""
        with self._turn():
            return self._hasher.hash(password)

    def match(self, kept: str | None, password: str) -> bool:
        """Whether it is the password; None takes as long as a wrong one and is always wrong."""
        with self._turn():
            try:
                self._hasher.verify(kept or self._nobodys, password)
            except (VerifyMismatchError, InvalidHashError):
                return False
        return kept is not None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Transient("too many people sign in just now", remedy="try again in a moment")
        try:
            with self._slots:
                yield
        finally:
            self._places.release()

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed under other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)
