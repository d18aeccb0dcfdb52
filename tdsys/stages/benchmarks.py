"""Register benchmarks, so that their problems are never imported as training data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime

from tdsys.core.conversion import ImportOptions
from tdsys.core.example import check_domain
from tdsys.core.intake import Faulty, Intake, Job, Purpose
from tdsys.errors import InvalidInput
from tdsys.store import Store, benchmarks
from tdsys.store.benchmarks import Benchmark


def add(
    store: Store,
    intake: Intake,
    *,
    name: str,
    pieces: Iterable[bytes],
    filename: str,
    options: ImportOptions,
    author: str,
    now: datetime,
) -> Benchmark:
    """Register the problems of a file; InvalidInput when one of its records holds none."""
    check_domain(name)
    digest = hashlib.sha256()
    job = Job(purpose=Purpose.BENCHMARK, filename=filename, options=options)
    marks: list[int] = []
    problems = 0
    for block in intake.blocks(job, _hashed(pieces, digest)):
        for bad in block.faulty:
            raise _unreadable(bad)
        marks += block.marks
        problems += block.read
    if not problems:
        raise InvalidInput(f"{filename} holds no record", remedy="give a file with the problems")
    benchmark = Benchmark(name, filename, digest.hexdigest(), problems, author, now)
    with store.begin() as tx:
        benchmarks.register(tx, benchmark=benchmark, marks=marks)
    return benchmark


def listed(store: Store) -> list[Benchmark]:
    """All benchmarks by name."""
    with store.begin() as tx:
        return benchmarks.listed(tx)


def remove(store: Store, *, name: str) -> None:
    """Forget a benchmark; InvalidInput when there is none of that name."""
    with store.begin() as tx:
        benchmarks.remove(tx, name=name)


def _hashed(pieces: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _unreadable(bad: Faulty) -> InvalidInput:
    where = f"line {bad.line}" + (f", field {bad.field}" if bad.field else "")
    return InvalidInput(f"{where}: {bad.message}; nothing was registered", remedy=bad.remedy)
