"""How the command line shows text and writes files: nothing it shows is markup or obeyed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tdsys.core.printable import printable
from tdsys.errors import InvalidInput

OUT = "--out"
# So many columns a table of ten needs to be read.
NARROW = 120
# Wider than any row: what reads a pipe or a file wants each on one line.
WIDE = 100_000
# A split that is empty now may have been there in the version that is replaced.
EARLIER = ("data/train.jsonl", "data/validation.jsonl", "data/test.jsonl")


def say(line: str) -> None:
    """One line of the result."""
    click.echo(printable(line))


def note(line: str) -> None:
    """One line beside the result."""
    click.echo(printable(line), err=True)


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal, where what is long goes on below; else as wide as it is.

    A cell may have lines.
    """
    table = Table(*(Column(header=Text(title), overflow="fold") for title in titles))
    for row in rows:
        table.add_row(*(Text("\n".join(map(printable, cell.split("\n")))) for cell in row))
    _console().print(table)


def show_records(titles: Sequence[str], rows: Iterable[Sequence[str]], *, head: int) -> None:
    """A table, or where the terminal is too narrow for one each row as lines.

    The first `head` cells are a row's first line; each other one that says something has its own.
    """
    console = _console()
    if console.width >= NARROW:
        show_table(titles, rows)
        return
    for row in rows:
        first = [printable(cell) for cell in row[:head] if cell]
        console.print(Text(" · ".join(first), style="bold"))
        lines = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2))
        for title, cell in zip(titles[head:], row[head:], strict=True):
            if cell:
                lines.add_row(Text(f"  {title}"), Text(printable(cell)))
        console.print(lines)


def _console() -> Console:
    console = Console()
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = WIDE
    return console


def write_text(path: Path, text: str, *, option: str) -> None:
    """Replace a file with UTF-8 text in one step; what is no plain file is written to as it is.

    `option` is what gave the path: it is named where nothing can be written there.
    """
    write_pieces(path, [text.encode()], option=option)


def write_pieces(path: Path, pieces: Iterable[bytes], *, option: str = OUT) -> None:
    """Replace a file in one step by what comes; a file that is there stays until all has come."""
    target = path.resolve()
    with _told(path, option):
        if target.exists() and not target.is_file():
            with target.open("wb") as sink:
                sink.writelines(pieces)
        else:
            _replace(target, pieces)


def write_folder(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Make a folder of these files in one step.

    InvalidInput where a folder is that holds any other file, for it would be lost.
    """
    target = path.resolve()
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    with _told(path, OUT):
        try:
            for name, content in files:
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                (fresh / name).write_bytes(content)
            if target.exists():
                _refuse_others(target, like=fresh)
                shutil.rmtree(target)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _refuse_others(target: Path, *, like: Path) -> None:
    if not target.is_dir():
        raise InvalidInput(f"{target} is a file", remedy="choose another --out, a folder")
    ours = {one.relative_to(like) for one in like.rglob("*")} | set(map(Path, EARLIER))
    for one in target.rglob("*"):
        if one.relative_to(target) not in ours:
            raise InvalidInput(
                f"{target} holds {one.relative_to(target)}, which is no part of an export",
                remedy="choose another --out, or empty that folder",
            )


@contextmanager
def _told(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as failed:
        raise InvalidInput(
            f"{path} cannot be written: {failed.strerror}", remedy=f"choose another {option}"
        ) from failed


def _replace(target: Path, pieces: Iterable[bytes]) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as sink:
            sink.writelines(pieces)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
