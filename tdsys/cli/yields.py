"""`tdsys report yield`, `report sources`: what strategies bring, what a domain is made of."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, of_domain
from tdsys.cli.printing import say, show_table
from tdsys.core.filling import Experience
from tdsys.stages import filling, mixing

YIELD = ("strategy", "cells", "tried", "admitted", "share", "calls", "calls per admitted", "tokens")
SOURCES = ("source", "admitted", "simulated", "mean quality")
MIXED = ("topic", "difficulty", "synthetic", "real", "imported")
WEEKS = ("week of", "synthetic", "real", "imported")


@click.command("yield")
@of_domain
@as_json
def yield_(domain: str | None, *, as_json: bool) -> None:
    """Show what each strategy has tried and got admitted, and the calls that took."""
    found = filling.experience(runtime.current().store, domain=domain)
    if as_json:
        told = [{**one._asdict(), "cell": one.cell._asdict()} for one in found]
        say(json.dumps(told))
        return
    by_strategy: dict[str, list[Experience]] = defaultdict(list)
    for one in found:
        by_strategy[one.strategy].append(one)
    rows = [_row(name, ours) for name, ours in by_strategy.items()]
    show_table(YIELD, sorted(rows, key=_cost))


@click.command()
@for_domain
@as_json
def sources(domain: str, *, as_json: bool) -> None:
    """Show synthetic : real : imported by cell and by week, and what each source is worth."""
    found = mixing.mixture_of(runtime.current().store, domain=domain)
    if as_json:
        parts = {name: [one._asdict() for one in getattr(found, name)]
                 for name in ("cells", "weeks", "sources")}  # fmt: skip
        say(json.dumps({**found._asdict(), **parts}))
        return
    say(found.in_words())
    show_table(MIXED, [tuple(map(str, one)) for one in found.cells])
    show_table(WEEKS, [tuple(map(str, one)) for one in found.weeks])
    show_table(SOURCES, [tuple(map(str, one)) for one in found.sources])


def _row(strategy: str, found: Sequence[Experience]) -> tuple[str, ...]:
    tried, admitted = sum(o.tried for o in found), sum(o.admitted for o in found)
    calls, tokens = sum(o.calls for o in found), sum(o.tokens for o in found)
    each = f"{calls / admitted:.1f}" if admitted else "-"
    share = f"{admitted / tried:.0%}"
    counts = map(str, (len(found), tried, admitted))
    return strategy, *counts, share, str(calls), each, f"{tokens:,}"


def _cost(row: Sequence[str]) -> tuple[bool, float, str]:
    each = row[6]
    return each == "-", float(each) if each != "-" else 0.0, row[0]
