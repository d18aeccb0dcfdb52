"""`tdsys import`: upload a file, follow it, show what was refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from rich.progress import Progress

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_any_domain, person
from tdsys.cli.following import leaving, progress
from tdsys.cli.mapping import field_options, options, reading_options, settled
from tdsys.cli.printing import note, say
from tdsys.cli.rejects import ErrorsFile
from tdsys.cli.source import Source
from tdsys.core.conversion import ImportOptions
from tdsys.core.intake import Faulty
from tdsys.core.patience import Patience
from tdsys.core.printable import printable
from tdsys.errors import InvalidInput
from tdsys.stages import importing, rehearsing, uploading
from tdsys.stages.rehearsing import Counts
from tdsys.store.imports import Import
from tdsys.wire import Task

REJECTS_SHOWN = 20
LOOK_EVERY = 0.1
PATIENCE_SECONDS = 10.0
NONE, PARTIAL = 1, 4
NO_WORKER = (
    "nothing happens: no worker seems to be running; "
    "start one with `tdsys up`, or in compose `docker compose up worker-imports` "
    "(the file is stored, Ctrl-C here loses nothing)"
)


@click.command("import")
@click.argument("file", metavar="FILE|-")
@for_any_domain
@field_options
@reading_options
@click.option("--dry-run", is_flag=True, help="Say what would happen; store nothing.")
@click.option("--strict", is_flag=True, help="All or nothing: one wrong record refuses the file.")
@click.option("--trust", is_flag=True, help="Admit what no check speaks against, on your word.")
@click.option("--errors", metavar="FILE", help="Write rejected records to mend and import again.")
@click.option("--detach", is_flag=True, help="Do not wait for the result.")
@as_json
def import_(file: str, domain: str, **given: Any) -> None:
    """Import examples from JSON, JSONL, CSV or YAML, plain or gzip-compressed.

    They are verified and judged like all others. Exit code 0: all came in, 4: some, 1: none.
    """
    if given["detach"] and (given["dry_run"] or given["errors"]):
        raise InvalidInput(
            "--detach does not wait for what --dry-run and --errors tell",
            remedy="leave it out; the same command again follows an import that is under way",
        )
    wanted = options(given)
    source = Source(file)
    wanted = settled(source, wanted, given)
    with ErrorsFile(Path(given["errors"])) if given["errors"] else nullcontext() as errors:
        if given["dry_run"]:
            _rehearse(source, domain, wanted, errors, as_json=given["as_json"])
        else:
            _import(source, domain, wanted, errors, given)


def _import(
    source: Source,
    domain: str,
    wanted: ImportOptions,
    errors: ErrorsFile | None,
    given: dict[str, Any],
) -> None:
    here = runtime.current()
    with progress() as shown:
        received = uploading.receive(
            here.store,
            pieces=_told(source, shown),
            filename=source.name,
            domain=domain,
            options=wanted,
            actor=person(),
            clock=here.now,
            sha256=source.sha256(),
        )
    here.bells.ring(Task.PARSE)
    if received.is_new_domain:
        made = "is made, with the default policy, once the whole file is found right"
        note(f"domain {domain} is new and {made if wanted.strict else 'has the default policy'}")
    done = importing.status(here.store, import_id=received.import_id)
    again = received.again and done.finished_at is not None
    if received.again:
        note(_repeated(done))
    if given["detach"] and not again:
        _detached(received.import_id, as_json=given["as_json"])
        return
    if not again:
        done = followed(received.import_id)
    if errors:
        errors.write(importing.every_reject(here.store, import_id=done.id))
    if received.is_new_domain and not done.new:
        left = "not made" if wanted.strict and not done.duplicate else "there now, and empty"
        note(f"nothing came in: domain {domain} is {left}")
    show(done, as_json=given["as_json"], again=again)


def _detached(import_id: UUID, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps({"import": str(import_id)}))
    else:
        say(f"import {import_id} is uploaded and waits for a worker")


def _repeated(done: Import) -> str:
    if done.finished_at is None:
        return f"{done.filename} is being imported already, as {done.id}"
    return (
        f"{done.filename} was imported in the same way at {done.finished_at:%Y-%m-%d %H:%M}, "
        f"as {done.id}: nothing is added"
    )


def _told(source: Source, shown: Progress) -> Iterator[bytes]:
    """The pieces of a source, on their way past a bar."""
    task = shown.add_task(printable(f"uploading {source.name}"), total=source.size or None)
    for piece in source.pieces():
        yield piece
        shown.advance(task, len(piece))


def followed(import_id: UUID) -> Import:
    """The same as `follow`, for a person, who may go away."""
    with leaving("import", import_id, group="imports"):
        return follow(import_id)


def follow(
    import_id: UUID, *, patience: float = PATIENCE_SECONDS, tell: Callable[[str], None] = note
) -> Import:
    """Wait until an import ends, with progress on a terminal; `tell` hears when nothing moves."""
    here, standstill = runtime.current(), Patience(patience)
    began = time.monotonic()
    with progress() as shown:
        task = shown.add_task("waiting for a worker", total=None)
        while True:
            found = importing.status(here.store, import_id=import_id)
            if found.state in {"finished", "failed"}:
                return found
            shown.update(
                task,
                description=printable(_moving(found, time.monotonic() - began)),
                completed=found.done,
                total=found.size or None,
            )
            if standstill.is_out(place(found), now=time.monotonic()):
                why = importing.held_up(here.store, import_id=import_id, now=here.now())
                tell(f"nothing moves: {why}" if why else NO_WORKER)
            time.sleep(LOOK_EVERY)


def place(found: Import) -> tuple[int, ...]:
    """Where an import is: it stands still while this stays the same."""
    return found.attempts, found.done, found.checked, found.read


def _moving(found: Import, seconds: float) -> str:
    doing, records = ("checking", found.checked) if not found.read else ("reading", found.read)
    rate = records / seconds if seconds else 0
    return (
        f"{doing} {found.filename}: {records:,} records, {rate:,.0f}/s, "
        f"{found.new:,} new, {found.faulty:,} rejected"
    )


def show(done: Import, *, as_json: bool, again: bool = False) -> None:
    """Print an import's result and its first rejects; the exit code says how much came in."""
    counts = Counts(
        read=done.read,
        new=0 if again else done.new,
        duplicate=done.duplicate + (done.new if again else 0),
        rejected=done.rejected,
        near_duplicate=0 if again else done.near_duplicate,
    )
    store = runtime.current().store
    found = importing.rejects(store, import_id=done.id, limit=REJECTS_SHOWN)
    _explain(found, done.faulty, reason=done.reason)
    document = {
        "import": str(done.id),
        "state": done.state,
        "again": again,
        "how": done.how,
        "reason": done.reason,
    }
    _tell(document, counts, faulty=done.faulty, name=done.filename, as_json=as_json)
    _end(counts, is_whole=not done.reason)


def _rehearse(
    source: Source,
    domain: str,
    wanted: ImportOptions,
    errors: ErrorsFile | None,
    *,
    as_json: bool,
) -> None:
    here = runtime.current()
    first: list[Faulty] = []
    faulty = 0

    def refused(one: Faulty) -> None:
        nonlocal faulty
        faulty += 1
        if len(first) < REJECTS_SHOWN:
            first.append(one)
        if errors:
            errors.add(one)

    with progress() as shown:
        done = rehearsing.rehearse(
            here.store,
            here.intake,
            pieces=_told(source, shown),
            filename=source.name,
            domain=domain,
            options=wanted,
            refused=refused,
        )
    if errors:
        errors.close()
    note("--dry-run: nothing was stored")
    if done.is_new_domain:
        note(f"domain {domain} would be new and have the default policy")
    _explain(first, faulty, reason=done.reason)
    document: dict[str, object] = {
        "state": "dry_run",
        "how": done.how,
        "reason": done.reason or None,
    }
    _tell(document, done.counts, faulty=faulty, name=source.name, as_json=as_json)
    _end(done.counts, is_whole=not done.reason)


def _explain(found: Iterable[Faulty], total: int, *, reason: str | None) -> None:
    shown = 0
    for shown, bad in enumerate(found, 1):  # noqa: B007  # the count is wanted
        where = f"line {bad.line}, column {bad.column}, record {bad.record}"
        field = f", field {bad.field}" if bad.field else ""
        note(f"  {where}{field}: {bad.message} ({bad.code}) — {bad.remedy}")
    if total > shown:
        note(f"  and {total - shown:,} more; --errors FILE writes all of them")
    if reason:
        note(reason)


def _tell(
    document: dict[str, object], counts: Counts, *, faulty: int, name: str, as_json: bool
) -> None:
    if as_json:
        say(json.dumps({**document, **counts._asdict(), "faulty": faulty}))
        return
    near = f" ({counts.near_duplicate} near-duplicates)" if counts.near_duplicate else ""
    say(
        f"{name}: {counts.read} read, {counts.new} new{near}, {counts.duplicate} duplicate, "
        f"{counts.rejected} rejected"
    )


def _end(counts: Counts, *, is_whole: bool) -> None:
    """Exit 0 when all came in, 4 when some did, 1 when none."""
    if is_whole and not counts.rejected:
        return
    raise SystemExit(PARTIAL if counts.new + counts.duplicate else NONE)
