"""What pydantic found wrong, for people."""

from __future__ import annotations

from pydantic import ValidationError


def first_mistake(found: ValidationError) -> tuple[str, str]:
    """The dotted path of the first wrong field, empty for all of it together, and what is wrong."""
    first = found.errors()[0]
    return ".".join(map(str, first["loc"])), first["msg"]
