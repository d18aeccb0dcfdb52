"""`tdsys report diversity` and `tdsys report mix`: how varied examples are, and from where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from tdsys import runtime
from tdsys.cli import figures
from tdsys.cli.arguments import as_json, for_domain, of_domain
from tdsys.cli.page import page, table, to_page, write_page
from tdsys.cli.printing import say, show_table
from tdsys.stages import variety
from tdsys.stages.variety import Measured, Mix, Ratio

METRICS = (
    "set", "examples", "sample", "Vendi", "of sample", "distinct-2", "distinct-4", "clusters",
    "of examples", "largest", "cells", "entropy",
)  # fmt: skip
CELLS = ("domain", "topic", "difficulty", "arrived", "admitted", "synthetic of admitted")
PERIODS = ("from", "days", "arrived", "admitted", "synthetic of admitted")
SOURCES = ("source", "examples", "admitted", "rejected", "scored", "quality", "of admitted")
NOTHING = "–"
LEGEND = (
    "Vendi (order 2): as many wholly different problems would be as varied; distinct-n: runs of n "
    "words that are the first of their kind; clusters: near-duplicates together; entropy: 1 where "
    "all topics and difficulties are even."
)


@click.command()
@for_domain
@click.option("--version", help="Another dataset version than the newest: its name or id.")
@click.option("--batch", help="What of them a batch has made, too: its id, or how it begins.")
@to_page
@as_json
def diversity(
    domain: str, version: str | None, batch: str | None, path: Path | None, *, as_json: bool
) -> None:
    """Show how varied the admitted examples are, and those of a dataset version or a batch."""
    store = runtime.current().store
    found = variety.diversity(store, domain=domain, version=version, batch=batch)
    rows = [_measured(one) for one in found]
    lead = [LEGEND, *(_unplaced(one) for one in found if one.unplaced)]
    lead += [_unembedded(one) for one in found if one.unembedded]
    if path:
        write_page(path, page(f"Diversity: {domain}", lead, [table(METRICS, rows)]))
    if as_json:
        sets = [{**one._asdict(), "diversity": one.diversity._asdict()} for one in found]
        say(json.dumps({"domain": domain, "sets": sets}))
    elif not path:
        for sentence in lead:
            say(sentence)
        show_table(METRICS, rows)


@click.command()
@of_domain
@to_page
@as_json
def mix(domain: str | None, path: Path | None, *, as_json: bool) -> None:
    """Show synthetic : real : imported by cell and over time, and the quality of each source.

    Synthetic is what a model was asked to make; what your generator made, asked or not, and what
    was written by hand is real.
    """
    found = variety.mix(runtime.current().store, domain=domain)
    tables = _tables(found)
    lead = [
        f"synthetic : real : imported, {domain or 'all domains'}",
        f"arrived {_told(found.arrived)}, admitted {_told(found.admitted)}",
    ]
    if path:
        *others, periods = tables
        drawn = [*figures.shares(found.periods), table(*periods), *(table(*o) for o in others)]
        write_page(path, page(f"Mix: {domain or 'all domains'}", lead, drawn))
    if as_json:
        say(json.dumps(_document(found)))
    elif not path:
        for sentence in lead:
            say(sentence)
        for titles, rows in tables:
            show_table(titles, rows)


def _tables(found: Mix) -> list[tuple[Sequence[str], list[tuple[str, ...]]]]:
    cells: list[tuple[str, ...]] = [
        (one.domain, one.topic, one.difficulty, *_both(one.arrived, one.admitted))
        for one in found.cells
    ]
    periods: list[tuple[str, ...]] = [
        (str(one.day), str(one.days), *_both(one.arrived, one.admitted)) for one in found.periods
    ]
    sources: list[tuple[str, ...]] = [
        (
            one.source,
            *map(str, (one.n, one.admitted, one.rejected, one.scored)),
            _number(one.quality),
            _number(one.admitted_quality),
        )
        for one in found.sources
    ]
    return [(SOURCES, sources), (CELLS, cells), (PERIODS, periods)]


def _document(found: Mix) -> dict[str, object]:
    return {
        "arrived": found.arrived._asdict(),
        "admitted": found.admitted._asdict(),
        "cells": [_unfolded(one._asdict()) for one in found.cells],
        "periods": [_unfolded(one._asdict()) for one in found.periods],
        "sources": [one._asdict() for one in found.sources],
    }


def _unfolded(row: dict[str, object]) -> dict[str, object]:
    told = {name: one._asdict() for name, one in row.items() if isinstance(one, Ratio)}
    return {**row, **told, **({"day": str(row["day"])} if "day" in row else {})}


def _measured(one: Measured) -> tuple[str, ...]:
    found = one.diversity
    return (
        one.name,
        str(found.examples),
        str(found.sample),
        NOTHING if found.vendi is None else f"{found.vendi:.1f}",
        *map(_number, (found.vendi_share, found.distinct_2, found.distinct_4)),
        str(found.clusters),
        _number(found.cluster_ratio),
        str(found.largest_cluster),
        str(found.cells),
        _number(found.entropy),
    )


def _unplaced(one: Measured) -> str:
    return f"{one.name}: {one.unplaced} are in no cluster yet; planning places them"


def _unembedded(one: Measured) -> str:
    return f"{one.name}: {one.unembedded} have no embedding; scoring asks again, its log says why"


def _both(arrived: Ratio, admitted: Ratio) -> tuple[str, str, str]:
    total = sum(admitted)
    share = f"{admitted.synthetic / total:.0%}" if total else NOTHING
    return _told(arrived), _told(admitted), share


def _told(ratio: Ratio) -> str:
    return " : ".join(map(str, ratio))


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
