"""Benchmarks whose problems must not be imported: marks of them, never their text."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, bindparam, cast, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from tdsys.errors import InvalidInput
from tdsys.store.engine import Tx
from tdsys.store.import_schema import benchmark_marks
from tdsys.store.import_schema import benchmarks as benchmarks_table

AT_ONCE = 5000


class Benchmark(NamedTuple):
    """A registered benchmark; `problems` is how many it has."""

    name: str
    filename: str
    sha256: str
    problems: int
    author: str
    created_at: datetime


def register(tx: Tx, *, benchmark: Benchmark, marks: Collection[int]) -> None:
    """Keep a benchmark's marks; InvalidInput when one of that name is there."""
    made = tx.scalar(
        insert(benchmarks_table)
        .values(benchmark._asdict())
        .on_conflict_do_nothing()
        .returning(benchmarks_table.c.name)
    )
    if made is None:
        raise InvalidInput(
            f"there is a benchmark {benchmark.name!r} already",
            remedy=f"choose another name, or first `tdsys benchmark remove {benchmark.name}`",
        )
    distinct = sorted(set(marks))
    given = func.unnest(cast(bindparam("marks"), ARRAY(BigInteger))).column_valued("mark")
    statement = insert(benchmark_marks).from_select(
        ["benchmark", "mark"], select(literal(benchmark.name), given)
    )
    for start in range(0, len(distinct), AT_ONCE):
        tx.execute(statement, {"marks": distinct[start : start + AT_ONCE]})


def remove(tx: Tx, *, name: str) -> None:
    """Forget a benchmark; InvalidInput when there is none of that name."""
    gone = tx.scalar(
        delete(benchmarks_table)
        .where(benchmarks_table.c.name == name)
        .returning(benchmarks_table.c.name)
    )
    if gone is None:
        known = ", ".join(one.name for one in listed(tx))
        raise InvalidInput(
            f"there is no benchmark {name!r}", remedy=f"there is {known}" if known else "none is"
        )


def listed(tx: Tx) -> list[Benchmark]:
    """All benchmarks by name."""
    kept = benchmarks_table.c
    rows = tx.execute(select(*(kept[name] for name in Benchmark._fields)).order_by(kept.name))
    return [Benchmark(*row) for row in rows]


def packed(tx: Tx) -> dict[str, bytes]:
    """The marks of every benchmark, eight bytes each."""
    kept = benchmark_marks.c
    return {
        one.name: array(
            "q", tx.scalars(select(kept.mark).where(kept.benchmark == one.name))
        ).tobytes()
        for one in listed(tx)
    }
