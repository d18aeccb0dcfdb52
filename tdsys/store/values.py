"""What Postgres can hold: text and JSON with the characters it would refuse made visible.

A model's rationale or a broken import line may hold NUL or half a surrogate pair. Such text is
evidence, so it is kept with U+FFFD in their place. Content that is *trained on* never comes this
way: captures are refused, not changed. `among` hands over thousands of numbers as one value.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    ColumnElement,
    Dialect,
    Table,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
)
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


def any_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """As `among`, in a statement that is built once: one of the list given under this name."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def storable(text: str) -> str:
    """The text with U+FFFD where Postgres would refuse a character."""
    return _REFUSED.sub("\ufffd", text)


def dump(value: object) -> str:
    """JSON text for a jsonb column; ValueError for numbers that JSON does not have."""
    with contextlib.suppress(TypeError):  # keys that are no text, mappings that are no dict
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        # As json writes NUL. Nearly nothing holds any of it, and looking into each text takes long.
        if "\\u0000" not in text and not _REFUSED.search(text):
            return text
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)


def recordset(table: Table, *names: str) -> TableValuedAlias:
    """Rows of those columns, out of one parameter `rows` that `records` has written.

    What Python does for each parameter of each row takes longer than all else about an insertion.
    """
    columns = [column(name, table.c[name].type) for name in names]
    given = func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    return given.table_valued(*columns).render_derived(with_types=True)


def records(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as `recordset` reads them; texts are cut as in a column of Prose."""
    return dump([{name: _plain(value) for name, value in row.items()} for row in rows])


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value[:LONGEST]
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return value.isoformat() if isinstance(value, datetime) else value


def _storable(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): _storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    return value
