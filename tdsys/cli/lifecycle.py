"""`tdsys lifecycle`: what a policy retires without a person, shown before it is done."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain, person
from tdsys.cli.printing import say
from tdsys.errors import InvalidInput
from tdsys.stages import pruning
from tdsys.stages.pruning import Pruned
from tdsys.store import policies


@click.group()
def lifecycle() -> None:
    """What leaves the admitted examples."""


@lifecycle.command()
@of_domain
@click.option("--dry-run", is_flag=True, help="Say what would be retired, change nothing.")
@click.option("--yes", is_flag=True, help="Do it.")
@as_json
def prune(domain: str | None, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Retire what the policy in force says is too old or too much.

    A cell keeps its minimum, a domain its min_examples; a person's word goes last.
    """
    if dry_run is yes:
        raise InvalidInput("say whether to do it", remedy="use --yes, or --dry-run to see what")
    here = runtime.current()
    with here.store.begin() as tx:
        names = policies.domains(tx) if domain is None else [domain]
    found = [
        pruning.prune(here.store, domain=name, actor=person(), clock=here.now)
        if yes
        else pruning.foreseen(here.store, domain=name, clock=here.now)
        for name in names
    ]
    if as_json:
        say(json.dumps([{**one._asdict(), "applied": yes} for one in found]))
        return
    for one in found:
        say(_text(one, done=yes))


def _text(one: Pruned, *, done: bool) -> str:
    told = ", ".join(f"{n} {reason}" for reason, n in sorted(one.reasons.items())) or "nothing"
    would = "retired" if done else "would retire"
    waits = f"; {one.waits_for}" if one.waits_for else ""
    return f"{one.domain}, policy version {one.policy_version}: {would} {told}{waits}"
