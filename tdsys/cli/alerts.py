"""`tdsys alerts`: what is amiss, and who looks after it."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain, person
from tdsys.cli.printing import say, show_records, show_table
from tdsys.stages import alerting, notifying
from tdsys.store.alerts import Alert

ID = click.IntRange(1, 2**63 - 1)
TITLES = ("id", "severity", "state", "since", "seen", "what", "what to do", "looked after by")
SILENCES = ("id", "rule", "domain", "until", "why", "by")
DELIVERIES = ("id", "channel", "news", "state", "tried", "error", "again at")


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
        show_records(TITLES, map(_row, found), head=5)
    else:
        say("nothing is amiss" if not all_ else "nothing was ever amiss")


@alerts.command()
@click.argument("alert_id", type=ID, metavar="ID")
def ack(alert_id: int) -> None:
    """Say that you look after an alert."""
    here, who = runtime.current(), person()
    alerting.acknowledge(here.store, alert_id=alert_id, actor=who, now=here.now())
    say(f"alert {alert_id}: {who} looks after it")


@alerts.command()
@click.argument("alert_id", type=ID, metavar="ID")
def resolve(alert_id: int) -> None:
    """Say that an alert is over. If what its rule looks at is still so, another one fires."""
    here = runtime.current()
    notifying.resolve(here.store, alert_id=alert_id, now=here.now())
    say(f"alert {alert_id} is over")


@alerts.command()
@click.option("--rule", help="Only this rule.")
@of_domain
@click.option("--hours", type=float, required=True, help="How long nobody is told.")
@click.option("--reason", required=True, help="Why; shown to whoever looks.")
def silence(rule: str | None, domain: str | None, hours: float, reason: str) -> None:
    """Tell nobody for a time. Alerts still fire and are listed.

    What still fires when the silence ends is told then.
    """
    here = runtime.current()
    made = notifying.silence(
        here.store,
        rule=rule,
        domain=domain,
        reason=reason,
        actor=person(),
        hours=hours,
        now=here.now(),
    )
    say(f"silence {made}: nobody is told of {rule or 'any rule'} in {domain or 'any domain'}")


@alerts.command()
@as_json
def silences(*, as_json: bool) -> None:
    """Show what nobody is told at present."""
    here = runtime.current()
    found = notifying.silences(here.store, now=here.now())
    if as_json:
        say(json.dumps([one.model_dump(mode="json") for one in found]))
    elif found:
        show_table(SILENCES, [
            (str(one.id), one.rule or "any", one.domain or "any", f"{one.until:%Y-%m-%d %H:%M}",
             one.reason, one.actor) for one in found
        ])  # fmt: skip
    else:
        say("nothing is silenced")


@alerts.command()
@click.argument("silence_id", type=ID, metavar="ID")
def speak(silence_id: int) -> None:
    """End a silence now."""
    here = runtime.current()
    notifying.speak(here.store, silence_id=silence_id, now=here.now())
    say(f"silence {silence_id} is over")


@alerts.command()
@click.option("--all", "all_", is_flag=True, help="What was sent, too.")
@as_json
def deliveries(*, all_: bool, as_json: bool) -> None:
    """Show what was not told yet, or was given up, and why."""
    found = notifying.deliveries(runtime.current().store, all_=all_)
    if as_json:
        say(json.dumps([one.model_dump(mode="json") for one in found]))
    elif found:
        show_table(DELIVERIES, [
            (str(one.id), one.channel, f"{one.news}: {one.title}", one.state,
             f"{one.attempts}×", one.error or "",
             f"{one.due_at:%Y-%m-%d %H:%M}" if one.due_at else "") for one in found
        ])  # fmt: skip
    else:
        say("everything was told")


@alerts.command()
@as_json
def test(*, as_json: bool) -> None:
    """Send each channel a notice that says it is a test."""
    here = runtime.current()
    found = notifying.attempt(here.channels, page=here.alerts_page, now=here.now())
    if as_json:
        say(json.dumps(found))
    else:
        for name, error in found.items():
            say(f"{name}: {error or 'sent'}")
    if any(found.values()):
        raise SystemExit(1)


def _row(one: Alert) -> tuple[str, ...]:
    what = f"{one.title}: {one.detail}" if one.detail else one.title
    since = f"{one.first_seen_at:%Y-%m-%d %H:%M}"
    rest = (f"{one.count}×", what, one.remedy, one.acknowledged_by or "")
    return str(one.id), one.severity, one.state, since, *rest
