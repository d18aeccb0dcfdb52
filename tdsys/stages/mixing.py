"""How synthetic, real and imported examples are mixed in a domain; reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from tdsys.core.example import Source
from tdsys.store import Store, mixture, policies

# What people see: made by a model, by a generator in use or asked, or brought by a person.
GROUPS = {
    Source.SYNTHETIC: "synthetic",
    Source.CAPTURED: "real",
    Source.BOOTSTRAPPED: "real",
    Source.IMPORTED: "imported",
    Source.MANUAL: "imported",
}


class Mixed(NamedTuple):
    """One cell: how many of each group."""

    topic: str
    difficulty: str
    synthetic: int
    real: int
    imported: int


class Week(NamedTuple):
    """What came in one week."""

    week: str
    synthetic: int
    real: int
    imported: int


class Worth(NamedTuple):
    """A source's admitted examples and their mean quality; simulated: by the offline model."""

    source: str
    admitted: int
    simulated: int
    quality: float


class Mixture(NamedTuple):
    """Where a domain's admitted examples come from; `synthetic_share` is of all of them."""

    domain: str
    synthetic: int
    real: int
    imported: int
    synthetic_share: float
    allowed_share: float
    cells: list[Mixed]
    weeks: list[Week]
    sources: list[Worth]

    def in_words(self) -> str:
        """The ratio in one sentence."""
        return (
            f"{self.domain}, admitted, synthetic : real : imported = {self.synthetic} : "
            f"{self.real} : {self.imported}; {self.synthetic_share:.0%} synthetic, a dataset "
            f"version takes at most {self.allowed_share:.0%}"
        )


def mixture_of(store: Store, *, domain: str) -> Mixture:
    """A domain's mixture; InvalidInput when there is no such domain."""
    with store.begin() as tx:
        _, policy = policies.current(tx, domain=domain)
        counts = mixture.by_cell(tx, domain=domain)
        weeks = mixture.by_week(tx, domain=domain)
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    by_week: dict[str, Counter[str]] = defaultdict(Counter)
    for one in counts:
        cells[one.cell][GROUPS[Source(one.source)]] += one.n
    for came in weeks:
        by_week[f"{came.week:%Y-%m-%d}"][GROUPS[Source(came.source)]] += came.n
    total: Counter[str] = sum(cells.values(), Counter())
    return Mixture(
        domain,
        **_grouped(total),
        synthetic_share=total["synthetic"] / (total.total() or 1),
        allowed_share=policy.synthetic_share,
        cells=[Mixed(cell[0], cell[1], **_grouped(held)) for cell, held in sorted(cells.items())],
        weeks=[Week(week, **_grouped(held)) for week, held in sorted(by_week.items())],
        sources=_worth(counts),
    )


def _grouped(held: Counter[str]) -> dict[str, int]:
    return {name: held[name] for name in ("synthetic", "real", "imported")}


def _worth(counts: list[mixture.SourceCount]) -> list[Worth]:
    found = []
    for source in dict.fromkeys(one.source for one in counts):
        ours = [one for one in counts if one.source == source]
        n = sum(one.n for one in ours)
        mean = sum(one.quality * one.n for one in ours) / n
        found.append(Worth(source, n, sum(one.simulated for one in ours), round(mean, 4)))
    return found
