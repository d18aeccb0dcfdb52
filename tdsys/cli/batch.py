"""`tdsys batch`: batches of new examples, followed, stopped and gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from shlex import quote
from typing import Any, TypeVar
from uuid import UUID

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain
from tdsys.cli.following import leaving, progress
from tdsys.cli.printing import note, say, show_table
from tdsys.core.batch import IMPORT, RESUME, REVIEW, BatchState, Standing
from tdsys.core.patience import Patience
from tdsys.core.printable import printable
from tdsys.core.rubric import Outcome
from tdsys.core.spending import MICROS, dollars
from tdsys.stages import filling
from tdsys.stages.filling import CellReport, Report
from tdsys.store.batches import Batch
from tdsys.wire import Task

Command = TypeVar("Command", bound=Callable[..., Any])
LOOK_EVERY = 0.4
PATIENCE_SECONDS = 15.0
PARTIAL, NONE = 4, 1
NO_WORKER = (
    "nothing happens: no worker seems to be running; start one with `tdsys up` "
    "(the batch is stored, Ctrl-C here loses nothing)"
)
TITLES = ("batch", "domain", "kind", "state", "wanted", "calls", "asked for at", "by")
CELLS = ("topic", "difficulty", "strategy", "wanted", "made", "admitted", "waiting", "why not more")
RESORTS = {
    IMPORT: "nothing is left but to import: tdsys import FILE --domain {domain}",
    REVIEW: "look at them: tdsys examples list --state in_review --domain {domain}",
    RESUME: "they are judged once it does, then go on: tdsys batch resume {batch}",
}


def _meant(_: click.Context, __: click.Parameter, prefix: str) -> UUID:
    """The beginning of an id is enough."""
    return filling.meant(runtime.current().store, prefix=prefix)


batch_id = click.argument("batch_id", callback=_meant, metavar="BATCH")
budget_options = (
    click.option(
        "--max-calls", type=click.IntRange(0), help="Ask the model no more often than this."
    ),
    click.option("--max-tokens", type=click.IntRange(0), help="Read and written, together."),
    click.option("--max-cost", type=click.FloatRange(0), help="In US dollars."),
    click.option(
        "--max-minutes", type=click.FloatRange(0, min_open=True), help="Begin nothing after that."
    ),
)


def _within_budget(command: Command) -> Command:
    for option in reversed(budget_options):
        command = option(command)
    return command


@click.group()
def batch() -> None:
    """Batches of new examples."""


@batch.command("list")
@of_domain
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@as_json
def list_(domain: str | None, limit: int, *, as_json: bool) -> None:
    """Show batches, the newest first."""
    found = filling.listed(runtime.current().store, domain=domain, limit=limit)
    if as_json:
        say(json.dumps(list(map(_listed, found))))
    else:
        show_table(TITLES, map(_row, found))


@batch.command()
@batch_id
@as_json
def show(batch_id: UUID, *, as_json: bool) -> None:
    """Show how far a batch is, cell by cell, and what went wrong."""
    tell(filling.report(runtime.current().store, batch_id=batch_id), as_json=as_json)


@batch.command()
@batch_id
@as_json
def watch(batch_id: UUID, *, as_json: bool) -> None:
    """Follow a batch to its end; exit code 0: all is there, 4: some, 1: nothing."""
    finish(batch_id, as_json=as_json)


@batch.command()
@batch_id
@as_json
def cancel(batch_id: UUID, *, as_json: bool) -> None:
    """Stop a batch; what was made stays."""
    here = runtime.current()
    filling.cancel(here.store, batch_id=batch_id, clock=here.now)
    if as_json:
        say(json.dumps(filling.ended(filling.report(here.store, batch_id=batch_id))))
    else:
        say(f"batch {batch_id} is cancelled")


@batch.command()
@batch_id
@_within_budget
@click.option("--detach", is_flag=True, help="Do not wait for the result.")
@as_json
def resume(batch_id: UUID, *, detach: bool, as_json: bool, **limits: Any) -> None:
    """Go on with an ended batch where it fell short."""
    here = runtime.current()
    more = filling.budget(**limits)
    again = filling.resume(here.store, batch_id=batch_id, more=more, clock=here.now)
    here.bells.ring(Task.SCORE)  # what no judge gave an answer on is asked about at once
    here.bells.ring(Task.GENERATE)
    note(f"{again} portions of batch {batch_id} are due again")
    if not detach:
        finish(batch_id, as_json=as_json)


def finish(batch_id: UUID, *, as_json: bool) -> None:
    """Follow a batch, print its result, and exit by it."""
    with leaving("batch", batch_id, group="batch"):
        report = follow(batch_id)
    tell(report, as_json=as_json)
    if report.batch.state is not BatchState.FINISHED:
        raise SystemExit(PARTIAL if report.whole.held else NONE)


def follow(batch_id: UUID) -> Report:
    """Wait until a batch ends, with progress, rate and spend on a terminal."""
    here, standstill, began = runtime.current(), Patience(PATIENCE_SECONDS), time.monotonic()
    with progress() as shown:
        task = shown.add_task("waiting for a worker", total=None)
        first: int | None = None
        while True:
            batch, whole = filling.progress(here.store, batch_id=batch_id)
            if batch.state is not BatchState.OPEN:
                return filling.report(here.store, batch_id=batch_id)
            done = whole.admitted + whole.waiting
            first = done if first is None else first
            rate = (done - first) / (time.monotonic() - began)
            shown.update(
                task,
                description=printable(_moving(batch, whole, rate)),
                completed=done,
                total=batch.wanted,
            )
            moved = (whole.tried, done, batch.spent)
            if standstill.is_out(moved, now=time.monotonic()):
                held_up = filling.held_up(here.store, batch_id=batch_id)
                note(f"nothing happens: {held_up}" if held_up else NO_WORKER)
                here.bells.ring(Task.GENERATE)
            time.sleep(LOOK_EVERY)


def _moving(batch: Batch, whole: Standing, rate: float) -> str:
    return (
        f"{whole.admitted} of {batch.wanted} admitted, {whole.undecided} being judged, "
        f"{whole.waiting} wait for a person, {rate:.1f}/s; {_spend(batch)}"
    )


def _spend(batch: Batch) -> str:
    """What was spent of what may be; a cost that nobody knows is said to be unknown."""
    parts = [
        f"{batch.spent} of at most {batch.max_calls} calls",
        f"{batch.tokens:,}{'' if batch.max_tokens is None else f' of {batch.max_tokens:,}'} tokens",
        f"cost {dollars(batch.cost)}"
        + ("" if batch.max_cost is None else f" of {dollars(batch.max_cost)}"),
    ]
    if batch.ends_at is not None:
        parts.append(f"nothing is begun after {batch.ends_at:%H:%M:%S} UTC")
    return ", ".join(parts)


def tell(report: Report, *, as_json: bool) -> None:
    """Print how far a batch is; whatever is missing with its reason and what to do."""
    batch, whole = report.batch, report.whole
    if as_json:
        say(json.dumps(filling.ended(report)))
        return
    say(
        f"batch {batch.id} of {batch.domain} is {batch.state}: {batch.wanted} wanted, "
        f"{whole.made} made, {whole.admitted} admitted, {whole.waiting} wait for a person; "
        f"{_spend(batch)}"
    )
    show_table(CELLS, map(_cell, report.cells))
    if report.solved_again:
        say(_solved_again(report.solved_again))
    if whole.reasons:
        say(f"not admitted: {', '.join(f'{n} × {why}' for why, n in whole.reasons.items())}")
    for why, detail in report.details.items():
        say(f"  the first {why}: {' '.join(detail.split())}")
    for one in report.fallbacks:
        following = RESORTS.get(one.next, "then {next}").format(
            next=one.next, domain=quote(batch.domain), batch=batch.id
        )
        say(f"{one.topic}, {one.difficulty}: {one.given_up} ended: {one.because}; {following}")
    say(f"{batch.domain}: {report.mixture.in_words()}")
    if whole.admitted:
        note(f"how varied they are: tdsys report diversity --domain {quote(batch.domain)} "
             f"--batch {str(batch.id)[:8]}")  # fmt: skip


def _solved_again(counts: Mapping[str, int]) -> str:
    confirmed = counts.get(Outcome.PASSED, 0)
    others = sum(counts.values()) - confirmed
    said = f"; no solution of {others} could be used, nobody confirmed them" if others else ""
    return f"solved again: {confirmed} confirmed{said}"


def _listed(one: Batch) -> dict[str, Any]:
    costs = {"cost": one.cost, "max_cost": one.max_cost}
    dollars_ = {name: None if n is None else n / MICROS for name, n in costs.items()}
    return {**one.model_dump(mode="json", exclude={"plan"}), **dollars_}


def _row(one: Batch) -> tuple[str, ...]:
    calls = f"{one.spent} of {one.max_calls}"
    at = f"{one.created_at:%Y-%m-%d %H:%M}"
    return str(one.id), one.domain, one.kind, one.state, str(one.wanted), calls, at, one.actor


def _cell(one: CellReport) -> tuple[str, ...]:
    counts: list[Any] = [one.wanted, one.made, one.admitted, one.waiting]
    return one.topic, one.difficulty, one.strategy, *map(str, counts), one.reason or ""
