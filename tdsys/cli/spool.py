"""`tdsys spool`: what capture clients left on this machine, and what they tell of themselves."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from redis.exceptions import RedisError

from tdsys import runtime
from tdsys.cli.arguments import as_json
from tdsys.cli.following import progress
from tdsys.cli.printing import note, say, show_table
from tdsys.client import recovery
from tdsys.client.recovery import Left
from tdsys.client.shipping import REMEDIES
from tdsys.errors import NotReady, TdsysError

PATIENCE_SECONDS = 60.0
A_SPOOL = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def spool() -> None:
    """Captures that wait on this machine."""


@spool.command("list")
@click.argument("folder", type=A_SPOOL)
@as_json
def list_(folder: Path, *, as_json: bool) -> None:
    """Show the writers' folders in FOLDER: whose process lives, and what waits in them."""
    found = recovery.left_in(str(folder))
    if as_json:
        say(json.dumps([one._asdict() for one in found]))
    elif found:
        show_table(("folder", "process", "records", "bytes", "oldest"), map(_row, found))
    else:
        say(f"nothing waits in {folder}")


@spool.command()
@click.argument("folder", type=A_SPOOL)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=PATIENCE_SECONDS,
    show_default=True,
    help="Seconds without an acknowledgement after which to stop.",
)
@as_json
def ship(folder: Path, *, patience: float, as_json: bool) -> None:
    """Ship what dead processes left in FOLDER; ends when a worker has committed all of it."""
    found = recovery.left_in(str(folder))
    dead, living = [o for o in found if not o.alive], [o for o in found if o.alive]
    if living and not dead:
        raise NotReady(
            f"the process that captures into {living[0].path} lives",
            remedy="it ships its captures itself; to ship them here, end it first",
        )
    committed, dropped = _ship(dead, patience)
    waiting = sum(one.records for one in recovery.left_in(str(folder)) if not one.alive)
    if as_json:
        counts = {"committed": committed, "dropped": dropped.total(), "waiting": waiting}
        say(json.dumps({**counts, "living": len(living)}))
    else:
        say(f"{committed} records of {len(dead)} dead processes are committed")
    for reason, count in dropped.items():
        why = f", {REMEDIES[reason]}" if reason in REMEDIES else ""
        note(f"{count} are not: {reason}{why}")
    for one in living:
        note(f"{one.path} is left alone: its process lives")
    if waiting:
        raise NotReady(
            f"{waiting} records wait: for {patience:g} s no worker has acknowledged any",
            remedy="start the workers and ship again; nothing is lost",
        )


@spool.command()
@as_json
def producers(*, as_json: bool) -> None:
    """Show what the capture clients of the last day have told of themselves."""
    with _broker_errors():
        found = recovery.producers(runtime.current().broker)
    if as_json:
        say(json.dumps(found))
    elif found:
        titles = ("host", "pid", "told", "committed", "pending", "recovered", "dropped", "skipped")
        show_table(titles, map(_report, found))
    else:
        say("no capture client has told anything within a day")


def _ship(dead: list[Left], patience: float) -> tuple[int, Counter[str]]:
    """How many records are committed, and by reason how many never will be."""
    committed, dropped = 0, Counter[str]()
    with _broker_errors(), progress() as bars:
        for one in dead:
            shown = bars.add_task(Path(one.path).name, total=one.records)

            def tell(done: int, shown: Any = shown) -> None:
                bars.update(shown, completed=done)

            broker = runtime.current().broker
            stored, not_stored = recovery.ship(one, broker, patience=patience, tell=tell)
            committed += stored
            dropped.update(not_stored)
    return committed, dropped


@contextmanager
def _broker_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as failed:
        raise TdsysError(
            f"the broker cannot be used ({type(failed).__name__})",
            remedy="start it, or mend TDSYS_REDIS_URL; nothing is lost",
        ) from failed


def _row(one: Left) -> tuple[str, ...]:
    state = "alive" if one.alive else "dead"
    return one.path, state, str(one.records), str(one.bytes), one.oldest


def _report(told: dict[str, Any]) -> tuple[str, ...]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(told["at"]))
    counts = (str(told[name]) for name in ("committed", "pending", "recovered"))
    reasons = (
        ", ".join(f"{reason} {n}" for reason, n in told[name].items())
        for name in ("dropped", "skipped")
    )
    return told["host"], str(told["pid"]), at, *counts, *reasons
