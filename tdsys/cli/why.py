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
    found = telling.story(runtime.current().store, example_id=example_id)
    if as_json:
        example = found.example
        content = {
            "id": example.id,
            "domain": example.domain,
            "source": example.source,
            "state": example.state,
            "reason": example.reason,
            "quality": example.quality,
            "simulated": example.simulated,
            "inputs": example.inputs,
            "outputs": example.outputs,
            "metadata": example.metadata,
        }
        say(json.dumps({"example": content, "story": [one._asdict() for one in found.events]}))
        return
    for name, value in found.example.outputs.items():
        say(f"{name}: {value}")
    show_table(("when", "what", ""), found.events)
