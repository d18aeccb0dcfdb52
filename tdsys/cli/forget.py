"""`tdsys forget`: delete examples everywhere, and say who had learned from them."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, person
from tdsys.cli.printing import say
from tdsys.errors import InvalidInput
from tdsys.stages import forgetting
from tdsys.stages.forgetting import Forgotten
from tdsys.wire import Task

ID = click.IntRange(1, 2**63 - 1)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("ids", nargs=-1, type=ID, metavar="[ID]...")
@click.option("--capture", "captures", multiple=True, type=click.UUID, help="By its capture id.")
@click.option("--file", "file", type=FILE, help="Ids and capture ids, one a line.")
@click.option("--reason", required=True, help="Why; it stays with the tombstone.")
@click.option("--dry-run", is_flag=True, help="Say what would go, change nothing.")
@click.option("--yes", is_flag=True, help="Do it; nothing brings it back.")
@as_json
def forget(
    ids: tuple[int, ...],
    captures: tuple[UUID, ...],
    file: Path | None,
    reason: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete examples wherever they are: for good, and so that they never come in again.

    Histories, judgements, reviews, the content of dataset versions, demos in programs, raw records
    and models' answers go too. A tombstone with their fingerprint stays.
    """
    if dry_run is yes:
        raise InvalidInput("say whether to do it", remedy="use --yes, or --dry-run to see what")
    more_ids, more_captures = _read(file) if file else ([], [])
    if not (ids or captures or more_ids or more_captures):
        raise InvalidInput("nothing is named", remedy="give ids, --capture or --file")
    here = runtime.current()
    done = forgetting.forget(
        here.store,
        ids=[*ids, *more_ids],
        captures=[*captures, *more_captures],
        actor=person(),
        reason=reason,
        now=here.now(),
        dry_run=dry_run,
        quarantine=here.drop_quarantined,
    )
    if yes and done.programs:
        here.bells.ring(Task.PUBLISH)
    if as_json:
        say(json.dumps(_document(done, applied=yes)))
    else:
        _show(done, done=yes)


def _read(file: Path) -> tuple[list[int], list[UUID]]:
    ids, captures = [], []
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        word = line.strip()
        try:
            if word.isdecimal():
                ids.append(int(word))
            elif word:
                captures.append(UUID(word))
        except ValueError:
            raise InvalidInput(
                f"{file}, line {number}: {word[:60]!r} is no id",
                remedy="write one example id or capture id on each line",
            ) from None
    return ids, captures


def _document(done: Forgotten, *, applied: bool) -> dict[str, object]:
    return {
        **done._asdict(),
        "versions": [one._asdict() for one in done.versions],
        "programs": [one._asdict() for one in done.programs],
        "applied": applied,
    }


def _show(found: Forgotten, *, done: bool) -> None:
    would = "deleted" if done else "would delete"
    if found.examples:
        say(f"{would} {len(found.examples)} examples, {found.contents} contents")
    else:
        say("no example of this is left: it was forgotten or purged before; its content stays out")
    for table, n in sorted(found.records.items()):
        if n:
            say(f"  {n} rows of {table} quoted them")
    for version in found.versions:
        say(f"  version {version.number} of {version.domain} loses {version.members} members' text")
    for one in found.programs:
        active = ", active" if one.active else ""
        say(f"  program {one.program_id} of {one.domain}{active} learned from them; "
            f"{one.demos} demos are taken out")  # fmt: skip
    if found.unknown:
        say(f"  never here: {', '.join(found.unknown)}")
