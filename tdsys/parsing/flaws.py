"""Every way a file can be wrong, by code, with what to do about it.

The one rule: a code never changes its meaning; docs/import-formats.md lists each of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tdsys.parsing.reading import RAW_CHARACTERS, Flaw, Place

REMEDIES: Mapping[str, str] = {
    "malformed": "correct the record at this place",
    "cut_off": "the file is incomplete: take the whole file",
    "trailing_data": "write one list of records, or one record per line (JSONL)",
    "no_list": "name the path of the list of records with --at, for example --at data.items",
    "another_list": "import this list too, with --at and its path",
    "duplicate_key": "keep one of the values, or give the other one another name",
    "bad_key": "use a plain text as the name",
    "not_finite": "write a finite number, or leave the field out",
    "number_too_long": "write the number as text, in quotes",
    "text_too_long": "shorten the text",
    "key_too_long": "shorten the name",
    "too_deep": "flatten the structure",
    "too_many_values": "divide the record into several",
    "record_too_large": "divide or shorten the record",
    "bad_character": "remove the character, or write the whole character",
    "encoding": "save the file as UTF-8, or name its encoding with --encoding",
    "column_count": "quote cells that hold the delimiter, and fill in or remove cells",
    "duplicate_column": "give every column a name of its own, or say --no-header",
    "too_many_columns": "keep the columns that are needed, or name the --delimiter",
    "bad_quote": "double the quotes inside a quoted cell, and quote whole cells only",
    "unclosed_quote": 'close the quote, or say --quote "" if nothing is quoted',
    "alias": "write the value out instead of an anchor or alias",
    "tag": "remove the tag",
    "gzip_truncated": "the file is incomplete: take the whole file",
    "gzip_damaged": "compress the file again from its source",
    "gzip_garbage": "remove what stands after the end of the compressed data",
    "gzip_ratio": "decompress the file yourself if you trust it, and import that",
    "file_too_large": "divide the file into smaller ones",
}

LONE = re.compile("[\ud800-\udfff]")
_SHOWN = 80


class Fault(Exception):
    """One record cannot be taken: at which character of the text read, and why.

    `ended` tells that the text was over before the record was.
    """

    def __init__(
        self, at: int, code: str, message: str, *, field: str = "", ended: bool = False
    ) -> None:
        super().__init__(message)
        self.at = at
        self.code = code
        self.message = message
        self.field = field
        self.ended = ended


class Fatal(Exception):
    """Nothing after this flaw can be read."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw


class Trouble(NamedTuple):
    """Why the text of a file ends before the file does."""

    code: str
    message: str


def flaw(
    place: Place, code: str, message: str, *, field: str = "", raw: str = "", fatal: bool = False
) -> Flaw:
    """The flaw with the remedy of its code."""
    return Flaw(place, field, code, message, REMEDIES[code], raw, fatal)


def cut(raw: str, size: int | None = None) -> str:
    """The text, or its beginning with a mark that tells how much of its size is missing."""
    size = len(raw) if size is None else size
    if size <= RAW_CHARACTERS:
        return raw
    return f"{raw[:RAW_CHARACTERS]}…[{size - RAW_CHARACTERS:,} more characters]"


def show(text: str) -> str:
    """A piece of the file inside a message: quoted, short."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def path(steps: Sequence[str | int]) -> str:
    """The path to a value inside a record: `answers[2].text`."""
    found = ""
    for step in steps:
        if isinstance(step, int):
            found += f"[{step}]"
        else:
            name = step if len(step) <= _SHOWN else step[:_SHOWN] + "…"
            found += f".{name}" if found else name
    return found


def broken_encoding(text: str, at: int, encoding: str) -> str:
    """What the bytes were that did not decode at this character."""
    code = ord(text[at]) - 0xDC00
    if encoding.startswith("utf-16") or not 0 <= code <= 0xFF:  # noqa: PLR2004  # one byte
        return f"half a character: this is not {encoding}"
    return f"the byte 0x{code:02X} is not {encoding}"
