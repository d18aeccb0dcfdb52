"""`tdsys why`: the whole story of one example."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json
from tdsys.cli.printing import say, show_table
from tdsys.stages import telling


@click.command()
@click.argument("example_id", type=click.IntRange(1, 2**63 - 1), metavar="EXAMPLE")
@as_json
def why(example_id: int, *, as_json: bool) -> None:
    """Tell where an example comes from, what was found out about it, and what uses it."""
    found = telling.history(runtime.current().store, example_id=example_id)
    events = telling.story(found)
    if as_json:
        content = {**found.now._asdict(), "created_at": found.now.created_at.isoformat()}
        say(json.dumps({"example": content, "story": [one._asdict() for one in events]}))
        return
    outputs = found.now.payload.get("outputs")
    for name, value in outputs.items() if isinstance(outputs, dict) else ():
        say(f"{name}: {value}")
    show_table(("when", "what", ""), events)
