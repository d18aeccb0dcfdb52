"""`tdsys imports`: what was imported, followed and stopped."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain, person
from tdsys.cli.importing import followed
from tdsys.cli.importing import show as show_result
from tdsys.cli.printing import say, show_records
from tdsys.stages import archive, importing
from tdsys.store.imports import Import

TITLES = ("import", "domain", "file", "state", "read", "new", "duplicate", "rejected", "at", "why")


def _meant(_: click.Context, __: click.Parameter, prefix: str) -> UUID:
    """The beginning of an id is enough."""
    return importing.meant(runtime.current().store, prefix=prefix)


import_id = click.argument("import_id", callback=_meant, metavar="IMPORT")


@click.group()
def imports() -> None:
    """Imported files."""


@imports.command("list")
@of_domain
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@as_json
def list_(domain: str | None, limit: int, *, as_json: bool) -> None:
    """Show imports, the newest first."""
    domains = None if domain is None else {domain}
    found = archive.imported(runtime.current().store, domains=domains, limit=limit)
    if as_json:
        say(json.dumps(list(map(_document, found))))
    else:
        show_records(TITLES, map(_row, found), head=4)


@imports.command()
@import_id
@as_json
def watch(import_id: UUID, *, as_json: bool) -> None:
    """Follow an import to its end; exit code 0: all came in, 4: some, 1: none."""
    show_result(followed(import_id), as_json=as_json)


@imports.command()
@import_id
@as_json
def cancel(import_id: UUID, *, as_json: bool) -> None:
    """Stop an import; what came in stays."""
    here = runtime.current()
    importing.cancel(here.store, import_id=import_id, actor=person(), clock=here.now)
    if as_json:
        say(json.dumps(_document(importing.status(here.store, import_id=import_id))))
    else:
        say(f"import {import_id} is cancelled")


def _document(one: Import) -> dict[str, Any]:
    return one.model_dump(mode="json", exclude={"options"})


def _row(one: Import) -> tuple[str, ...]:
    counts = (one.read, one.new, one.duplicate, one.rejected)
    at, why = f"{one.created_at:%Y-%m-%d %H:%M}", one.reason or ""
    return str(one.id), one.domain, one.filename, one.state, *map(str, counts), at, why
