"""`tdsys report freshness`: how old examples are, and how quality, balance and mix change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, of_domain
from tdsys.cli.page import page, picture, table, to_page, write_page
from tdsys.cli.printing import say, show_table
from tdsys.core.rubric import Dimension
from tdsys.stages import trending
from tdsys.stages.overview import AGES
from tdsys.stages.trending import Point, Trend
from tdsys.web.trends import pictures, sentence

AGE = ("domain", "state", "today", *(f"last {days} days" for days in AGES[1:]), "ever")
DAYS = ("day", "admitted", "balance", "synthetic", *(d.value.replace("_", " ") for d in Dimension))
SHOWN_DAYS = 14
NOTHING = "–"
EARLY = "trends begin with the second day; each day is written down once an hour"


@click.command()
@of_domain
@to_page
@as_json
def freshness(domain: str | None, path: Path | None, *, as_json: bool) -> None:
    """Show how old examples are, and how quality, balance and mix change from day to day.

    A change of the scores is told where chance would hardly make one like it.
    """
    here = runtime.current()
    found = trending.trends(here.store, domains=[domain] if domain else None, now=here.now())
    if path:
        write_page(path, page("Freshness", _lead(found), _drawn(found)))
    if as_json:
        say(json.dumps({"domains": [_document(one) for one in found]}))
    elif not path:
        for line in _lead(found):
            say(line)
        for titles, rows in _tables(found):
            show_table(titles, rows)


def _lead(found: list[Trend]) -> list[str]:
    if not found:
        return ["nothing is here yet"]
    told = [f"{one.domain}: {sentence(shift)}" for one in found for shift in one.shifts]
    return told + [EARLY] * all(len(one.points) < 2 for one in found)  # noqa: PLR2004  # a trend


def _tables(found: list[Trend]) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    ages = [(age.domain, age.state, *map(str, (*age.within, age.n)))
            for one in found for age in one.ages]  # fmt: skip
    if ages:
        yield AGE, ages
    for one in found:
        if one.points:
            yield (f"{one.domain}: day", *DAYS[1:]), [_day(p) for p in one.points[-SHOWN_DAYS:]]


def _day(one: Point) -> tuple[str, ...]:
    shares = [NOTHING if v is None else f"{v:.2f}" for v in (one.balance, one.synthetic)]
    scores = [f"{one.quality[d][1]:.2f}" if d in one.quality else NOTHING for d in Dimension]
    return str(one.day), NOTHING if one.admitted is None else str(one.admitted), *shares, *scores


def _drawn(found: list[Trend]) -> Iterator[str]:
    for one in found:
        for shown in pictures(one):
            yield picture(f"{one.domain}: {shown.title}", shown.chart, shown.names)
    for titles, rows in _tables(found):
        yield table(titles, rows)


def _document(one: Trend) -> dict[str, object]:
    return {
        "domain": one.domain,
        "ages": [
            {"state": age.state, "within_days": dict(zip(AGES, age.within, strict=True)),
             "n": age.n} for age in one.ages
        ],
        "days": [
            {**p._asdict(), "day": str(p.day),
             "quality": {d: {"n": n, "mean": mean} for d, (n, mean) in p.quality.items()}}
            for p in one.points
        ],
        "shifts": [{**s._asdict(), "day": str(s.day)} for s in one.shifts],
    }  # fmt: skip
