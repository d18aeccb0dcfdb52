"""`tdsys broker` and `tdsys quarantine`: who may write to the queues, and what did not belong."""

from __future__ import annotations

import json
import re

import click
from redis.exceptions import RedisError

from tdsys import broker as broker_module
from tdsys import quarantine as kept_aside
from tdsys import runtime
from tdsys.cli.arguments import as_json
from tdsys.cli.printing import note, say, show_table
from tdsys.errors import InvalidInput, NotReady
from tdsys.quarantine import Kept
from tdsys.stages import monitoring
from tdsys.store.examples import Refused

TITLES = ("number", "at", "queue", "bytes", "reason")
REFUSED_TITLES = ("at", "batch", "record", "why", "begins")
RAW_SHOWN = 60
USER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
PASSWORD = "PASSWORD"  # noqa: S105  # a placeholder


@click.group()
def broker() -> None:
    """The broker's users."""


@broker.command()
@click.option("--user", default="producer", show_default=True, help="Name of the producer's user.")
def acl(user: str) -> None:
    """Print the command that makes a user for capture clients, and for nothing else."""
    if not USER.fullmatch(user):
        raise InvalidInput(f"--user {user!r} is no name", remedy="use letters, digits and -_.")
    say(broker_module.producer_acl(user, PASSWORD))
    note(f"put a password in the place of {PASSWORD} and run it as an administrator of the broker")


@click.group()
def quarantine() -> None:
    """Messages that were not let in."""


@quarantine.command("list")
@click.option("--limit", type=click.IntRange(1, kept_aside.KEPT), default=50, show_default=True)
@as_json
def list_(limit: int, *, as_json: bool) -> None:
    """Show the newest messages in quarantine."""
    found = _listed(limit)
    if as_json:
        say(json.dumps([_as_data(one) for one in found]))
    elif found:
        show_table(TITLES, (_row(one) for one in found))
    else:
        say("nothing is in quarantine")
    if len(found) == limit:
        note(f"these are {limit}; --limit shows more")


@quarantine.command()
@click.argument("number", type=click.IntRange(1))
@as_json
def show(number: int, *, as_json: bool) -> None:
    """Show one message: why it is there, and how it begins."""
    found = next((one for one in _listed(kept_aside.KEPT) if one.number == number), None)
    if found is None:
        raise InvalidInput(
            f"no message {number} is in quarantine", remedy="tdsys quarantine list shows them"
        )
    if as_json:
        say(json.dumps(_as_data(found)))
        return
    for title, value in zip(TITLES, _row(found), strict=True):
        say(f"{title:8}{value}")
    say(f"{'sha256':8}{found.sha256}")
    say(f"{'begins':8}{_text(found)}")


@quarantine.command()
@click.option("--yes", is_flag=True, help="Do it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def clear(*, yes: bool, dry_run: bool) -> None:
    """Forget the messages in quarantine."""
    if yes == dry_run:
        raise InvalidInput("say whether to do it", remedy="use --yes, or --dry-run to see what")
    client = runtime.current().broker
    try:
        number = kept_aside.count(client) if dry_run else kept_aside.clear(client)
    except RedisError as away:
        raise _away(away) from None
    say(f"{number} messages {'would be ' if dry_run else ''}forgotten")


@quarantine.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@as_json
def captures(limit: int, *, as_json: bool) -> None:
    """Show the newest captured records that were not stored, and why."""
    found = monitoring.refused(runtime.current().store, limit=limit)
    if as_json:
        say(json.dumps([one._asdict() for one in found], default=str))
    elif found:
        show_table(REFUSED_TITLES, (_refusal(one) for one in found))
    else:
        say("no captured record was refused")
    if len(found) == limit:
        note(f"these are {limit}; --limit shows more")


def _refusal(one: Refused) -> tuple[str, ...]:
    place = f"{one.position}, {one.path}" if one.path else str(one.position)
    at = one.at.isoformat(timespec="seconds")
    return (at, one.batch_id, place, f"{one.code}: {one.message}", one.raw[:RAW_SHOWN])


def _listed(limit: int) -> list[Kept]:
    try:
        return kept_aside.listed(runtime.current().broker, limit=limit)
    except RedisError as away:
        raise _away(away) from None


def _away(error: RedisError) -> NotReady:
    return NotReady(
        f"the broker does not answer ({type(error).__name__})", remedy="start it, then try again"
    )


def _row(one: Kept) -> tuple[str, ...]:
    return (str(one.number), one.at, one.queue, str(one.size), one.reason)


def _text(one: Kept) -> str:
    return one.head.decode(errors="backslashreplace")


def _as_data(one: Kept) -> dict[str, object]:
    return {**one._asdict(), "head": _text(one)}
