"""`tdsys alerts`: what is amiss, and who looks after it."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain, person
from tdsys.cli.printing import say, show_table
from tdsys.stages import alerting
from tdsys.store.alerts import Alert

ID = click.IntRange(1, 2**63 - 1)
TITLES = ("id", "severity", "state", "since", "seen", "what", "what to do", "looked after by")


@click.group()
def alerts() -> None:
    """What is amiss."""


@alerts.command("list")
@click.option("--all", "all_", is_flag=True, help="What is over, too.")
@of_domain
@as_json
def list_(domain: str | None, *, all_: bool, as_json: bool) -> None:
    """Show what fires, the newest first."""
    found = alerting.listed(runtime.current().store, all_=all_, domain=domain)
    if as_json:
        say(json.dumps([one.model_dump(mode="json") for one in found]))
    elif found:
        show_table(TITLES, map(_row, found))
    else:
        say("nothing is amiss" if not all_ else "nothing was ever amiss")


@alerts.command()
@click.argument("alert_id", type=ID, metavar="ID")
def ack(alert_id: int) -> None:
    """Say that you look after an alert."""
    here, who = runtime.current(), person()
    alerting.acknowledge(here.store, alert_id=alert_id, actor=who, now=here.now())
    say(f"alert {alert_id}: {who} looks after it")


def _row(one: Alert) -> tuple[str, ...]:
    what = f"{one.title}: {one.detail}" if one.detail else one.title
    since = f"{one.first_seen_at:%Y-%m-%d %H:%M}"
    rest = (f"{one.count}×", what, one.remedy, one.acknowledged_by or "")
    return str(one.id), one.severity, one.state, since, *rest
