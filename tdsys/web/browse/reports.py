"""How things stand: counts, the funnel, scores, coverage, freshness, the pace of people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

from tdsys.core.browsing import Filter
from tdsys.core.people import Right
from tdsys.stages import browsing, composition, overview, reporting, trending
from tdsys.stages.overview import Stage
from tdsys.stages.reporting import Covered, Spread
from tdsys.stages.trending import Trend
from tdsys.stages.variety import Ratio
from tdsys.web.browse.address import hardness
from tdsys.web.charts import Line, columns, lines, share, spread
from tdsys.web.pages import Page
from tdsys.web.trends import pictures, sentence
from tdsys.web.visit import Visit, missing

HEATS = 9


def dashboard(visit: Visit) -> dict[str, Any]:
    """All domains a person may see, in numbers."""
    found = overview.overview(visit.store, domains=visit.domains, now=visit.now)
    arrivals = [(f"{day:%d %b}", n) for day, n in found.arrivals]
    return {
            "states": found.states,
            "sources": found.sources,
            "funnel": _funnel(found.funnel),
            "domains": [
                {"name": one.name, "n": one.n, "states": one.states,
                 "funnel": {stage.name: stage.n for stage in one.funnel}}
                for one in found.domains
            ],
            "arrivals": [{"day": str(day), "n": n} for day, n in found.arrivals],
            "arrivals_chart": str(columns(arrivals, title="Stored on each of the last 30 days")),
            "pace": [{**one._asdict(), "day": str(one.day)} for one in found.pace],
            "operations": found.operations,
    }  # fmt: skip


def _funnel(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    most = max((one.n for one in stages), default=0)
    return [
        {"name": one.name, "n": one.n, "chart": str(share(one.n, most, says=f"{one.n:,}"))}
        for one in stages
    ]


def quality(visit: Visit) -> dict[str, Any]:
    """How the scores of a domain are spread; the numbers of `tdsys report quality`."""
    found = reporting.quality(visit.store, domain=_domain(visit))
    told = [{"state": state, "reason": reason, "n": n} for state, reason, n in found.reasons]
    return {
        **found._asdict(),
        "spreads": [{**one._asdict(), "chart": str(_spread(one))} for one in found.spreads],
        "reasons": told,
        "agreement": _agreement(visit, found.domain),
        "domains": _others(visit),
    }


def _agreement(visit: Visit, domain: str) -> dict[str, Any]:
    """People beside each other, and beside the judge when it was calibrated last.

    Comparing the judge anew reads every decision there is, which no page should wait for.
    """
    people = reporting.people(visit.store, domain=domain)
    kept = reporting.calibration(visit.store, domain=domain)
    return {
        "people": asdict(people) if people else None,
        "calibration": {
            "at": f"{kept.at:%Y-%m-%d}",
            "n": kept.n,
            "judge": kept.judge_model,
            "simulated": kept.simulated,
            "findings": kept.document["findings"],
        }
        if kept
        else None,
    }


def _spread(one: Spread) -> object:
    limits = [("rejected below", one.reject_below), ("admitted from", one.admit_from)]
    return spread(one.all, one.admitted, limits=limits, title=one.dimension.replace("_", " "))


def coverage(visit: Visit) -> dict[str, Any]:
    """What a domain's cells hold and lack; the numbers of `tdsys report coverage`."""
    found = reporting.coverage(visit.store, domain=_domain(visit))
    difficulties = sorted({cell.difficulty for cell in found.cells}, key=hardness)
    rows: dict[str, dict[str, Covered]] = defaultdict(dict)
    for cell in found.cells:
        rows[cell.topic][cell.difficulty] = cell
    heat = [
        {"topic": topic, "cells": [_heat(row.get(d)) for d in difficulties]}
        for topic, row in sorted(rows.items())
    ]
    return {
        **found._asdict(),
        "cells": [cell._asdict() for cell in found.cells],
        "difficulties": difficulties,
        "heat": heat,
        "domains": _others(visit),
    }


def _heat(cell: Covered | None) -> dict[str, Any]:
    """A square of the map: how full it is beside its goal, from 0 to 9, and in percent."""
    if cell is None:
        return {"level": None}
    full = cell.admitted / cell.goal if cell.goal else None
    level = min(HEATS, int(HEATS * full)) if full is not None else 0
    is_full = cell.most is not None and cell.admitted >= cell.most
    more = {"level": level, "full": full, "beyond": cell.beyond, "is_full": is_full}
    return {**cell._asdict(), **more}


def mix(visit: Visit) -> dict[str, Any]:
    """Where a domain's examples come from, by cell, over time, and how good each source is."""
    found = composition.composition(visit.store, domain=_domain(visit), now=visit.now)
    names = list(Ratio._fields)
    return {
        **found._asdict(),
        "kinds": names,
        "arrived": _kinds(found.arrived),
        "admitted": _kinds(found.admitted),
        "cells": [
            {**one._asdict(), "arrived": _kinds(one.arrived), "admitted": _kinds(one.admitted)}
            for one in sorted(found.cells, key=lambda c: (c.topic, hardness(c.difficulty)))
        ],
        "days": [{"day": str(day), **_kinds(ratio)} for day, ratio in found.days],
        "days_chart": str(_mixed_days(found.domain, found.days, names)),
        "sources": [one._asdict() for one in found.sources],
        "measured_at": found.measured_at.isoformat(),
        "domains": _others(visit),
    }


def _kinds(ratio: Ratio) -> dict[str, Any]:
    """So many of each kind, and the share of synthetic ones; None of nothing."""
    return {**ratio._asdict(), "told": str(ratio), "share": (ratio.shares or (None,))[0]}


def _mixed_days(domain: str, days: Sequence[tuple[date, Ratio]], names: Sequence[str]) -> object:
    """The share of each kind, day by day."""
    first, span = days[0][0], (days[-1][0] - days[0][0]).days or 1
    shares = [((day - first).days / span, ratio.shares) for day, ratio in days]
    drawn = [
        Line(name, [(x, told[i] if told else None) for x, told in shares])
        for i, name in enumerate(names)
    ]
    ends = [f"{days[i][0]:%Y-%m-%d}" for i in (0, -1)]
    return lines(drawn, ends=ends, title=f"Shares of what is admitted: {domain}")


# A year of them all would be half a million numbers.
MANY_DOMAINS = 3
BRIEF = timedelta(days=14)


def freshness(visit: Visit) -> dict[str, Any]:
    """How old the examples are, and how quality, balance and mix change over time."""
    asked = visit.domain()
    brief = asked is None and len(_others(visit)) > MANY_DOMAINS
    found = trending.trends(
        visit.store,
        domains=visit.domains if asked is None else {asked},
        now=visit.now,
        span=BRIEF if brief else trending.SPAN,
    )
    return {
        "brief": brief,
        "days": list(overview.AGES),
        "rows": [age._asdict() for one in found for age in one.ages],
        "trends": [_trend(one) for one in found],
    }


def _trend(one: Trend) -> dict[str, Any]:
    return {
        "domain": one.domain,
        "points": [{**point._asdict(), "day": str(point.day)} for point in one.points],
        "shifts": [
            {**shift._asdict(), "day": str(shift.day), "told": sentence(shift)}
            for shift in one.shifts
        ],
        "pictures": [{**p._asdict(), "chart": str(p.chart)} for p in pictures(one)],
    }


def _domain(visit: Visit) -> str:
    """The domain that is asked for, or else the first that may be seen."""
    found = visit.domain() or next(iter(_others(visit)), None)
    if found is None:
        raise missing("domain")
    return found


def _others(visit: Visit) -> list[str]:
    found = browsing.choices(visit.store, asked=Filter(), domains=visit.domains)
    return sorted(found["domain"])


ROUTES = (
    Page("/reports", Right.LOOK, dashboard, "browse/overview.html"),
    Page("/reports/quality", Right.LOOK, quality, "browse/quality.html"),
    Page("/reports/coverage", Right.LOOK, coverage, "browse/coverage.html"),
    Page("/reports/mix", Right.LOOK, mix, "browse/mix.html"),
    Page("/reports/freshness", Right.LOOK, freshness, "browse/freshness.html"),
)
