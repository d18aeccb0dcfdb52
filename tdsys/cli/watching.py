"""`tdsys optimize watch` and `extensions`: follow a run, and see what is installed for one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from uuid import UUID

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, of_domain
from tdsys.cli.printing import note, say, show_table
from tdsys.core.following import Progress
from tdsys.core.patience import Patience
from tdsys.core.printable import printable
from tdsys.core.program import Trial
from tdsys.stages import following
from tdsys.stages.following import Followed
from tdsys.wire import Task

LOOK_EVERY = 1.0
PATIENCE_SECONDS = 30.0
TRIALS_SHOWN = 12
NO_WORKER = "nothing moves: no worker seems to be running; start one with `tdsys up`"
Tell = Callable[[Followed], None]


@click.command()
@for_domain
@click.option("--run", "run_id", type=click.UUID, help="Another run than the newest.")
@as_json
def watch(domain: str, run_id: UUID | None, *, as_json: bool) -> None:
    """Follow a run to its end; exit code 0: finished, 1: failed or cancelled."""
    ended = follow(domain, run_id, as_json=as_json)
    if not as_json:
        say(f"run {ended.run.id} is {ended.run.state}: {ended.run.reason or ''}")
    raise SystemExit(0 if ended.run.state == "finished" else 1)


def follow(domain: str, run_id: UUID | None, *, as_json: bool) -> Followed:
    """Show the run each second until it ends: a live table, or a line for all that is new."""
    here, standstill = runtime.current(), Patience(PATIENCE_SECONDS)
    console = Console(stderr=True)
    is_live = console.is_terminal and not as_json
    known: list[Trial] = []
    screen: AbstractContextManager[Live | None] = (
        Live(console=console, transient=True, auto_refresh=False) if is_live else nullcontext()
    )
    with screen as live:
        told: object = None
        while True:
            found = following.look(here.store, domain=domain, run_id=run_id, after=len(known))
            run_id = found.run.id
            known = [*known[: found.after], *found.trials]
            if live is not None:
                live.update(_screen(found, known), refresh=True)
            elif (mark := _mark(found)) != told:
                told = mark
                say(json.dumps(_document(found)) if as_json else _line(found))
            if not found.run.is_open:
                return found
            if standstill.is_out(_mark(found), now=time.monotonic()):
                note(NO_WORKER)
                here.bells.ring(Task.OPTIMIZE)
            time.sleep(LOOK_EVERY)


@click.command()
@of_domain
@as_json
def extensions(domain: str | None, *, as_json: bool) -> None:
    """Show the installed programs and metrics, and what keeps each from being used."""
    from tdsys.llm import extensions as installed  # noqa: PLC0415  # dspy takes seconds to import

    here = runtime.current()
    fields = following.signature(here.store, domain=domain) if domain else None
    found = installed.survey(fields)
    if as_json:
        say(json.dumps([one._asdict() for one in found]))
    else:
        show_table(("kind", "name", "what stands in the way"), map(_kind, found))


def _kind(one: tuple[str, str, str]) -> tuple[str, ...]:
    kind, name, why = one
    return kind, name, why or "nothing"


def _mark(found: Followed) -> object:
    told = found.run.progress
    return (
        found.run.state,
        found.run.cancel_requested,
        *(told.get(name) for name in ("phase", "trials", "calls")),
    )


def _document(found: Followed) -> dict[str, object]:
    """One line for a machine: where the run is, and the trials that are new."""
    run = found.run
    return {
        "run": str(run.id),
        "domain": run.domain,
        "state": run.state,
        "reason": run.reason,
        "optimizer": run.plan.method,
        "because": run.plan.because,
        "simulated": found.simulated,
        "progress": Progress.read(run.progress).document(),
        "trials": [
            {"number": t.number, "kind": t.kind, "score": t.score, "items": len(t.items),
             "failed": sum(i.value is None for i in t.items), "seconds": round(t.seconds, 3)}
            for t in found.trials
        ],
        "outcome": run.outcome,
    }  # fmt: skip


def _line(found: Followed) -> str:
    parts = [f"{found.run.state}, {_phase(found)}", *_figures(found)]
    return "; ".join(parts)


def _phase(found: Followed) -> str:
    if found.run.cancel_requested and found.run.is_open:
        return "asked to stop"
    return Progress.read(found.run.progress).phase or "waiting for a worker"


def _figures(found: Followed) -> list[str]:
    """What there is to say in numbers; full and minibatch scores apart."""
    known, sim = Progress.read(found.run.progress), " (simulated)" if found.simulated else ""
    most = "at most " if found.run.plan.method == "gepa" else ""
    says = [f"{known.trials} of {most}{known.planned} trials"]
    if known.best is not None:
        says.append(f"best on all of val {known.best:.3f} in trial {known.best_trial}{sim}")
    if known.best_minibatch is not None:
        says.append(f"best on a minibatch {known.best_minibatch:.3f}{sim}")
    says.append(f"{known.calls} of at most {known.calls_at_most} calls, {known.paid} paid")
    cost = "" if known.cost is None else f", {known.cost:.4f} US$"
    says.append(f"{known.tokens:,} tokens{cost}")
    if known.failed:
        says.append(f"{known.failed} evaluations without a score")
    if known.left_seconds is not None and found.run.is_open:
        says.append(f"at most {known.left_seconds:.0f} s left")
    return says


def _screen(found: Followed, known: list[Trial]) -> Group:
    table = Table(
        *(Column(header=Text(t)) for t in ("trial", "all of val", "minibatch", "without"))
    )
    for trial in known[-TRIALS_SHOWN:]:
        score = f"{trial.score:.3f}"
        sides = (score, "") if trial.kind == "full" else ("", score)
        failed = sum(item.value is None for item in trial.items)
        table.add_row(*(Text(cell) for cell in (str(trial.number), *sides, str(failed or ""))))
    run = found.run
    head = f"{run.domain}: {run.plan.method} ({run.plan.because or 'as planned'}), {_phase(found)}"
    says = [Text(printable(line)) for line in (head, *_figures(found))]
    return Group(*says, table)
