"""`tdsys report`: what a domain's examples are worth and what they cover, to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from tdsys import runtime
from tdsys.cli import figures
from tdsys.cli.arguments import as_json, for_domain
from tdsys.cli.late import LateGroup
from tdsys.cli.page import page, table, to_page, write_page
from tdsys.cli.printing import say, show_table
from tdsys.core.agreement import Raters
from tdsys.core.rubric import Dimension
from tdsys.stages import reporting, trending
from tdsys.stages.reporting import Agreed, Coverage, Covered, Quality, Spread
from tdsys.web.trends import sentence

BARS = " ▁▂▃▄▅▆▇█"
WIDEST = 8
DIMENSIONS = ("dimension", "all, 0 to 1", "admitted, 0 to 1", "rejected below", "admitted from")
REASONS = ("state", "reason", "examples")
CELLS = (
    "topic",
    "difficulty",
    "admitted",
    "",
    "waiting",
    "rejected",
    "at least",
    "at most",
    "lacking",
)

ELSEWHERE = {
    "freshness": "freshness.freshness",
    "diversity": "variety.diversity",
    "mix": "variety.mix",
    "checks": "checks.checks",
    "yield": "yields.yield_",
}


@click.group(cls=LateGroup, late=ELSEWHERE)
def report() -> None:
    """Reports on a domain."""


@report.command()
@for_domain
@to_page
@as_json
def quality(domain: str, path: Path | None, *, as_json: bool) -> None:
    """Show the states, the reasons, and how the scores of each dimension are spread.

    Each bar is a tenth, from 0 to 1. An example without a score is in no bar.
    """
    store = runtime.current().store
    found, agreed = (
        reporting.quality(store, domain=domain),
        reporting.agreement(store, domain=domain),
    )
    people = reporting.people(store, domain=domain)
    lead = [*_quality_in_words(found), *_agreement_in_words(agreed), *_people_in_words(people)]
    reasons = [(state, reason, str(n)) for state, reason, n in found.reasons]
    if path:
        _write_quality(path, found, lead, reasons)
    if as_json:
        told = [dict(zip(("state", "reason", "n"), row, strict=True)) for row in found.reasons]
        spread = [one._asdict() for one in found.spreads]
        beside = asdict(agreed) if agreed else None
        among = asdict(people) if people else None
        measured = {"agreement": beside, "people": among}
        say(json.dumps({**found._asdict(), "spreads": spread, "reasons": told, **measured}))
    elif not path:
        for sentence in lead:
            say(sentence)
        show_table(DIMENSIONS, map(_row, found.spreads))
        show_table(REASONS, reasons)


@report.command()
@for_domain
@to_page
@as_json
def coverage(domain: str, path: Path | None, *, as_json: bool) -> None:
    """Show each topic and difficulty: admitted, waiting, rejected, and what is lacking."""
    found = reporting.coverage(runtime.current().store, domain=domain)
    most = max((one.admitted for one in found.cells), default=0)
    titles, rows = _with_something(CELLS, [_cell(one, most) for one in found.cells])
    lead = _coverage_in_words(found)
    if path:
        _write_coverage(path, found, lead)
    if as_json:
        say(json.dumps({**found._asdict(), "cells": [one._asdict() for one in found.cells]}))
    elif not path:
        say(lead)
        show_table(titles, rows)


def _write_quality(
    path: Path, found: Quality, lead: list[str], reasons: list[tuple[str, str, str]]
) -> None:
    here = runtime.current()
    days = trending.trends(here.store, domains=[found.domain], now=here.now())
    changes = [sentence(shift) for one in days for shift in one.shifts]
    means = [figures.day_row(p) for one in days for p in one.points if p.quality]
    names = ("day", *(d.value.replace("_", " ") for d in Dimension))
    write_page(path, page(f"Quality: {found.domain}", [*lead, *changes], [
        *map(figures.by_day, days),
        table(names, means, "Mean score of each day, and of how many scores"),
        *figures.spreads(found.spreads),
        table(figures.TENTHS, figures.tenths(found.spreads), "Scores, by tenths from 0 to 1"),
        table(REASONS, reasons, "What became of them, and why"),
    ]))  # fmt: skip


def _write_coverage(path: Path, found: Coverage, lead: str) -> None:
    told = [(_cell(one, one.admitted), _full(one)) for one in found.cells]
    cells = [(*row[:3], full, *row[4:]) for row, full in told]
    titles, rows = _with_something((*CELLS[:3], "of its share", *CELLS[4:]), cells)
    drawn = [figures.heat(found.cells), table(titles, rows, "Cells, the emptiest first")]
    write_page(path, page(f"Coverage: {found.domain}", [lead], drawn))


def _quality_in_words(found: Quality) -> list[str]:
    judged = f"{found.scored} scored"
    if found.simulated:
        judged += f", {found.simulated} of them SIMULATED"
    return [
        f"{found.domain}, policy version {found.policy_version}: {_listed(found.states)}",
        f"from: {_listed(found.sources)}",
        judged,
    ]


def _agreement_in_words(agreed: Agreed | None) -> list[str]:
    """What people say of the judge, where somebody said something."""
    if agreed is None or not agreed.n:
        return []
    simulated = ", SIMULATED" if agreed.simulated else ""
    kappa, precision = agreed.kappa, agreed.accepted.precision
    told = f"kappa {kappa.value:.2f} [{kappa.low:.2f}, {kappa.high:.2f}]" if kappa else "no kappa"
    good = (
        f"{precision.value:.0%} [{precision.low:.0%}, {precision.high:.0%}]" if precision else "–"
    )
    labels = f"judge and people over {agreed.n} examples{simulated}: {told}"
    return [f"{labels}; good of what it accepts: {good}"]


def _people_in_words(found: Raters | None) -> list[str]:
    """What people say of each other, where two decided about the same."""
    if found is None:
        return []
    chance = "–" if found.alpha is None else f"{found.alpha:.2f}"
    beyond = f"kappa {found.kappa:.2f}" if found.kappa is not None else f"alpha {chance}"
    about = f"{found.raters} people over {found.items} examples that two or more decided"
    return [f"{about}: the same word {found.agreed:.0%}, {beyond}"]


def _coverage_in_words(found: Coverage) -> str:
    return (
        f"{found.domain}, policy version {found.policy_version}: {len(found.cells)} cells, "
        f"{found.share} of max_examples {found.max_examples} for each"
    )


def _row(one: Spread) -> tuple[str, ...]:
    return one.dimension, _bars(one.all), _bars(one.admitted), *_limits(one)


def _limits(one: Spread) -> tuple[str, str]:
    return f"{one.reject_below:g}", f"{one.admit_from:g}"


def _bars(counts: list[int]) -> str:
    """A picture of them; only none at all is no bar."""
    most = max(counts) or 1
    return "".join(BARS[-(-n * (len(BARS) - 1) // most)] for n in counts)


def _cell(one: Covered, most: int) -> tuple[str, ...]:
    bar = "█" * (-(-one.admitted * WIDEST // (most or 1)))
    cap = "" if one.most is None else f"{one.most} (full)" if one.admitted >= one.most else one.most
    bounds = (str(one.least or ""), str(cap), str(one.lacking))
    bounds = bounds if one.wanted else ("not wanted", "", "")
    rest = (str(one.waiting), str(one.rejected), *bounds)
    return one.topic, one.difficulty, str(one.admitted), bar, *rest


def _full(one: Covered) -> str:
    """How much of what it should have a cell has."""
    return f"{min(1.0, one.admitted / one.goal):.0%}" if one.goal else ""


def _with_something(
    titles: Sequence[str], rows: list[tuple[str, ...]]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """The columns in which any row says something."""
    kept = [n for n in range(len(titles)) if any(row[n] for row in rows)]
    return [titles[n] for n in kept], [tuple(row[n] for n in kept) for row in rows]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "no example"
