"""`tdsys report`: what a domain's examples are worth and what they cover, to look at."""

from __future__ import annotations

import json

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain
from tdsys.cli.printing import say, show_table
from tdsys.stages import reporting
from tdsys.stages.reporting import Covered, Spread

BARS = " ▁▂▃▄▅▆▇█"
WIDEST = 30


@click.group()
def report() -> None:
    """Reports on a domain."""


@report.command()
@for_domain
@as_json
def quality(domain: str, *, as_json: bool) -> None:
    """Show the states, the reasons, and how the scores of each dimension are spread.

    Each bar is a tenth, from 0 to 1. An example without a score is in no bar.
    """
    found = reporting.quality(runtime.current().store, domain=domain)
    if as_json:
        spreads = [one._asdict() for one in found.spreads]
        reasons = [dict(zip(("state", "reason", "n"), r, strict=True)) for r in found.reasons]
        say(json.dumps({**found._asdict(), "spreads": spreads, "reasons": reasons}))
        return
    say(f"{domain}, policy version {found.policy_version}: {_listed(found.states)}")
    say(f"from: {_listed(found.sources)}")
    judged = f"{found.scored} scored"
    say(f"{judged}, {found.simulated} of them SIMULATED" if found.simulated else judged)
    show_table(
        ("dimension", "0 .. 1", "admitted", "rejected below", "admitted from"),
        map(_row, found.spreads),
    )
    show_table(("state", "reason", "examples"), [(s, r, str(n)) for s, r, n in found.reasons])


@report.command()
@for_domain
@as_json
def coverage(domain: str, *, as_json: bool) -> None:
    """Show each topic and difficulty: admitted, waiting, rejected, and what is lacking."""
    found = reporting.coverage(runtime.current().store, domain=domain)
    if as_json:
        say(json.dumps({**found._asdict(), "cells": [one._asdict() for one in found.cells]}))
        return
    say(
        f"{domain}, policy version {found.policy_version}: {len(found.cells)} cells, "
        f"{found.share} of max_examples {found.max_examples} for each"
    )
    most = max((one.admitted for one in found.cells), default=0)
    show_table(
        ("topic", "difficulty", "admitted", "", "waiting", "rejected", "lacking"),
        [_cell(one, most) for one in found.cells],
    )


def _row(one: Spread) -> tuple[str, ...]:
    limits = f"{one.reject_below:g}", f"{one.admit_from:g}"
    return one.dimension, _bars(one.all), _bars(one.admitted), *limits


def _bars(counts: list[int]) -> str:
    """A picture of them; only none at all is no bar."""
    most = max(counts) or 1
    return "".join(BARS[-(-n * (len(BARS) - 1) // most)] for n in counts)


def _cell(one: Covered, most: int) -> tuple[str, ...]:
    bar = "█" * (-(-one.admitted * WIDEST // (most or 1)))
    rest = (str(one.waiting), str(one.rejected), str(one.lacking))
    return one.topic, one.difficulty, str(one.admitted), bar, *rest


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "no example"
