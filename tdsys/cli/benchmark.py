"""`tdsys benchmark`: whose problems must never become training data."""

from __future__ import annotations

import json
from typing import Any

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, person
from tdsys.cli.mapping import mapping_option, options, reading_options, settled
from tdsys.cli.printing import note, say, show_table
from tdsys.cli.source import Source
from tdsys.stages import benchmarks

TITLES = ("name", "problems", "file", "sha256", "by", "since")
HASH_SHOWN = 12


@click.group()
def benchmark() -> None:
    """Registered benchmarks: an imported record that is in one is rejected."""


@benchmark.command()
@click.argument("name")
@click.argument("file", metavar="FILE|-")
@mapping_option
@reading_options
def add(name: str, file: str, **given: Any) -> None:
    """Register the problems of a file; hashes of them are kept, never their text."""
    here = runtime.current()
    source = Source(file)
    wanted = settled(source, options(given), {"yes": True, "save_mapping": None})
    made = benchmarks.add(
        here.store,
        here.intake,
        name=name,
        pieces=source.pieces(),
        filename=source.name,
        options=wanted,
        author=person(),
        now=here.now(),
    )
    note(f"benchmark {name}: {made.problems} problems registered")


@benchmark.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """Show the registered benchmarks."""
    found = benchmarks.listed(runtime.current().store)
    if as_json:
        say(json.dumps([one._asdict() for one in found], default=str))
        return
    show_table(
        TITLES,
        (
            (
                one.name,
                str(one.problems),
                one.filename,
                one.sha256[:HASH_SHOWN],
                one.author,
                f"{one.created_at:%Y-%m-%d}",
            )
            for one in found
        ),
    )


@benchmark.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget a benchmark."""
    benchmarks.remove(runtime.current().store, name=name)
    note(f"benchmark {name} is forgotten")
