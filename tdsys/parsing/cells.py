"""How rows of CSV are divided into cells.

The one rule: the standard library's strict reader decides what a cell holds; the reader of our own
only says where in a row something stands.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

DELIMITERS = (",", ";", "\t", "|")
QUOTE = '"'


class Dialect(NamedTuple):
    """The two characters that divide a text into cells; an empty quote quotes nothing."""

    delimiter: str
    quote: str


class BadQuote(NamedTuple):
    """Where a quote opens, and where its cell stops being well written (None: it never closes)."""

    opened: int
    wrong: int | None


def csv_reader(lines: Iterable[str], dialect: Dialect) -> Iterator[list[str]]:
    """The rows of lines that keep their ends; csv.Error where one is badly quoted."""
    delimiter, quote = dialect
    if not quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)


def starts(row: str, dialect: Dialect) -> list[int]:
    """Where each cell of a well-written row begins."""
    return [start for start, _ in _cells(row, dialect)]


def bad_quote(row: str, dialect: Dialect) -> BadQuote | None:
    """The first quote of a row that is not as the format wants it."""
    for start, end in _cells(row, dialect):
        if end is None:
            return BadQuote(start, None)
        if row[end : end + 1] not in ("", dialect.delimiter, "\r", "\n"):
            return BadQuote(start, end)
    return None


def _cells(row: str, dialect: Dialect) -> Iterator[tuple[int, int | None]]:
    """Beginning and end of each cell, as far as the row is well written."""
    delimiter, quote = map(re.escape, dialect)
    plain = re.compile(rf"[^{delimiter}\r\n]*+")
    quoted = re.compile(rf"{quote}[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+{quote}")
    at = 0
    while True:
        is_quoted = dialect.quote and row.startswith(dialect.quote, at)
        found = (quoted if is_quoted else plain).match(row, at)
        yield at, found.end() if found else None
        if not found or row[found.end() : found.end() + 1] != dialect.delimiter:
            return
        at = found.end() + 1
