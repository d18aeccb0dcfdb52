"""Passwords: hashed by argon2id, two at a time, and in the same time for names nobody has."""

from __future__ import annotations

import secrets
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

MEMORY_KIB = 19 * 1024  # OWASP's second choice: 19 MiB, two passes, one lane
PASSES = 2
AT_ONCE = 2  # or a flood of sign-ins would take all memory and both cores


class Passwords:
    """Hashes and compares; one per process."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
        self._slots = BoundedSemaphore(AT_ONCE)
        self._nobodys = self.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """The password as it is kept."""
        with self._slots:
            return self._hasher.hash(password)

    def match(self, kept: str | None, password: str) -> bool:
        """Whether it is the password; None takes as long as a wrong one and is always wrong."""
        with self._slots:
            try:
                self._hasher.verify(kept or self._nobodys, password)
            except (VerifyMismatchError, InvalidHashError):
                return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed under other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)
