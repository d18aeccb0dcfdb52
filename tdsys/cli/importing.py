"""`tdsys import`: upload a file, follow it, show what was refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import click
from rich.console import Console
from rich.text import Text

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, pairs
from tdsys.cli.printing import note, say
from tdsys.core.conversion import FIELDS, ImportOptions
from tdsys.core.patience import Patience
from tdsys.core.printable import printable
from tdsys.errors import NotReady
from tdsys.stages import importing
from tdsys.store.imports import Import
from tdsys.wire import Task

REJECTS_SHOWN = 20
LOOK_EVERY = 0.1
PATIENCE_SECONDS = 10.0
NO_WORKER = (
    "nothing happens: no worker seems to be running; start one with `tdsys up`, or in compose "
    "`docker compose up worker-lifecycle` (the file is stored, Ctrl-C here loses nothing)"
)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@for_domain
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="THEIRS=OURS",
    help=f"Their field name = ours: {', '.join(FIELDS)}.",
)
@click.option(
    "--set",
    "constants",
    multiple=True,
    metavar="OURS=VALUE",
    help="The same value for every record.",
)
@click.option("--detach", is_flag=True, help="Do not wait for the result.")
@as_json
def import_(
    file: Path,
    domain: str,
    mapping: tuple[str, ...],
    constants: tuple[str, ...],
    *,
    detach: bool,
    as_json: bool,
) -> None:
    """Import examples from a JSONL file; they are verified and judged like all others."""
    options = ImportOptions(
        mapping=pairs(mapping, where="--map", example="--map question=problem"),
        constants=pairs(constants, where="--set", example="--set topic=fractions"),
    )
    here = runtime.current()
    import_id, created = importing.receive(
        here.store, path=file, domain=domain, options=options, now=here.now()
    )
    here.ring(Task.PARSE)
    if created:
        note(f"domain {domain} is new and has the default policy")
    if not detach:
        show(follow(import_id), as_json=as_json)
    elif as_json:
        say(json.dumps({"import": str(import_id)}))
    else:
        say(f"import {import_id} is uploaded and waits for a worker")


def follow(
    import_id: UUID, *, patience: float = PATIENCE_SECONDS, tell: Callable[[str], None] = note
) -> Import:
    """Wait until an import ends, with progress on a terminal; `tell` hears when nothing moves."""
    store, standstill = runtime.current().store, Patience(patience)
    with Console(stderr=True).status("waiting for a worker") as shown:
        while True:
            found = importing.status(store, import_id=import_id)
            if found.state in {"finished", "failed"}:
                return found
            shown.update(Text(printable(_progress(found))))
            if standstill.is_out((found.attempts, found.read), now=time.monotonic()):
                tell(NO_WORKER)
            time.sleep(LOOK_EVERY)


def _progress(found: Import) -> str:
    return (
        f"{found.filename}: {found.read} records read, {found.new} new, {found.rejected} rejected"
    )


def show(done: Import, *, as_json: bool) -> None:
    """Print an import's result and its first rejects; the exit code says how much came in."""
    numbers = {
        "read": done.read,
        "new": done.new,
        "duplicate": done.duplicate,
        "rejected": done.rejected,
    }
    if as_json:
        say(json.dumps({"import": str(done.id), "state": done.state, **numbers}))
    else:
        say(f"{done.filename}: " + ", ".join(f"{n} {name}" for name, n in numbers.items()))
    found = importing.rejects(runtime.current().store, import_id=done.id, limit=REJECTS_SHOWN)
    for bad in found:
        where = f"line {bad.line}" + (f", field {bad.field}" if bad.field else "")
        note(f"  {where}: {bad.message} ({bad.code}) — {bad.remedy}")
    if done.state == "failed":
        raise NotReady(f"the import failed: {done.reason}")
    if done.rejected:
        raise SystemExit(1 if done.rejected == done.read else 4)
