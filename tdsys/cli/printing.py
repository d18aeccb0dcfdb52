"""How the command line shows text and writes files: nothing it shows is markup or obeyed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tdsys.core.printable import printable
from tdsys.errors import InvalidInput


def say(line: str) -> None:
    """One line of the result."""
    click.echo(printable(line))


def note(line: str) -> None:
    """One line beside the result."""
    click.echo(printable(line), err=True)


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal."""
    table = Table(*(Column(header=Text(title)) for title in titles))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)


def write_text(path: Path, text: str) -> None:
    """Replace a file with UTF-8 text in one step; what is no plain file is written to as it is."""
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(text.encode())
        else:
            _replace(target, text.encode())
    except OSError as failed:
        raise InvalidInput(
            f"{path} cannot be written: {failed.strerror}", remedy="choose another --out"
        ) from failed


def _replace(target: Path, content: bytes) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
