"""How fast and how light files are read, and rows stored beside COPY: `make bench` prints it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from rich.console import Console
from rich.table import Table

from tdsys.intake import GuardedIntake
from tdsys.reference import DOMAINS
from tdsys.stages import importing
from tdsys.store import Store, policies
from tests.bench.copying import copied_in, copied_out
from tests.factories import NOW, make_items
from tests.files import uploaded
from tests.scripted import Clock
from tests.stored import LEASE

pytestmark = pytest.mark.bench

FILE_BYTES = 30_000_000
MOST_MB = 60
BARS = {"jsonl": 30.0, "csv": 30.0, "json": 25.0, "yaml": 8.0}
SHARE_OF_COPY = 0.2
# Runs one child over a file and tells its CPU seconds and its largest memory in kilobytes.
READ = """
import resource, sys
from tdsys.core.intake import Job
from tdsys.intake import GuardedIntake
job = Job(import_id="b", domain="d", filename="f", created_at="2026-11-22T12:00:00+00:00")
def pieces():
    with open(sys.argv[1], "rb") as file:
        while piece := file.read(1 << 20):
            yield piece
done = rows = 0
for block in GuardedIntake().blocks(job, pieces()):
    done += block.read
    rows += len(block.rows)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, done, rows)
"""
# The same file by the readers alone, and by the readers and the mapping, in this process.
PARTS = """
import sys, time
from tdsys.core.conversion import ImportOptions, complete, mapped
from tdsys.parsing import Asked, records
def pieces():
    with open(sys.argv[1], "rb") as file:
        while piece := file.read(1 << 18):
            yield piece
options = ImportOptions()
began = time.process_time()
for one in records(pieces(), Asked()):
    pass
read = time.process_time() - began
began = time.process_time()
for one in records(pieces(), Asked()):
    complete(mapped(one.value, options))
print(read, time.process_time() - began)
"""


class Used(NamedTuple):
    """What a child used."""

    seconds: float
    kilobytes: float
    read: float
    rows: float


def numbers(program: str, path: Path) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    return [float(word) for word in done.stdout.split()]


def problems(size: int) -> list[dict[str, str]]:
    """About so many bytes of problems with their labels, each one distinct."""
    found: list[dict[str, str]] = []
    items = [item for domain in DOMAINS for item in make_items(domain, 100)]
    written = 0
    while written < size:
        for item in items:
            told = f"{item.outputs['problem']} This is problem {len(found)}."
            fields = {**item.inputs, **item.outputs, "problem": told, "id": len(found)}
            record = {name: str(value) for name, value in fields.items()}
            found.append(record)
            written += len(json.dumps(record))
    return found


def written(path: Path, kind: str, records: list[dict[str, str]]) -> Path:
    names = list(dict.fromkeys(name for record in records for name in record))
    with path.open("w", newline="") as file:
        if kind == "json":
            json.dump(records, file)
        elif kind == "jsonl":
            file.writelines(json.dumps(record) + "\n" for record in records)
        elif kind == "yaml":
            for start in range(0, len(records), 500):
                yaml.dump(records[start : start + 500], file, Dumper=yaml.CSafeDumper)
        else:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(records)
    return path


def test_files_are_read_mapped_and_prepared_quickly_in_little_memory(tmp_path: Path) -> None:
    found = problems(FILE_BYTES)
    started = Used(*numbers(READ, written(tmp_path / "none", "jsonl", found[:1]))).seconds
    title = f"{FILE_BYTES >> 20} MB, {len(found):,} problems: MB per CPU second"
    table = Table("format", "read", "and mapped", "whole child", "bar", "MB of memory", title=title)
    slow = []
    for kind, bar in BARS.items():
        records = found[: len(found) // 4] if kind == "yaml" else found
        path = written(tmp_path / kind, kind, records)
        megabytes = path.stat().st_size / 1e6
        parts = [megabytes / seconds for seconds in numbers(PARTS, path)]
        used = Used(*numbers(READ, path))
        assert used.read == used.rows == len(records)
        whole = megabytes / (used.seconds - started)
        memory = used.kilobytes / 1024
        row = (*parts, whole, bar, memory)
        table.add_row(kind, *(f"{number:.1f}" for number in row))
        slow += [kind] if parts[1] < bar or memory > MOST_MB else []
    Console().print(table)
    assert not slow


def test_an_import_into_postgres_beside_copy_of_the_same_rows(
    new_database: Callable[[], str],
) -> None:
    ours, theirs = new_database(), new_database()
    content = io.BytesIO()
    found = problems(FILE_BYTES)
    content.writelines(json.dumps(record).encode() + b"\n" for record in found)
    store, other = Store(ours), Store(theirs)
    for one in (store, other):
        one.upgrade()
    uploaded(store, content.getvalue())
    began = time.perf_counter()
    (done,) = importing.read_due(store, intake=GuardedIntake(), clock=Clock(), lease=LEASE)
    whole = done.new / (time.perf_counter() - began)
    assert done.new == len(found)
    with other.begin() as tx:
        policies.ensure_domain(tx, domain="i", now=NOW)
    tables = ("examples", "example_bodies")
    copied = {name: copied_out(ours, f"TABLE {name}") for name in tables}
    same = done.new / copied_in(theirs, copied)
    store.close()
    other.close()
    table = Table("import", "rows/s", "of COPY", title=f"{len(found):,} problems, one worker")
    table.add_row("file -> child -> worker -> rows", f"{whole:,.0f}", f"{whole / same:.2f}")
    table.add_row("baseline: COPY of the same rows, same tables", f"{same:,.0f}", "1")
    Console().print(table)
    assert whole >= SHARE_OF_COPY * same
