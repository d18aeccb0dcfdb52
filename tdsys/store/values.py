"""What Postgres can hold: text and JSON with the characters it would refuse made visible.

A model's rationale or a broken import line may hold NUL or half a surrogate pair. Such text is
evidence, so it is kept with U+FFFD in their place. Content that is *trained on* never comes this
way: captures are refused, not changed. `among` hands over thousands of numbers as one value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Dialect, Text, any_, literal
from sqlalchemy.types import TypeDecorator

LONGEST = 20_000
_REFUSED = re.compile("[\x00\ud800-\udfff]")


class Prose(TypeDecorator[str]):
    """Free text written by people, models or files: storable, and cut at LONGEST characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """The text as Postgres takes it."""
        return None if value is None else storable(value[:LONGEST])


class Original(TypeDecorator[str]):
    """A piece of a file as it was, storable and never cut: it is to be mended and sent again."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """The text as Postgres takes it."""
        return None if value is None else storable(value)


def among(column: ColumnElement[int], numbers: Collection[int]) -> ColumnElement[bool]:
    """Whether the column is one of these.

    One array, not a parameter for each: a thousand of those take 15 ms to write down, and more
    than 65,535 no statement can have.
    """
    return column == any_(literal(list(numbers), ARRAY(BigInteger)))


def storable(text: str) -> str:
    """The text with U+FFFD where Postgres would refuse a character."""
    return _REFUSED.sub("\ufffd", text)


def dump(value: object) -> str:
    """JSON text for a jsonb column; ValueError for numbers that JSON does not have."""
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)


def _storable(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): _storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    return value
