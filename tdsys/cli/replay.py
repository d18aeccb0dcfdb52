"""`tdsys replay`: what the policy in force makes of what was decided before it."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, person
from tdsys.cli.following import progress
from tdsys.cli.printing import say, show_table
from tdsys.errors import InvalidInput
from tdsys.stages import replaying
from tdsys.stages.replaying import Replayed
from tdsys.store import replays


@click.command()
@for_domain
@click.option("--dry-run", is_flag=True, help="Say what would change, change nothing.")
@click.option("--yes", is_flag=True, help="Do it.")
@as_json
def replay(domain: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Decide a domain's examples anew by the policy in force, with the scores they have.

    No model is asked. What a person decided stays; so does what has no score.
    """
    if dry_run is yes:
        raise InvalidInput("say whether to do it", remedy="use --yes, or --dry-run to see what")
    here = runtime.current()
    with here.store.begin() as tx:
        total = replays.decided(tx, domain=domain)
    with progress() as bars:
        bar = bars.add_task("decided anew", total=total)
        found = replaying.replay(
            here.store,
            domain=domain,
            actor=person(),
            clock=here.now,
            dry_run=dry_run,
            tell=lambda count: bars.advance(bar, count),
        )
    if as_json:
        say(json.dumps(_told(domain, found, applied=yes)))
        return
    if found.moved:
        rows = [(str(count), before, now, reason) for (before, now, reason), count in _most(found)]
        show_table(("examples", "from", "to", "reason"), rows)
    would = "" if yes else "would "
    say(
        f"{domain}, policy version {found.policy_version}: of {found.considered} that a score "
        f"decided, {sum(found.moved.values())} {would}move and {found.rated} {would}get another "
        f"quality; {found.by_people} stay as people, or no score, left them"
    )


def _most(found: Replayed) -> list[tuple[tuple[str, str, str], int]]:
    """The moves, the commonest first."""
    rows = [((a.value, b.value, reason), count) for (a, b, reason), count in found.moved.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _told(domain: str, found: Replayed, *, applied: bool) -> dict[str, object]:
    return {
        "domain": domain,
        "policy_version": found.policy_version,
        "applied": applied,
        "considered": found.considered,
        "by_people": found.by_people,
        "rated": found.rated,
        "moved": [
            {"from": before, "to": now, "reason": reason, "count": count}
            for (before, now, reason), count in _most(found)
        ],
    }
