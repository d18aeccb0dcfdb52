"""`tdsys judge`: who judges, and what their numbers are worth beside people's words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, person
from tdsys.cli.calibration import document, page_of, show
from tdsys.cli.following import progress
from tdsys.cli.page import to_page, write_page
from tdsys.cli.printing import note, say, show_table
from tdsys.cli.source import Source
from tdsys.core.calibration import LabelledExample
from tdsys.parsing.labelled import Elsewhere, Refusal, labelled
from tdsys.stages import calibrating, judges
from tdsys.stages.calibrating import MORE_LABELS, Wanted
from tdsys.store.judgements import Standing

PARTIAL = 4
MOST_TOLD = 20
TITLES = ("key", "model", "prompt", "answers", "unusable", "canaries", "admits")


@click.group()
def judge() -> None:
    """The judge: how it does on canaries, and beside people."""


@judge.command()
@as_json
def status(*, as_json: bool) -> None:
    """Every judge so far: what it answered, how it did on canaries, whether it may admit."""
    found = judges.standings(runtime.current().store)
    if as_json:
        say(json.dumps([one.model_dump(mode="json") for one in found]))
    elif found:
        show_table(TITLES, map(_row, found))
    else:
        say("nobody has judged anything yet")


@judge.command()
@click.argument("key")
def resume(key: str) -> None:
    """Let a judge admit again after a canary passed: KEY is as `tdsys judge status` shows it."""
    here = runtime.current()
    judges.resume(here.store, juror=key, by=person(), now=here.now())
    say(f"{key} admits again; what it did not admit meanwhile is in review")


def _row(one: Standing) -> tuple[str, ...]:
    seen = ", ".join(f"{n} {outcome}" for outcome, n in sorted(one.canaries.items()))
    admits = f"no: it let {one.canary} pass" if one.suspended_at else "yes"
    juror = one.juror
    return one.key, juror.model, juror.prompt, f"{one.answers}", f"{one.unusable}", seen, admits


@judge.command()
@for_domain
@click.option("--labelled", "file", metavar="FILE", help="JSON lines with inputs, outputs, label.")
@click.option(
    "--precision",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="The share of good ones wanted among the accepted.",
)
@to_page
@click.option("--dry-run", is_flag=True, help="Keep nothing; of a file, only check it.")
@as_json
def calibrate(
    domain: str,
    file: str | None,
    precision: float,
    path: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Calibrate the judge of a domain: by people's decisions, or by a labelled FILE (- is stdin).

    Fewer than 30 labels, or fewer than 5 good or 5 bad ones: exit code 3. Wrong lines of a file
    are told and left out: exit code 4.
    """
    here = runtime.current()
    wanted = Wanted(domain, precision, person())
    if file is None:
        found, policy = calibrating.by_reviews(here.store, wanted, clock=here.now, keep=not dry_run)
        refused = 0
    else:
        read, refused = _read(Source(file), domain)
        calibrating.enough([one.good for one in read], remedy=MORE_LABELS)
        if dry_run:
            _told_dry(read, refused, as_json=as_json)
            return
        found, policy = _by_file(wanted, read)
    if path:
        write_page(path, page_of(found, policy))
    if as_json:
        say(json.dumps({**document(found, policy), "refused": refused, "kept": not dry_run}))
    elif not path:
        show(found, policy)
    if refused:
        raise SystemExit(PARTIAL)


def _by_file(wanted: Wanted, read: Sequence[LabelledExample]) -> calibrating.Calibrated:
    here = runtime.current()
    with progress() as bars:
        bar = bars.add_task("judged", total=len(read))
        return calibrating.by_file(
            here.store,
            wanted,
            labelled=read,
            judge=here.judge,
            verifier=here.verifier,
            clock=here.now,
            tell=lambda count: bars.advance(bar, count),
        )


def _read(source: Source, domain: str) -> tuple[list[LabelledExample], int]:
    """The good lines, and how many were wrong; those are told."""
    found: list[LabelledExample] = []
    wrong: list[Refusal] = []
    elsewhere = 0
    for one in labelled(source.pieces(), domain=domain, filename=source.name):
        if isinstance(one, Refusal):
            wrong.append(one)
        elif isinstance(one, Elsewhere):
            elsewhere += 1
        else:
            found.append(one)
    for one in wrong[:MOST_TOLD]:
        field = f", field {one.field}" if one.field else ""
        note(f"  line {one.line}{field}: {one.message} — {one.remedy}")
    if len(wrong) > MOST_TOLD:
        note(f"  and {len(wrong) - MOST_TOLD:,} more")
    if elsewhere:
        note(f"  {elsewhere:,} lines about other domains were left alone")
    return found, len({one.line for one in wrong})


def _told_dry(read: Sequence[LabelledExample], refused: int, *, as_json: bool) -> None:
    good = sum(one.good for one in read)
    if as_json:
        told = {"labelled": len(read), "good": good, "refused": refused, "kept": False}
        say(json.dumps(told))
    else:
        say(f"{len(read)} labelled examples, {good} good; the judge would be asked about each")
    if refused:
        raise SystemExit(PARTIAL)
