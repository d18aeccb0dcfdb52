"""What pydantic found wrong, for people."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

PLAIN = {
    "extra_forbidden": "there is no such field",
    "missing": "it is missing",
    "too_short": "it holds too few",
}


class Unfit(ValueError):
    """Raised by a validator that knows what would be accepted instead, in its `remedy`."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def first_mistake(found: ValidationError) -> tuple[str, str]:
    """The dotted path of the first wrong field, empty for all of it together, and what is wrong."""
    first = found.errors()[0]
    return ".".join(map(str, first["loc"])), in_words(first)


def in_words(error: ErrorDetails) -> str:
    """What is wrong, without the words of a library that nobody asked for."""
    said = error["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    return PLAIN.get(error["type"], said)
