"""What a file is, by its first bytes.

The one rule: content decides. A name only chooses between readings that the content allows equally,
and where nothing fits the answer is an error that says what to name, never a guess.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from tdsys.errors import InvalidInput
from tdsys.parsing.cells import DELIMITERS, QUOTE, Dialect, csv_reader
from tdsys.parsing.csvfile import SEPARATOR
from tdsys.parsing.flaws import LONE
from tdsys.parsing.reading import HEAD_BYTES, Asked, Format, Limits, Reading
from tdsys.parsing.source import GZIP, Stopped, inflated

_FOREIGN: Mapping[bytes, tuple[str, str]] = {
    GZIP: ("a gzip file inside a gzip file", "decompress it once"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "save it as CSV, or unpack the archive"),
    b"PK\x05\x06": ("an empty zip archive", "import the file itself"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save it as CSV"),
    b"PAR1": ("a Parquet file", "convert it to JSONL"),
    b"ARROW1": ("an Arrow file", "convert it to JSONL"),
    b"Obj\x01": ("an Avro file", "convert it to JSONL"),
    b"SQLite format 3\0": ("an SQLite database", "export the table as CSV"),
    b"\x89HDF": ("an HDF5 file", "convert it to JSONL"),
    b"%PDF": ("a PDF document", "export its data as CSV or JSONL"),
    b"BZh": ("a bzip2 file", "decompress it, or compress it with gzip"),
    b"\xfd7zXZ": ("an xz file", "decompress it, or compress it with gzip"),
    b"\x28\xb5\x2f\xfd": ("a zstd file", "decompress it, or compress it with gzip"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it"),
    b"\x1f\x9d": ("a compress (.Z) file", "decompress it, or compress it with gzip"),
    b"\x80\x04\x95": ("a pickle", "write JSONL instead"),
    b"\x80\x05\x95": ("a pickle", "write JSONL instead"),
    b"\xff\xfe\0\0": ("UTF-32 text", "save it as UTF-8"),
    b"\0\0\xfe\xff": ("UTF-32 text", "save it as UTF-8"),
}
_TAR = slice(257, 262)
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# One byte per character, or Unicode: each decodes block by block in linear time, with every broken
# byte told apart, which some of Python's others do not.
_ENCODINGS = re.compile(
    r"utf-8(?:-sig)?|utf-16(?:-le|-be)?|ascii|iso8859-\d+|koi8-[rtu]|mac-roman"
    r"|cp(?:125\d|437|85\d|86\d|874)"
)
_BLANK = " \t\r\n\ufeff"
_BINARY = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_FEW_BINARY = 16
_MOST_BINARY = 0.05
_MOST_NUL = 0.6
_NEARLY_ALL = 0.9
_FEW = 3
_ONLY_CP1252 = range(0x80, 0xA0)
_YAML = re.compile(
    r"(?:[ \t]*(?:#.*)?[\r\n]++)*+"
    r"(?:%YAML\b|---(?:\s|$)|[ \t]*-(?:[ \t]|[\r\n]|$)|(?:[\w][\w .-]*|\"[^\"\r\n]*\"):(?:\s|$))"
)
_SAMPLE = 200
_ENOUGH = 0.5
_NUMBER = re.compile(r"[-+$€£]?[\d.,\s]+%?")
_LONGEST_NAME = 64
_MOST_WORDS = 5
_ENDS_A_SENTENCE = (".", "?", "!")


class _Head(NamedTuple):
    """The beginning of the text, and whether that is all."""

    text: str
    complete: bool
    encoding: str
    compressed: bool


def detect(head: bytes, asked: Asked, *, filename: str = "") -> Reading:
    """How a file that begins with `head` (its first HEAD_BYTES, or all of it) will be read.

    Decided by content; the name only breaks a tie. Raises InvalidInput where it is undecidable.
    """
    asked = _checked(asked)
    found = _head(head, asked)
    kind, why = (asked.format, "as asked") if asked.format else _format(found, asked, filename)
    if kind is not Format.CSV and (asked.delimiter or asked.quote or asked.header is not None):
        raise InvalidInput(f"a {kind} file has no cells", remedy="leave the options of CSV out")
    if kind in {Format.CSV, Format.JSONL} and asked.at:
        raise InvalidInput(
            f"a {kind} file has no list inside", remedy="leave --at out: it is for JSON and YAML"
        )
    delimiter, header = _table(found, asked) if kind is Format.CSV else ("", False)
    return Reading(kind, found.compressed, found.encoding, delimiter, header, why)


def empty() -> InvalidInput:
    """Said of a file without a record, whatever it holds instead."""
    return InvalidInput("the file holds no records", remedy="import a file with records")


# What was asked


def _checked(asked: Asked) -> Asked:
    """The same with names of encodings and delimiters levelled, or InvalidInput."""
    delimiter = {"\\t": "\t", "tab": "\t"}.get(asked.delimiter or "", asked.delimiter)
    quote = asked.quote
    if delimiter is not None and (not _divides(delimiter) or delimiter == (quote or QUOTE)):
        raise InvalidInput(
            f"{delimiter!r} cannot divide cells", remedy="name one character, such as ';' or tab"
        )
    if quote and not _divides(quote):
        raise InvalidInput(f"{quote!r} cannot quote cells", remedy="name one character, or none")
    encoding = _encoding(asked.encoding) if asked.encoding else None
    tabular = delimiter is not None or quote is not None or asked.header is not None
    kind = asked.format or (Format.CSV if tabular else None)
    return asked.model_copy(update={"delimiter": delimiter, "encoding": encoding, "format": kind})


def _divides(mark: str) -> bool:
    return len(mark) == 1 and mark not in "\r\n\0" and not LONE.match(mark)


def _encoding(name: str) -> str:
    remedy = "use utf-8, utf-16, latin-1, cp1252 or another one-byte encoding"
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        raise InvalidInput(f"there is no encoding {name[:40]!r}", remedy=remedy) from None
    if not _ENCODINGS.fullmatch(known):
        raise InvalidInput(f"the encoding {known} is not supported", remedy=remedy)
    return known


# From bytes to text


def _head(head: bytes, asked: Asked) -> _Head:
    complete = len(head) < HEAD_BYTES
    head = head[:HEAD_BYTES]
    compressed = head.startswith(GZIP)
    if compressed:
        head, complete = _decompressed(head)
    _refuse_foreign(head)
    mark = next((mark for mark in _MARKS if head.startswith(mark)), None)
    encoding = _MARKS[mark] if mark else asked.encoding or "utf-8"
    if encoding == "utf-16":
        encoding = "utf-16-le"
    wide = encoding.startswith("utf-16")
    decoder = codecs.getincrementaldecoder(encoding)("replace" if wide else "surrogateescape")
    text = decoder.decode(head).removeprefix("\ufeff")
    if not asked.encoding and not mark:
        _refuse_unmarked(head)
    if len(_BINARY.findall(text)) > max(_FEW_BINARY, _MOST_BINARY * len(text)):
        raise InvalidInput(
            "this is no text but binary data", remedy="import JSON, JSONL, CSV or YAML"
        )
    if not asked.encoding and not mark:
        _refuse_other_encodings(text)
    if complete and not text.strip(_BLANK):
        raise empty()
    return _Head(text, complete, encoding, compressed)


def _decompressed(head: bytes) -> tuple[bytes, bool]:
    made, complete = b"", True
    try:
        for block in inflated([head], Limits()):
            made += block
            if len(made) >= HEAD_BYTES:
                return made[:HEAD_BYTES], False
    except Stopped as stop:
        complete = len(head) < HEAD_BYTES
        if not made:
            raise InvalidInput(
                f"the gzip file cannot be read: {stop}", remedy="compress it again"
            ) from None
    return made, complete


def _refuse_foreign(head: bytes) -> None:
    for magic, (what, remedy) in _FOREIGN.items():
        if head.startswith(magic):
            raise InvalidInput(f"this is {what}", remedy=remedy)
    if head[_TAR] == b"ustar":
        raise InvalidInput("this is a tar archive", remedy="unpack it")


def _refuse_unmarked(head: bytes) -> None:
    for encoding, part in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if part.count(0) > _MOST_NUL * len(part) and part.count(0) > _NEARLY_ALL * head.count(0):
            raise InvalidInput(
                f"this looks like {encoding} without a byte-order mark",
                remedy=f"save the file as UTF-8, or say --encoding {encoding}",
            )


def _refuse_other_encodings(text: str) -> None:
    """Refuse the whole file only where it is plainly in another encoding."""
    broken = [ord(c) - 0xDC00 for c in LONE.findall(text)]
    whole = sum(1 for c in text if c > "\x7f") - len(broken)
    if len(broken) >= _FEW and len(broken) > whole:
        at = text.index(chr(broken[0] + 0xDC00))
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        likely = "cp1252" if any(byte in _ONLY_CP1252 for byte in broken) else "latin-1"
        raise InvalidInput(
            f"this is not UTF-8: byte 0x{broken[0]:02X} in line {line}, column {column}",
            remedy=f"save the file as UTF-8, or say --encoding {likely} (the likely one)",
        )


# From text to a format


def _format(head: _Head, asked: Asked, filename: str) -> tuple[Format, str]:
    body, lines, name = head.text.lstrip(_BLANK), _lines(head), filename.lower()
    named_lines = re.search(r"\.(jsonl|ndjson|jsonlines)(\.gz)?$", name)
    whole = sum(map(_is_whole, lines))
    if len(lines) > 1 and 2 * whole >= len(lines) and (body[0] != "[" or _is_whole(lines[0])):
        return Format.JSONL, "the lines are JSON values"
    if body.startswith("{") and len(lines) == 1 and named_lines:
        return Format.JSONL, "one line of JSON, named as JSON Lines"
    if body.startswith(("{", "[")):
        return Format.JSON, "it begins as a JSON object" if body[0] == "{" else "it is a JSON list"
    if _YAML.match(head.text):
        return Format.YAML, "it begins as YAML"
    return _table_format(head, asked, name) or _value_format(head, body)


def _table_format(head: _Head, asked: Asked, name: str) -> tuple[Format, str] | None:
    named_table = re.search(r"\.(csv|tsv|tab|psv)(\.gz)?$", name)
    delimiter, rows = _best_delimiter(head, asked)
    if delimiter and (rows > 1 or named_table):
        return Format.CSV, f"its rows have the same number of cells, divided by {delimiter!r}"
    if named_table and _lines(head):
        return Format.CSV, "one column of text, named as a table"
    return None


def _value_format(head: _Head, body: str) -> tuple[Format, str]:
    """JSON, if all of the text is one value that is neither an object nor a list."""
    try:
        json.loads(body if head.complete else "")
    except (ValueError, RecursionError):
        raise InvalidInput(
            "the format of this file cannot be told from its content",
            remedy="say --format json, jsonl, csv or yaml",
        ) from None
    return Format.JSON, "it is one JSON value"


def _lines(head: _Head) -> list[str]:
    """Its first whole lines that are not blank."""
    lines = head.text.split("\n")
    if not head.complete and len(lines) > 1:
        lines.pop()
    return [bare for line in lines[:_SAMPLE] if (bare := line.strip(_BLANK))]


def _is_whole(line: str) -> bool:
    try:
        return line[0] in "{[" and isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return False


# Tables


def _table(head: _Head, asked: Asked) -> tuple[str, bool]:
    delimiter = asked.delimiter or _best_delimiter(head, asked)[0] or DELIMITERS[0]
    header = asked.header
    if header is None:
        header = _is_header(next(iter(_rows(head, delimiter, asked)), []))
    return delimiter, header


def _best_delimiter(head: _Head, asked: Asked) -> tuple[str, int]:
    """The delimiter by which most rows have the width of the first, and the number of rows read."""
    told = SEPARATOR.match(head.text)
    if told and _divides(told.group(1)) and told.group(1) != (asked.quote or QUOTE):
        return told.group(1), _SAMPLE
    best = (_ENOUGH, 0, "", 0)
    for delimiter in DELIMITERS:
        widths = [len(row) for row in _rows(head, delimiter, asked)]
        if widths and widths[0] > 1:
            share = widths.count(widths[0]) / len(widths)
            best = max(best, (share, widths[0], delimiter, len(widths)))
    return best[2], best[3]


def _rows(head: _Head, delimiter: str, asked: Asked) -> list[list[str]]:
    """Its first whole rows; an unreadable one is the last, and empty."""
    told = SEPARATOR.match(head.text)
    text = head.text[told.end() if told else 0 :]
    if not head.complete:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    lines = io.StringIO(text, newline="")
    quote = QUOTE if asked.quote is None else asked.quote
    reader = csv_reader(lines, Dialect(delimiter, quote))
    rows: list[list[str]] = []
    try:
        for row in islice(reader, _SAMPLE):
            rows += [row] if "".join(row).strip() else []
    except csv.Error:
        # In the last row of a part of a file it means nothing.
        rows += [[]] if head.complete or lines.read(1) else []
    return rows


def _is_header(row: list[str]) -> bool:
    """Whether every cell looks like a name: short, no number, no sentence."""
    return all(map(_is_name, row))


def _is_name(cell: str) -> bool:
    bare = cell.strip()
    return (
        len(bare) <= _LONGEST_NAME
        and len(bare.split()) <= _MOST_WORDS
        and not (bare and _NUMBER.fullmatch(bare))
        and not bare.endswith(_ENDS_A_SENTENCE)
        and "\n" not in bare
    )
