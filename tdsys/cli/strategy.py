"""`tdsys strategy`: the ways in which a model makes new examples, and their prompts."""

from __future__ import annotations

import json

import click

from tdsys.cli.arguments import as_json
from tdsys.cli.printing import note, say, show_table
from tdsys.core.batch import Kin
from tdsys.llm.prompting import Strategy, form, named, strategies, unusable

TITLES = ("strategy", "version", "material", "used", "idea", "after")


@click.group()
def strategy() -> None:
    """The ways in which a model makes new examples."""


@strategy.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """Show every strategy, ours and installed ones."""
    found = list(strategies().values())
    for broken in unusable().values():
        note(f"{broken}; it is left out")
    if as_json:
        say(json.dumps([one.model_dump(exclude={"prompt"}) for one in found]))
    else:
        show_table(TITLES, map(_row, found))


@strategy.command()
@click.argument("name")
@as_json
def show(name: str, *, as_json: bool) -> None:
    """Show a strategy with the whole prompt that a model gets."""
    found = named(name)
    prompt = form("form").format(strategy=found.prompt).strip()
    if as_json:
        say(json.dumps({**found.model_dump(), "prompt": prompt}))
        return
    say(f"{found.label}: {found.idea}")
    say(f"after: {found.source}")
    say("")
    for text in prompt.splitlines():
        say(text)


def _row(one: Strategy) -> tuple[str, ...]:
    used = "when named" if one.off else "yes"
    which = f" {one.kin}" if one.kin in {Kin.EASIER, Kin.HARDER} else ""
    examples = "example" if one.parents == 1 else "examples"
    material = f"{one.parents}{which} {examples}" if one.parents else "none"
    return one.name, one.version, material, used, one.idea, one.source
