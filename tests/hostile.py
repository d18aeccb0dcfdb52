"""Files made to break a parser; run as a program, it reads each in a process of its own.

Each process may use little memory and time, so that a segmentation fault, an abort or memory
without bound shows as its death. Prints one JSON line per file.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tdsys.errors import InvalidInput
from tdsys.parsing import Asked, Flaw, Format, records
from tests.reading import CSV, JSON, JSONL, YAML, peak

MIB = 2**20
MEMORY = 400 * MIB
SECONDS = 30
GOOD = b'{"q": 1}'
DEEP = b"[" * 1_000_000
LAUGHS = b"".join(
    b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n" % (n, n, *[n - 1] * 9)
    for n in range(ord("b"), ord("k"))
)


class Hostile(NamedTuple):
    """A file, and how reading it must end: first code, good records, whether fatally."""

    kind: Format | None
    make: Callable[[], bytes | Iterable[bytes]]
    code: str | None
    good: int
    fatal: bool = False


def long(head: bytes, part: bytes, times: int, tail: bytes) -> Callable[[], Iterator[bytes]]:
    """A file that is never in memory as a whole."""

    def pieces() -> Iterator[bytes]:
        yield head
        for _ in range(times):
            yield part
        yield tail

    return pieces


def same(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def bomb(line: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(line) for _ in range(64)) + packer.flush()


FILES = {
    "json: a million open brackets": Hostile(JSON, same(DEEP), "too_deep", 0, fatal=True),
    "json: a deep record in a list": Hostile(
        JSON, same(b"[%b%b,%b]" % (b"[" * 100_000, b"]" * 100_000, GOOD)), "too_deep", 1
    ),
    "json: deep objects": Hostile(JSON, same(b'{"a":' * 200_000), "too_deep", 0, fatal=True),
    "json: 5,000 digits": Hostile(
        JSON, same(b'[{"a":%b},%b]' % (b"1" * 5_000, GOOD)), "number_too_long", 1
    ),
    "json: a fraction of 900,000 digits": Hostile(
        JSON, same(b'[{"a":%b.5},%b]' % (b"1" * 900_000, GOOD)), "not_finite", 1
    ),
    "json: a text of 50 MB": Hostile(
        JSON, long(b'[{"a":"', b"x" * MIB, 50, b'"},%b]' % GOOD), "record_too_large", 1
    ),
    "json: 8 MB of backslashes": Hostile(
        JSON, long(b'[{"a":"', b"\\" * MIB, 8, b'"},%b]' % GOOD), "record_too_large", 1
    ),
    "json: 1 MB of quotes and brackets": Hostile(
        JSON, long(b'[{"q":"', b'"[]' * 300_000, 1, b'"},%b]' % GOOD), "malformed", 1
    ),
    "json: 50 MB of blanks": Hostile(JSON, long(b"[", b" " * MIB, 50, GOOD + b"]"), None, 1),
    "json: 50 MB before the list": Hostile(
        JSON, long(b'{"x": "', b"y" * MIB, 50, b'", "data": [%b]}' % GOOD), None, 1
    ),
    "json: 5,000 quotes missing": Hostile(
        JSON, same(b"[%b]" % b",".join([b'{"a":"x, "b":1}'] * 5_000)), "malformed", 0, fatal=True
    ),
    "json: 150,000 names repeated": Hostile(
        JSON, same(b"[{%b},%b]" % (b",".join([b'"q":1'] * 150_000), GOOD)), "duplicate_key", 1
    ),
    "jsonl: a million open brackets": Hostile(JSONL, same(DEEP + b"\n" + GOOD), "too_deep", 1),
    "jsonl: a line of 50 MB": Hostile(
        JSONL, long(GOOD + b'\n"', b"x" * MIB, 50, b'"\n' + GOOD), "record_too_large", 2
    ),
    "jsonl: a million blank lines": Hostile(JSONL, same(b"\n" * 1_000_000 + GOOD), None, 1),
    "jsonl: 30,000 broken lines": Hostile(JSONL, same(b"x\n" * 30_000), "malformed", 0),
    "jsonl: invalid UTF-8": Hostile(JSONL, same(GOOD + b'\n{"q": "\xff"}\n' + GOOD), "encoding", 2),
    "jsonl: NUL": Hostile(JSONL, same(GOOD + b'\n{"q": "\0"}\n' + GOOD), "malformed", 2),
    "csv: a million columns": Hostile(
        CSV, same(b"%b\n1,2" % b",".join([b"c"] * 1_000_000)), "record_too_large", 0, fatal=True
    ),
    "csv: 100,000 columns": Hostile(
        CSV, same(b"%b\n1,2" % b",".join([b"c"] * 100_000)), "too_many_columns", 0, fatal=True
    ),
    "csv: a row of a million cells": Hostile(
        CSV, same(b"a,b\n%b\n1,2" % (b"," * 1_000_000)), "column_count", 1
    ),
    "csv: a quote open for 20 MB": Hostile(
        CSV, long(b'a,b\n1,2\n3,"', b"x\n" * 500_000, 20, b""), "unclosed_quote", 1, fatal=True
    ),
    "csv: a line of 50 MB": Hostile(
        CSV, long(b"a,b\n3,", b"x" * MIB, 50, b"\n5,6"), "record_too_large", 1
    ),
    "csv: NUL": Hostile(CSV, same(b"a,b\n1,2\n3,\0\n5,6"), "bad_character", 2),
    "yaml: 200 KB of dashes": Hostile(YAML, same(b"- " * 100_000), "too_deep", 0, fatal=True),
    "yaml: a million open brackets": Hostile(YAML, same(DEEP), "too_deep", 0, fatal=True),
    "yaml: a million open braces": Hostile(YAML, same(b"{" * 1_000_000), "too_deep", 0, fatal=True),
    "yaml: 100,000 question marks": Hostile(YAML, same(b"? " * 100_000), "too_deep", 0, fatal=True),
    "yaml: a deep record": Hostile(
        YAML, same(b"- a: 1\n- " + b"[" * 100_000), "too_deep", 1, fatal=True
    ),
    "yaml: a sexagesimal number of 600 KB": Hostile(
        YAML, same(b"- a: %b\n- a: 1" % (b"1:59" * 150_000)), "text_too_long", 1
    ),
    "yaml: aliases without end": Hostile(YAML, same(b"- &a x\n" + b"- *a\n" * 30_000), "alias", 0),
    "yaml: a record of 1 MB of aliases": Hostile(
        YAML, same(b"- a: &a x\n  b: [%b]\n- a: 1" % (b"*a," * 300_000)), "alias", 1
    ),
    "yaml: a billion laughs": Hostile(YAML, same(b"a: &a [ha, ha]\n" + LAUGHS), "alias", 0),
    "yaml: code in tags": Hostile(
        YAML, same(b"- !!python/object/apply:os.system [x]\n" * 1_000 + b"- a: 1"), "tag", 1
    ),
    "yaml: 5,000 digits": Hostile(
        YAML, same(b"- a: %b\n- a: 1" % (b"1" * 5_000)), "number_too_long", 1
    ),
    "yaml: a text of 50 MB": Hostile(
        YAML, long(b'- a: 1\n- a: "', b"x" * MIB, 50, b'"'), "record_too_large", 1, fatal=True
    ),
    "yaml: a block of 50 MB": Hostile(
        YAML,
        long(b"- a: 1\n- a: |\n", b"   x y\n" * 150_000, 50, b""),
        "record_too_large",
        1,
        fatal=True,
    ),
    "yaml: NUL": Hostile(YAML, same(b"- a: 1\n- a: \0"), "bad_character", 1, fatal=True),
    "yaml: 150,000 names repeated": Hostile(
        YAML, same(b"- {%b}\n- a: 1" % (b"a: 1, " * 150_000)), "duplicate_key", 1
    ),
    "gzip: a bomb of lines": Hostile(
        JSONL,
        lambda: bomb(b'{"a": "%b"}\n' % (b"0" * 900_000)),
        "text_too_long",
        0,
        fatal=True,
    ),
    "gzip: a bomb of zeros": Hostile(JSONL, lambda: bomb(b"0" * MIB), "gzip_ratio", 0, fatal=True),
    "gzip: 5,000 members": Hostile(JSONL, lambda: gzip.compress(GOOD + b"\n") * 5_000, None, 5_000),
    "gzip in gzip": Hostile(
        None, lambda: gzip.compress(gzip.compress(b"0" * MIB)), "this is a gzip file inside", 0
    ),
    "1 MB of NUL": Hostile(None, same(b"\0" * MIB), "this is no text", 0),
}


class Ended(NamedTuple):
    """How reading one file ended, and what it cost."""

    code: str | None
    good: int
    fatal: bool
    seconds: float
    mib: int


def consume(hostile: Hostile) -> Ended:
    """Read the file in this process, which may not have more than it needs."""
    made = hostile.make()
    data = [made] if isinstance(made, bytes) else made
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    before, began = peak(), time.process_time()
    first: str | None = None
    good, fatal = 0, False
    try:
        for one in records(data, Asked(format=hostile.kind)):
            if isinstance(one, Flaw):
                first, fatal = first or one.code, one.fatal
            else:
                good += 1
    except InvalidInput as refused:
        first = str(refused)
    return Ended(first, good, fatal, time.process_time() - began, peak() - before)


def main() -> None:
    """Read every file in a child of its own; a child that died prints nothing."""
    for name, hostile in FILES.items():
        child = os.fork()
        if not child:
            print(json.dumps([name, *consume(hostile)]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
