"""Readers of import files: JSON, JSONL, CSV and YAML, plain or gzip-compressed.

The one rule: bytes from strangers become records and precise flaws in bounded memory and time;
nothing is executed, nothing is guessed silently, and one broken record costs only itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from tdsys.parsing import jsonlines
from tdsys.parsing.csvfile import CsvFile
from tdsys.parsing.detection import detect, empty
from tdsys.parsing.jsonfile import JsonFile
from tdsys.parsing.reading import (
    HEAD_BYTES,
    Asked,
    Flaw,
    Format,
    Limits,
    Place,
    Reading,
    Record,
)
from tdsys.parsing.source import Source
from tdsys.parsing.yamlfile import YamlFile

__all__ = [
    "HEAD_BYTES",
    "Asked",
    "Flaw",
    "Format",
    "Limits",
    "Place",
    "Reading",
    "Record",
    "detect",
    "empty",
    "records",
]


def records(
    pieces: Iterable[bytes],
    asked: Asked,
    *,
    filename: str = "",
    limits: Limits = Limits(),  # noqa: B008  # frozen
    skip: int = 0,
) -> Iterator[Record | Flaw]:
    """Every record and flaw of a file after the first `skip`, while its bytes arrive.

    The pieces may have any size. Raises InvalidInput as `detect` does, before the first result.
    """
    coming = iter(pieces)
    head = b""
    while len(head) < HEAD_BYTES and (piece := next(coming, None)) is not None:
        head += piece
    reading = detect(head, asked, filename=filename)
    source = Source(chain([head], coming), reading, limits)
    if reading.format is Format.JSONL:
        return jsonlines.read(source, limits, skip)
    return islice(_reader(source, reading, asked, limits).results(), skip, None)


def _reader(
    source: Source, reading: Reading, asked: Asked, limits: Limits
) -> JsonFile | CsvFile | YamlFile:
    match reading.format:
        case Format.CSV:
            return CsvFile(source, reading, asked, limits)
        case Format.YAML:
            return YamlFile(source, asked, limits)
        case _:
            return JsonFile(source, asked, limits)
