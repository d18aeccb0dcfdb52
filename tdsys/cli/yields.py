"""`tdsys report yield`: what strategies bring."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain
from tdsys.cli.printing import say, show_table
from tdsys.core.filling import Experience
from tdsys.stages import filling

YIELD = ("strategy", "cells", "tried", "admitted", "share", "calls", "calls per admitted", "tokens")


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
