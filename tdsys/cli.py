"""The command line: parses arguments, calls a stage or the stack, prints."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table

from tdsys import __version__, runtime
from tdsys.core.conversion import ImportOptions
from tdsys.errors import InvalidInput, NotReady
from tdsys.stages import datasets, importing, optimizing
from tdsys.stages.optimizing import DomainStatus
from tdsys.store.imports import Import
from tdsys.wire import Task

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
for_domain = click.option("--domain", required=True, help="The subject area.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Make, prove, judge and keep the training examples a DSPy program needs."""


@cli.command()
@click.option("--detach", is_flag=True, help="Return when everything runs.")
@click.option("--no-flower", is_flag=True, help="Without the task monitor.")
@as_json
def up(*, detach: bool, no_flower: bool, as_json: bool) -> None:
    """Start the servers, the workers, beat and Flower."""
    from tdsys.embedded import terminal  # noqa: PLC0415  # only `up` needs the wheels

    runtime.current().check_settings()
    terminal.up(
        runtime.current().settings.home, detach=detach, as_json=as_json, with_flower=not no_flower
    )


@cli.command()
def down() -> None:
    """Stop what `up` started; nothing is lost."""
    from tdsys.embedded import terminal  # noqa: PLC0415

    terminal.down(runtime.current().settings.home)


@cli.command()
@as_json
def status(*, as_json: bool) -> None:
    """Show the processes and their addresses."""
    from tdsys.embedded import terminal  # noqa: PLC0415

    terminal.status(runtime.current().settings.home, as_json=as_json)


@cli.group()
def db() -> None:
    """The database schema."""


@db.command()
def upgrade() -> None:
    """Bring the database schema to this program's version."""
    runtime.current().store.upgrade()
    click.echo("the database schema is up to date")


@cli.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@for_domain
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="THEIRS=OURS",
    help="Their field name = ours (problem, solution, answer, topic, ...).",
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
    here = runtime.current()
    options = ImportOptions(mapping=pairs(mapping, "--map"), constants=pairs(constants, "--set"))
    import_id, created = importing.receive(
        here.store, path=file, domain=domain, options=options, now=here.now()
    )
    here.ring(Task.PARSE)
    if created:
        click.echo(f"domain {domain} is new and has the default policy", err=True)
    if detach:
        click.echo(
            json.dumps({"import": str(import_id)})
            if as_json
            else f"import {import_id} is uploaded and waits for a worker"
        )
        return
    _show_import(_await_import(import_id), as_json=as_json)


@cli.group()
def optimize() -> None:
    """Optimization runs."""


@optimize.command("status")
@click.option("--domain", help="Only this subject area.")
@as_json
def optimize_status(domain: str | None, *, as_json: bool) -> None:
    """Show each domain: its runs, or why there is none yet."""
    here = runtime.current()
    found = optimizing.status(here.store, domain=domain, clock=here.now)
    if as_json:
        click.echo(json.dumps([_status_document(one) for one in found], indent=1))
        return
    table = Table("domain", "run", "trials", "before", "after", "why")
    for one in found:
        table.add_row(*_status_row(one))
    Console().print(table)


@cli.group()
def program() -> None:
    """Compiled programs."""


@program.command("export")
@for_domain
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
def program_export(domain: str, out: Path) -> None:
    """Write the active program as JSON that plain dspy loads."""
    found = datasets.program(runtime.current().store, domain=domain)
    out.write_text(json.dumps(found.state, indent=1, ensure_ascii=False) + "\n")
    beside = out.with_suffix(".envelope.json")
    beside.write_text(json.dumps(found.envelope, indent=1, ensure_ascii=False) + "\n")
    click.echo(f"wrote {out} and, with its provenance, {beside}")


@cli.group()
def dataset() -> None:
    """Dataset versions."""


@dataset.command("export")
@for_domain
@click.option("--format", "format_", type=click.Choice(datasets.FORMATS), default="jsonl")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file; standard output without it.",
)
def dataset_export(domain: str, format_: str, out: Path | None) -> None:
    """Write the newest dataset version."""
    lines = datasets.export(runtime.current().store, domain=domain, format_=format_)
    target: TextIO = out.open("w") if out else sys.stdout
    with target:
        target.writelines(lines)


@cli.command()
@click.option("--lm", help="A model such as openai/MODEL; the offline model without it.")
@click.option("--keep", is_flag=True, help="Leave the data in TDSYS_HOME for `tdsys up`.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write what is printed as an SVG picture.",
)
@as_json
def demo(*, lm: str | None, keep: bool, picture: Path | None, as_json: bool) -> None:
    """Run the whole loop on 300 generated and 200 imported problems."""
    from tdsys import demo as story  # noqa: PLC0415  # pulls the whole stack in

    story.run(lm=lm, keep=keep, picture=picture, as_json=as_json)


def pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    """`("a=b", ...)` as a mapping; InvalidInput names the one that is none."""
    found = {}
    for text in given:
        left, equals, right = text.partition("=")
        if not (equals and left and right):
            raise InvalidInput(
                f"{option} {text!r} is not NAME=VALUE",
                remedy=f"write for example {option} question=problem",
            )
        found[left] = right
    return found


def _status_document(one: DomainStatus) -> dict[str, object]:
    run, kept = one.run, one.program
    return {
        "domain": one.domain,
        "because": one.because,
        "run": run
        and {
            "id": str(run.id),
            "state": run.state,
            "reason": run.reason,
            "progress": run.progress,
            "attempts": run.attempts,
            "model": run.model,
            "planned_calls": run.plan.calls_at_most,
        },
        "program": kept
        and {
            **kept.comparison.model_dump(),
            "stale": kept.stale,
            "simulated": kept.envelope["simulated"],
        },
    }


def _status_row(one: DomainStatus) -> tuple[str, ...]:
    run, kept = one.run, one.program
    trials = f"{run.progress.get('trials', 0)} of {run.plan.trials + 1}" if run else ""
    scores = (f"{kept.comparison.before:.3f}", f"{kept.comparison.after:.3f}") if kept else ("", "")
    why = run.reason if run and run.reason else "; ".join(one.because)
    return (one.domain, run.state if run else "none", trials, *scores, why)


def _await_import(import_id: Any) -> Import:
    """Follow an import until it ends, with a line of progress on a terminal."""
    here = runtime.current()
    console = Console(stderr=True)
    with console.status("waiting for a worker") as shown:
        while True:
            found = importing.status(here.store, import_id=import_id)
            if found.state in {"finished", "failed"}:
                return found
            shown.update(
                f"{found.filename}: {found.read} records read, {found.new} new, "
                f"{found.rejected} rejected"
            )
            time.sleep(0.1)


def _show_import(done: Import, *, as_json: bool) -> None:
    numbers = {
        "read": done.read,
        "new": done.new,
        "duplicate": done.duplicate,
        "rejected": done.rejected,
    }
    if as_json:
        click.echo(json.dumps({"import": str(done.id), "state": done.state, **numbers}))
    else:
        click.echo(f"{done.filename}: " + ", ".join(f"{n} {name}" for name, n in numbers.items()))
    for bad in importing.rejects(runtime.current().store, import_id=done.id, limit=20):
        where = f"line {bad.line}" + (f", field {bad.field}" if bad.field else "")
        click.echo(f"  {where}: {bad.message} ({bad.code}) — {bad.remedy}", err=True)
    if done.state == "failed":
        raise NotReady(f"the import failed: {done.reason}")
    if done.read and done.rejected == done.read:
        raise SystemExit(1)
    if done.rejected:
        raise SystemExit(4)
