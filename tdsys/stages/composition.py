"""What a domain consists of, quickly: counts that are kept, days and means that were written.

`tdsys report mix` counts the examples themselves; this costs the same at any number of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from tdsys.core.example import Cell
from tdsys.core.lifecycle import State
from tdsys.core.policy import Policy
from tdsys.stages.variety import Ratio, ratio
from tdsys.store import Store, Tx, mixture, policies
from tdsys.store.mixture import CellSource, SourceQuality, Worth

SPAN = timedelta(days=365)
# So many examples are quickly read, so their quality is told as it is now.
FEW = 20_000


class Part(NamedTuple):
    """One cell; `allowed` is the greatest share of it that may be synthetic in a version."""

    topic: str
    difficulty: str
    arrived: Ratio
    admitted: Ratio
    allowed: float


class Composition(NamedTuple):
    """Where a domain's examples come from.

    `days` is what was admitted at the end of each day, now in place of today's; what is told of
    quality was so `measured_at`.
    """

    domain: str
    allowed: float
    arrived: Ratio
    admitted: Ratio
    cells: list[Part]
    days: list[tuple[date, Ratio]]
    sources: list[SourceQuality]
    measured_at: datetime


def composition(store: Store, *, domain: str, now: datetime) -> Composition:
    """A domain's mix; InvalidInput when there is no such domain."""
    with store.begin() as tx:
        _, policy = policies.current(tx, domain=domain)
        rows = mixture.counted(tx, domain=domain)
        measured_at, worths = _worths(tx, domain, sum(one.n for one in rows), now)
        past = mixture.sources_by_day(tx, domain=domain, since=now.date() - SPAN)
    arrived, admitted = _ratios(rows)
    days = [(day, ratio(held.items())) for day, held in past if day < now.date()]
    return Composition(
        domain=domain,
        allowed=policy.synthetic_share,
        arrived=arrived,
        admitted=admitted,
        cells=_cells(rows, policy),
        days=[*days, (now.date(), admitted)],
        sources=_sources(rows, worths),
        measured_at=measured_at,
    )


def _worths(tx: Tx, domain: str, many: int, now: datetime) -> tuple[datetime, dict[str, Worth]]:
    found = mixture.written(tx, domain=domain) if many > FEW else None
    return found or (now, mixture.worths(tx, domain=domain).get(domain, {}))


def _ratios(rows: Sequence[CellSource]) -> tuple[Ratio, Ratio]:
    """Of all that came, and of what is admitted."""
    admitted = [(one.source, one.n) for one in rows if one.state == State.ADMITTED]
    return ratio((one.source, one.n) for one in rows), ratio(admitted)


def _cells(rows: Sequence[CellSource], policy: Policy) -> list[Part]:
    found: dict[Cell, list[CellSource]] = defaultdict(list)
    for one in rows:
        found[Cell(one.topic, one.difficulty)].append(one)
    return [
        Part(*cell, *_ratios(held), allowed=policy.cells.synthetic_share_of(cell))
        for cell, held in found.items()
    ]


def _sources(rows: Sequence[CellSource], worths: dict[str, Worth]) -> list[SourceQuality]:
    counts: dict[str, Counter[str]] = {}
    for one in rows:
        counts.setdefault(one.source, Counter())[one.state] += one.n
    return [
        SourceQuality(
            source,
            held.total(),
            held[State.ADMITTED],
            held[State.REJECTED],
            *worths.get(source, Worth(0, None, None)),
        )
        for source, held in sorted(counts.items())
    ]
