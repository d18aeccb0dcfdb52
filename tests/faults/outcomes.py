"""What the faults did, as a table: for the terminal, and for docs/faults.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
TITLES = ("fault", "times", "accepted", "lost", "doubled", "recovery", "worst")
CONTROL = ("plain: accepted", "lost or stuck", "doubled")


class Outcome(NamedTuple):
    """One fault at one moment; `recovery` in seconds from the fault's end."""

    fault: str
    accepted: int
    lost: int
    doubled: int
    recovery: float
    plain: tuple[int, int, int] | None = None


def rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, ...]]:
    """A row a fault, in the order of the faults, and their sum."""
    for name in dict.fromkeys(one.fault for one in outcomes):
        yield _row(name, [one for one in outcomes if one.fault == name])
    yield _row("all", outcomes)


def _row(name: str, some: Sequence[Outcome]) -> tuple[str, ...]:
    times = [one.recovery for one in some]
    sums = [sum(c) for c in zip(*((o.accepted, o.lost, o.doubled) for o in some), strict=True)]
    plain = [one.plain for one in some if one.plain]
    theirs = [sum(column) for column in zip(*plain, strict=True)]
    recovery = (f"{statistics.median(times):.1f} s", f"{max(times):.1f} s")
    return (name, str(len(some)), *map(str, sums), *recovery, *map(str, theirs))


def titles(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    return (*TITLES, *(CONTROL if any(one.plain for one in outcomes) else ()))


def show(outcomes: Sequence[Outcome]) -> None:
    table = Table(*titles(outcomes), title="One fault at a random moment")
    for row in rows(outcomes):
        table.add_row(*row)
    Console().print(table)


def write(outcomes: Sequence[Outcome]) -> None:
    """Put the table where the document has its old one."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    head = titles(outcomes)
    lines = [head, ("---",) + ("---:",) * (len(head) - 1), *rows(outcomes)]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
