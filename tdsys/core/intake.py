"""What a file becomes on its way in, and who reads it; the reader may die, and says so.

One rule: everything here crosses a process border, so it is plain values only.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from tdsys.core.arrival import Arrival
from tdsys.core.conversion import REJECTED, ImportOptions
from tdsys.core.example import Document
from tdsys.errors import InvalidInput, TdsysError

# Each rejected record is kept whole, so a file must not consist of them.
MOST_REJECTS = 100_000
FIRST_LOOK = 5000
NEARLY_ALL = 0.9
# The line may be longer than what is looked at.
_BEGINS_SO = re.compile(rb'\s*\{\s*"%b"\s*:\s*\{' % REJECTED.encode())
LINES_LOOKED_AT = 20


class Purpose(StrEnum):
    """What a file is read for."""

    IMPORT = "import"
    SAMPLE = "sample"
    BENCHMARK = "benchmark"


class Job(BaseModel):
    """What the reader is told; `skip` outcomes were dealt with before, a sample ends at `most`.

    Of a file that is sent `in_part` nobody can say that it holds no records.
    """

    model_config = ConfigDict(frozen=True)

    purpose: Purpose = Purpose.IMPORT
    import_id: str = ""
    domain: str = ""
    filename: str = ""
    sha256: str = ""
    created_at: str = ""
    options: ImportOptions = ImportOptions()
    skip: int = 0
    most: int = 0
    in_part: bool = False


class Row(NamedTuple):
    """A record ready to be stored, with the mark of its template."""

    arrival: Arrival
    template: int


class Faulty(NamedTuple):
    """A record that is not stored: where, what is wrong with it, how to mend it, and all of it.

    `value` is the record where it could be read; nothing after a fatal one was.
    """

    record: int
    line: int
    column: int
    field: str
    code: str
    message: str
    remedy: str
    raw: str
    value: Document | None
    fatal: bool = False


class Block(NamedTuple):
    """A piece of the file, read: `read` records are done with, `at` is how far in bytes.

    A sample holds `values`, a benchmark holds `marks`; `how` tells once how the file is read.
    """

    at: int
    read: int = 0
    how: str = ""
    rows: tuple[Row, ...] = ()
    faulty: tuple[Faulty, ...] = ()
    values: tuple[JsonValue, ...] = ()
    marks: tuple[int, ...] = ()


# Packed marks of each registered benchmark, eight bytes each.
Benchmarks = Mapping[str, bytes]


class Intake(Protocol):
    """Reads files from strangers."""

    def blocks(
        self, job: Job, pieces: Iterable[bytes], benchmarks: Benchmarks | None = None
    ) -> Iterator[Block]:
        """The file block by block, in order; InvalidInput where it cannot be read at all.

        ReaderDied when the reader ended without an answer; what came before stands.
        """
        ...


class ReaderDied(TdsysError):
    """The process that read a file ended on it: memory, time, or a crash."""


class InVain(InvalidInput):
    """So much of a file is wrong that the rest is not worth reading."""


def in_vain(*, read: int, faulty: int) -> None:
    """Raise InVain where so much is wrong that not every record was meant to be one."""
    if faulty < FIRST_LOOK or (faulty < MOST_REJECTS and faulty <= NEARLY_ALL * read):
        return
    raise InVain(
        f"{faulty:,} of {read:,} records are wrong; the rest of the file was not read",
        remedy="look at the first ones: the fields (--map), the list (--at) or the --format may be "
        "others; mend the file and import it again, what came in is recognised",
    )


def repair_line(one: Faulty) -> str:
    """A record and what is wrong with it, as one line of JSON."""
    wrong: dict[str, object] = {
        "record": one.record,
        "line": one.line,
        "column": one.column,
        "field": one.field,
        "code": one.code,
        "message": one.message,
        "remedy": one.remedy,
    }
    if one.value is None:
        wrong["raw"] = one.raw
    return json.dumps({REJECTED: wrong, **(one.value or {})}, ensure_ascii=False)


def is_repair(head: bytes) -> bool:
    """Whether a file that begins so was written by `repair_line`, mended or not."""
    lines = head.removeprefix(BOM_UTF8).split(b"\n")[:LINES_LOOKED_AT]
    return any(_BEGINS_SO.match(line) or _is_rejected(line) for line in lines)


def _is_rejected(line: bytes) -> bool:
    if REJECTED.encode() not in line:
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and isinstance(value.get(REJECTED), dict)
