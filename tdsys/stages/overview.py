"""How things stand, in numbers that cost the same however many examples there are; reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import NamedTuple

from tdsys.core.lifecycle import State
from tdsys.store import Store, Tx, counts, datasets, examples, operations, programs
from tdsys.store import pace as paces
from tdsys.store.pace import Worked

AGES = (1, 7, 30, 90)
ARRIVALS_OF = 30
PACE_OF = 14


class Stage(NamedTuple):
    """How many examples came so far."""

    name: str
    n: int


class Domain(NamedTuple):
    """One domain's examples by state and by source, and how far they came."""

    name: str
    states: dict[str, int]
    sources: dict[str, int]
    funnel: list[Stage]

    @property
    def n(self) -> int:
        """All its examples."""
        return sum(self.states.values())


class Age(NamedTuple):
    """Examples of one domain in one state: stored in the last AGES days each, and ever."""

    domain: str
    state: str
    within: list[int]
    n: int


class Overview(NamedTuple):
    """All that a person may see, in numbers; `funnel` is that of all domains together."""

    states: dict[str, int]
    sources: dict[str, int]
    funnel: list[Stage]
    domains: list[Domain]
    arrivals: list[tuple[date, int]]
    pace: list[Worked]
    operations: int


def overview(store: Store, *, domains: Collection[str] | None, now: datetime) -> Overview:
    """Counts, the funnel of each domain, the arrivals of a month and the pace of a fortnight."""
    today = now.date()
    with store.begin() as tx:
        by_domain = _domains(tx, domains)
        arrivals = counts.arrived(tx, domains=domains, since=today - timedelta(ARRIVALS_OF - 1))
        worked = paces.pace(tx, domains=domains, since=now - timedelta(PACE_OF))
        open_ = len(operations.open_ids(tx))
    states, sources, funnel = Counter[str](), Counter[str](), Counter[str]()
    for one in by_domain:
        states.update(one.states)
        sources.update(one.sources)
        funnel.update({stage.name: stage.n for stage in one.funnel})
    filled = dict(arrivals)
    days = [today - timedelta(n) for n in reversed(range(ARRIVALS_OF))]
    return Overview(
        dict(states),
        dict(sources),
        [Stage(*stage) for stage in funnel.items()],
        by_domain,
        [(day, filled.get(day, 0)) for day in days],
        worked,
        open_,
    )


def freshness(store: Store, *, domains: Collection[str] | None, now: datetime) -> list[Age]:
    """How old the examples of each domain and state are."""
    since = [now.date() - timedelta(days - 1) for days in AGES]
    with store.begin() as tx:
        found = counts.by_age(tx, domains=domains, since=since)
    return [Age(domain, state, ns[:-1], ns[-1]) for domain, state, ns in found]


def _domains(tx: Tx, domains: Collection[str] | None) -> list[Domain]:
    states: dict[str, Counter[str]] = defaultdict(Counter)
    sources: dict[str, Counter[str]] = defaultdict(Counter)
    for one in examples.counts(tx, domains=domains):
        states[one.domain][one.state] += one.n
        sources[one.domain][one.source] += one.n
    scored = counts.scored(tx, domains=domains)
    chosen = {one.domain: one.size for one in datasets.newest(tx, domains=domains)}
    shown = {one.domain: one.demos for one in programs.active(tx, domains=domains)}
    return [
        Domain(
            name,
            dict(held),
            dict(sources[name]),
            [
                Stage("stored", sum(held.values())),
                Stage("scored", scored.get(name, 0)),
                Stage("admitted", held[State.ADMITTED.value]),
                Stage("in the newest version", chosen.get(name, 0)),
                Stage("demos of the active program", shown.get(name, 0)),
            ],
        )
        for name, held in sorted(states.items())
    ]
