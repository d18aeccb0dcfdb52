"""Every error tdsys raises on purpose, classed by what should happen next.

TdsysError
├── ConfigurationError   the process cannot start as configured; exit 78
├── InvalidInput         the caller's data is wrong; say where and how to mend it; exit 2
│   └── NotFound          there is no such thing, or none that this person may see
├── NotAllowed           the person has not the right; nothing was done
├── NotReady             a precondition is missing; nothing is broken; exit 3
├── Conflict             somebody else was faster, or the move is not legal; row unchanged
├── Transient            try the same row again later
│   ├── ModelUnavailable
│   ├── StoreUnavailable
│   └── BrokerUnavailable
└── Cancelled            a person or a deadline asked to stop
"""

from __future__ import annotations


class TdsysError(Exception):
    """What happened, and what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} — {self.remedy}" if self.remedy else self.message


class ConfigurationError(TdsysError):
    """The process cannot start as it is configured."""

    exit_code = 78


class InvalidInput(TdsysError):
    """The data handed in is wrong; nothing of it was kept."""

    exit_code = 2


class NotFound(InvalidInput):
    """There is no such thing, or none that this person may see: the two look the same."""


class NotAllowed(TdsysError):
    """The person has not the right; nothing was done."""


class NotReady(TdsysError):
    """A precondition is missing; nothing is broken."""

    exit_code = 3


class Conflict(TdsysError):
    """The row moved meanwhile, or the move is not legal from its state."""


class Transient(TdsysError):
    """The same work may succeed later."""


class ModelUnavailable(Transient):
    """The language model did not answer: rate limit, timeout, server or transport error."""


class StoreUnavailable(Transient):
    """Postgres did not answer."""


class BrokerUnavailable(Transient):
    """Redis did not answer."""


class Cancelled(TdsysError):
    """A person or a deadline asked for the work to stop."""
