"""`tdsys dataset`: freeze versions, look at them, compare them, and write them to files."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, of_domain, person
from tdsys.cli.printing import note, say, show_table, write_folder, write_pieces
from tdsys.core.dataset import Member, Split
from tdsys.core.sections import Conversion
from tdsys.core.versions import Draft, Tombstone
from tdsys.errors import InvalidInput, NotReady
from tdsys.stages import archive, datasets, drafting, exporting, readying
from tdsys.stages.readying import Checked
from tdsys.store.datasets import DatasetVersion, Placed

WIDEST = 24
SHOWN = 20
IDS_AT_ONCE = 500
TELL_EVERY = 2.0

of_version = click.option(
    "--version", help="Another one than that in force: its name, id or fingerprint."
)


@click.group()
def dataset() -> None:
    """Dataset versions."""


@dataset.command()
@for_domain
@click.option("--major", is_flag=True, help="Begin a major version: val and test are made anew.")
@click.option("--dry-run", is_flag=True, help="Show what it would hold; freeze nothing.")
@as_json
def build(domain: str, *, major: bool, dry_run: bool, as_json: bool) -> None:
    """Freeze the next version now, without a run."""
    here = runtime.current()
    asked = f"{person()} asked for it" if major else ""
    if dry_run:
        known = drafting.read(here.store, domain=domain)
        drafted = drafting.next_version(known, asked=asked)
        told = _drafted(known, drafted)
        if as_json:
            say(json.dumps(told))
            return
        say(f"{domain}: {'a major version' if told['major'] else 'a minor version'}, "
            f"{told['because']}")  # fmt: skip
        _show_cells(drafted.draft.members)
        _show_tombstones(drafted.draft.removed)
        for one in told["missing"]:
            say(f"not yet: {one}")
        return
    built = drafting.build(here.store, domain=domain, major=asked, clock=here.now)
    if as_json:
        say(json.dumps({**_version(built.version), "same": built.is_same}))
    elif built.is_same:
        say(f"{domain} is version {built.version.name} as it is: nothing changed since")
    else:
        say(f"version {built.version.name} of {domain}, id {built.version.id}: "
            f"{built.version.size} examples, {built.version.because}")  # fmt: skip


@dataset.command("list")
@of_domain
@as_json
def list_(domain: str | None, *, as_json: bool) -> None:
    """List a domain's versions, the newest first, or the newest of every domain."""
    store = runtime.current().store
    found = (
        archive.versions(store, domain=domain, domains=None)
        if domain
        else archive.newest_versions(store, domains=None)
    )
    in_force = _in_force(found)
    if as_json:
        say(json.dumps([{**_version(one), "in_force": one.id in in_force} for one in found]))
        return
    titles = ("id", "domain", "version", "train", "val", "test", "frozen", "why")
    show_table(titles, (_row(one, in_force) for one in found))


@dataset.command()
@for_domain
@of_version
@as_json
def show(domain: str, version: str | None, *, as_json: bool) -> None:
    """Show what a version holds by split, topic and difficulty, and what left it."""
    store = runtime.current().store
    one = datasets.found(store, domain=domain, version=version)
    whole = exporting.described(store, version=one)
    left = datasets.tombstones(store, version=one)
    if as_json:
        cells = Counter((*m.example.cell, m.split.value) for m in whole.members)
        say(
            json.dumps(
                {
                    **_version(one),
                    "cells": [
                        {"topic": topic, "difficulty": difficulty, "split": split, "examples": n}
                        for (topic, difficulty, split), n in sorted(cells.items())
                    ],
                    "tombstones": [_tombstone(each) for each in left],
                }
            )
        )
        return
    say(f"{domain} {one.name}, id {one.id}, frozen {one.created_at:%Y-%m-%d %H:%M} UTC under "
        f"policy version {one.policy_version}: {one.because}")  # fmt: skip
    say(f"fingerprint {one.fingerprint}")
    _show_cells(whole.members)
    _show_tombstones(left)


@dataset.command()
@for_domain
@click.option("--from", "before", help="The older one: its name or id; what it follows without.")
@of_version
@as_json
def diff(domain: str, before: str | None, version: str | None, *, as_json: bool) -> None:
    """Show what came, went or changed its split between two versions."""
    store = runtime.current().store
    after = datasets.found(store, domain=domain, version=version)
    older = before or (str(after.parent_id) if after.parent_id else None)
    if older is None:
        raise InvalidInput(
            f"version {after.name} follows no other", remedy="name one: --from VERSION"
        )
    found = datasets.difference(
        store, before=datasets.found(store, domain=domain, version=older), after=after
    )
    if as_json:
        say(
            json.dumps(
                {
                    "before": _version(found.before),
                    "after": _version(found.after),
                    "added": _placed(found.added.items()),
                    "removed": _placed(found.removed.items()),
                    "moved": [
                        {**told, "from": found.moved[str(told["uid"])][0].split}
                        for told in _placed((uid, new) for uid, (_, new) in found.moved.items())
                    ],
                    "same": found.same,
                }
            )
        )
        return
    say(f"{found.before.name} -> {found.after.name}: {len(found.added)} came, "
        f"{len(found.removed)} went, {len(found.moved)} changed their split, "
        f"{found.same} as they were")  # fmt: skip
    rows = [
        *(("came", one, "", one.split) for one in found.added.values()),
        *(("went", one, one.split, "") for one in found.removed.values()),
        *(("moved", new, old.split, new.split) for old, new in found.moved.values()),
    ]
    _show_some(
        ("what", "example", "topic", "difficulty", "was in", "is in"),
        [(what, str(o.example_id), o.topic, o.difficulty, a, b) for what, o, a, b in rows],
    )


@dataset.command()
@for_domain
@click.option("--fix", is_flag=True, help="Print the commands that would mend what can be mended.")
@as_json
def check(domain: str, *, fix: bool, as_json: bool) -> None:
    """Show which fields of which examples do not fit the program, what lacks, what a run takes."""
    here = runtime.current()
    found = readying.check(
        here.store,
        domain=domain,
        optimizer=here.optimizer,
        verifier=here.verifier,
        price=here.program_price,
    )
    if as_json:
        say(json.dumps(_checked(domain, found)))
    elif fix:
        for line in _commands(domain, found):
            say(line)
    else:
        _show_checked(domain, found)
    if not found.ready:
        raise NotReady(
            f"{domain} is not ready: {(found.missing or found.blockers)[0]}",
            remedy=f"see `tdsys dataset check --domain {shlex.quote(domain)} --fix`",
        )


@dataset.command()
@for_domain
@of_version
@click.option("--format", "format_", type=click.Choice(exporting.FORMATS), default="jsonl")
@click.option("--out", type=click.Path(path_type=Path), help="Standard output without it.")
def export(domain: str, version: str | None, format_: str, out: Path | None) -> None:
    """Write a version as a file, or for huggingface as a folder."""
    store = runtime.current().store
    one = datasets.found(store, domain=domain, version=version)
    whole = exporting.described(store, version=one)
    if out is None:
        if format_ == "huggingface":
            raise InvalidInput("a folder cannot be printed", remedy="say where: --out FOLDER")
        # All of it before anything is printed, and bytes: the same whatever the locale says.
        click.echo(b"".join(exporting.pieces(whole, form=format_)), nl=False)
        return
    if format_ == "huggingface":
        write_folder(out, exporting.folder(whole))
    else:
        write_pieces(out, _counted(exporting.pieces(whole, form=format_)))
    say(f"wrote version {one.name} of {domain}, {one.size} examples, to {out}")


def _checked(domain: str, found: Checked) -> dict[str, Any]:
    return {
        "domain": domain,
        "ready": found.ready,
        "signature": found.signature.model_dump(),
        "counts": found.sizes,
        "unfit": found.unfit,
        "problems": [
            {
                "example": one.example_id,
                "field": one.field,
                "code": one.code,
                "reason": one.reason,
                "recovery": [{"option": way.option, "says": way.says} for way in one.recovery],
            }
            for one in found.misfits
        ],
        "missing": found.missing,
        "blockers": found.blockers,
        "commands": _commands(domain, found),
        "plans": {
            auto: {
                **one.plan.model_dump(),
                "calls": one.plan.calls_at_most,
                "tokens": one.tokens,
                "cost": one.dollars,
                "seconds": one.seconds,
            }
            for auto, one in found.estimates.items()
        },
    }


def _commands(domain: str, found: Checked) -> list[str]:
    """Shell commands that mend what rules can, and retire what they cannot."""
    quoted, commands = shlex.quote(domain), []
    if found.mended != found.rules:
        rules = shlex.quote(f"conversion={found.mended.model_dump_json()}")
        commands.append(f"tdsys policy set --domain {quoted} {rules}")
    helped = {
        (one.example_id, one.field)
        for one in found.misfits
        if any(_is_part(way.changes, found.mended) for way in one.recovery if way.changes)
    }
    lost = sorted({
        o.example_id for o in found.misfits if (o.example_id, o.field) not in helped
    })  # fmt: skip
    for start in range(0, len(lost), IDS_AT_ONCE):
        ids = " ".join(map(str, lost[start : start + IDS_AT_ONCE]))
        commands.append(f"tdsys examples move {ids} --to retire --reason 'does not fit'")
    return commands


def _is_part(change: Conversion, of: Conversion) -> bool:
    return (
        change.rename.items() <= of.rename.items()
        and change.defaults.items() <= of.defaults.items()
        and change.write_out <= of.write_out
    )


def _show_checked(domain: str, found: Checked) -> None:
    sizes = ", ".join(f"{n} {split}" for split, n in found.sizes.items())
    say(f"{domain}: {sizes}; {found.unfit} examples do not fit")
    _show_some(
        ("example", "field", "why", "what would mend it"),
        [
            (str(o.example_id), o.field, o.reason, "; or ".join(way.says for way in o.recovery))
            for o in found.misfits
        ],
    )
    for one in (*found.missing, *found.blockers):
        say(f"in the way: {one}")
    show_table(
        ("budget", "trials", "calls at most", "tokens, about", "cost, about", "time, about"),
        [
            (
                auto,
                str(one.plan.trials),
                f"{one.plan.calls_at_most:,}",
                f"{one.tokens:,}",
                "see TDSYS_MODELS" if one.dollars is None else f"${one.dollars:,.2f}",
                "no run yet" if one.seconds is None else f"{one.seconds / 60:,.1f} min",
            )
            for auto, one in found.estimates.items()
        ],
    )


def _counted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same, telling every two seconds how much was written."""
    written, told = 0, time.monotonic()
    for piece in pieces:
        yield piece
        written += len(piece)
        if time.monotonic() - told > TELL_EVERY:
            note(f"{written / 1e6:,.1f} MB written")
            told = time.monotonic()


def _drafted(known: drafting.Known, drafted: drafting.Drafted) -> dict[str, Any]:
    draft: Draft = drafted.draft
    return {
        "fingerprint": draft.fingerprint,
        "major": draft.major is not None,
        "because": drafting.because(known, draft),
        "counts": draft.sizes,
        "left": [_tombstone(one) for one in draft.removed],
        "waiting": draft.waiting,
        "unfit": drafted.left_out,
        "missing": drafting.shortcomings(drafted, known),
    }


def _version(one: DatasetVersion) -> dict[str, Any]:
    told: dict[str, Any] = one.model_dump(mode="json")
    return {**told, "name": one.name, "size": one.size}


def _in_force(found: Iterable[DatasetVersion]) -> set[int]:
    """The version of each domain that its data was last: going back takes an older one again."""
    latest: dict[str, DatasetVersion] = {}
    for one in sorted(found, key=lambda one: (one.frozen_at, one.number)):
        latest[one.domain] = one
    return {one.id for one in latest.values()}


def _row(one: DatasetVersion, in_force: Container[int]) -> tuple[str, ...]:
    counts = (str(one.counts.get(split.value, 0)) for split in Split)
    frozen = f"{one.created_at:%Y-%m-%d %H:%M}"
    name = f"{one.name}, in force" if one.id in in_force else one.name
    return (str(one.id), one.domain, name, *counts, frozen, one.because)


def _tombstone(one: Tombstone) -> dict[str, Any]:
    return {**one._asdict(), "split": one.split.value, "reason": one.reason.value}


def _placed(found: Iterable[tuple[str, Placed]]) -> list[dict[str, object]]:
    return [{"uid": uid, **one._asdict()} for uid, one in found]


def _show_cells(members: Iterable[Member]) -> None:
    """A row for each topic and difficulty, with a bar as long as its train, val and test."""
    held = Counter((m.example.cell, m.split) for m in members)
    cells = sorted({cell for cell, _ in held})
    most = max((sum(held[cell, s] for s in Split) for cell in cells), default=1)
    whole = Counter(split for (_, split), n in held.items() for _ in range(n))
    rows = [
        (*cell, *(str(held[cell, s]) for s in Split), _bar([held[cell, s] for s in Split], most))
        for cell in cells
    ]
    total = ("all", "", *(str(whole[s]) for s in Split), "█ train  ▓ val  ░ test")
    show_table(("topic", "difficulty", *(s.value for s in Split), ""), [*rows, total])


def _bar(counts: list[int], most: int) -> str:
    """The three splits one after the other; whatever there is of one shows."""
    widths = [-(-n * WIDEST // most) for n in counts]
    return "".join(sign * width for sign, width in zip("█▓░", widths, strict=True))


def _show_tombstones(left: list[Tombstone]) -> None:
    if left:
        say(f"{len(left)} left:")
        _show_some(
            ("example", "was in", "why"),
            [(str(o.example_id), o.split.value, f"{o.reason.value}: {o.detail}") for o in left],
        )


def _show_some(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        show_table(titles, rows[:SHOWN])
    if len(rows) > SHOWN:
        say(f"and {len(rows) - SHOWN} more; --json lists all")
