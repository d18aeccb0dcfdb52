"""What a reader is asked, what it is limited to, and what it yields.

The one rule: a reader yields a Record or a Flaw for everything it meets, in the order of the file,
and numbers both in one sequence; nothing of the input disappears without one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

HEAD_BYTES = 64 * 1024
RAW_CHARACTERS = 64 * 1024


class Format(StrEnum):
    """How a file holds its records."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    YAML = "yaml"


class Place(NamedTuple):
    """Where something stands, each from 1; `record` counts every record and flaw, good or bad."""

    record: int
    line: int
    column: int


class Record(NamedTuple):
    """One record: any JSON value, and its own text (cut with a mark after RAW_CHARACTERS)."""

    place: Place
    value: JsonValue
    raw: str


class Flaw(NamedTuple):
    """What is wrong at a place and how to mend it; after a fatal one nothing can be read.

    `field` is a path inside the record (`answers[2].text`), empty where it is not known.
    """

    place: Place
    field: str
    code: str
    message: str
    remedy: str
    raw: str
    fatal: bool


class Reading(NamedTuple):
    """How a file is going to be read; `why` is one sentence for people.

    `delimiter` and `header` mean something for CSV only.
    """

    format: Format
    compressed: bool
    encoding: str
    delimiter: str
    header: bool
    why: str


class Asked(BaseModel):
    """What the importer said about the file; None means: find out.

    `quote=""` means that nothing is quoted. `at` is the dotted path of the list inside a JSON
    object or YAML mapping; by default the first list of objects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format | None = None
    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None
    encoding: str | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one record or file may hold.

    `record`, `text` and `key` in characters, `digits` of an integer, `total` in bytes after
    decompression, `ratio` of decompressed to compressed bytes.
    """

    record: int = 1024 * 1024
    depth: int = 32
    values: int = 20_000
    text: int = 256 * 1024
    key: int = 256
    digits: int = 64
    columns: int = 512
    total: int = 4 * 1024**3
    ratio: int = 100
