"""`tdsys verify`: whether the database is what it must always be."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json
from tdsys.cli.printing import say, show_table
from tdsys.stages import auditing
from tdsys.stages.auditing import Reconciled
from tdsys.store.invariants import Finding


@click.command()
@click.option(
    "--ledger",
    "ledgers",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of capture ids a generator was given, one a line: are they all here, once?",
)
@as_json
def verify(ledgers: tuple[Path, ...], *, as_json: bool) -> None:
    """Check every invariant of the database; reads only."""
    here = runtime.current()
    findings = auditing.audit(here.store, lease=here.lease, now=here.now())
    accepted = chain.from_iterable(map(auditing.ledger, ledgers))
    found = auditing.reconcile(here.store, accepted) if ledgers else None
    if as_json:
        say(json.dumps(_document(findings, found)))
    else:
        _show(findings, found)
    if not all(one.holds for one in findings) or (found and not found.holds):
        raise SystemExit(1)


def _document(findings: list[Finding], found: Reconciled | None) -> dict[str, object]:
    return {
        "invariants": [one._asdict() for one in findings],
        "ledger": found and {**found._asdict(), **_ids(found)},
    }


def _ids(found: Reconciled) -> dict[str, list[str]]:
    return {
        name: [str(one) for one in ids]
        for name, ids in found._asdict().items()
        if name.endswith("_ids")
    }


def _show(findings: list[Finding], found: Reconciled | None) -> None:
    show_table(("invariant", "broken", "what should hold, and what breaks it"), map(_row, findings))
    broken = [one for one in findings if not one.holds]
    for one in broken:
        if one.remedy:
            say(f"{one.name}: {one.remedy}")
    say(f"{len(findings) - len(broken)} of {len(findings)} invariants hold")
    if found:
        say(
            f"ledger: {found.accepted} accepted, {found.refused} refused with a reason, "
            f"{found.lost} lost, {found.doubled} doubled"
        )
        for name, ids in _ids(found).items():
            if ids:
                say(f"  {name.removesuffix('_ids')}: {', '.join(ids)}")


def _row(one: Finding) -> tuple[str, str, str]:
    if one.holds:
        return one.name, "", one.says
    more = ", ..." if one.broken > len(one.samples) else ""
    return one.name, str(one.broken), f"{one.says}: {', '.join(one.samples)}{more}"
