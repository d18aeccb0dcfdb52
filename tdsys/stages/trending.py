"""How domains change over time: each day is written down, and read as trends with their changes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import NamedTuple

from tdsys.core.mixing import KINDS, SYNTHETIC
from tdsys.core.policy import Policy
from tdsys.core.trends import Day, Shift, balance, changes
from tdsys.stages.overview import Age, freshness
from tdsys.store import Store, days, mixture, policies

SPAN = timedelta(days=365)


class Point(NamedTuple):
    """One day of a trend; None where nothing is known of it."""

    day: date
    admitted: int | None
    balance: float | None
    synthetic: float | None
    quality: dict[str, tuple[int, float]]


class Trend(NamedTuple):
    """A domain over time: its age, its days, and where the judge's scores changed."""

    domain: str
    ages: list[Age]
    points: list[Point]
    shifts: list[Shift]


def write_days(store: Store, *, now: datetime) -> int:
    """Write today for every domain, and the scores of days since it was done last; how many rows.

    Whoever reads at night sees today as it was an hour ago at most; a day that is over stays.
    """
    today = now.date()
    with store.begin() as tx:
        scored = days.scored(tx, since=days.last(tx, today=today))
        present = days.present(tx, today=today, scored_today=scored)
        for domain, one in present.items():
            days.write(tx, domain=domain, day=one, now=now)
        mixture.write(tx, day=today)
        earlier = [(d, day, s) for (d, day), s in scored.items() if day < today]
        for domain, day, found in earlier:
            days.write_scores(tx, domain=domain, day=Day(day, {}, {}, {}, found), now=now)
    return len(present) + len(earlier)


def trends(
    store: Store, *, domains: Collection[str] | None, now: datetime, span: timedelta = SPAN
) -> list[Trend]:
    """Every domain of these (None: all) that has an example; reads rows of days only."""
    with store.begin() as tx:
        rules = policies.currents(tx)
        found = days.read(tx, domains=domains, since=now.date() - span, until=now.date())
    ages = freshness(store, domains=domains, now=now)
    names = sorted({one.domain for one in ages} | set(found))
    return [
        Trend(
            name,
            [one for one in ages if one.domain == name],
            [_point(day, rules[name][1]) for day in found.get(name, [])],
            changes(found.get(name, [])),
        )
        for name in names
    ]


def _point(day: Day, policy: Policy) -> Point:
    admitted = sum(day.sources.values())
    made = sum(n for source, n in day.sources.items() if KINDS[source] == SYNTHETIC)
    return Point(
        day.day,
        admitted if day.states else None,
        balance(day.cells, policy.wanted_cells(day.cells)),
        made / admitted if admitted else None,
        {name: (one.n, one.mean) for name, one in day.scores.items()},
    )
