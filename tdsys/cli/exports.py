"""`tdsys program export`: fetch everything first, then write."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tdsys import runtime
from tdsys.cli.arguments import for_domain
from tdsys.cli.printing import OUT, say, write_text
from tdsys.stages import datasets

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def program() -> None:
    """Compiled programs."""


@program.command("export")
@for_domain
@click.option(OUT, type=FILE, required=True)
def program_export(domain: str, out: Path) -> None:
    """Write the active program as JSON that plain dspy loads."""
    found = datasets.program(runtime.current().store, domain=domain)
    beside = out.with_suffix(".envelope.json")
    # The program last: where it is, its provenance is.
    write_text(beside, _document(found.envelope), option=OUT)
    write_text(out, _document(found.state), option=OUT)
    say(f"wrote {out} and, with its provenance, {beside}")


def _document(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
