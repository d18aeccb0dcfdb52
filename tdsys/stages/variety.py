"""How varied a domain's examples are, and how real and synthetic ones are mixed; reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from shlex import quote
from typing import NamedTuple

from tdsys.core.dataset import Admitted
from tdsys.core.diversity import Diversity, Piece, measure
from tdsys.core.mixing import IMPORTED, KINDS, REAL, SYNTHETIC
from tdsys.core.sections import Embedding
from tdsys.core.sketching import problem_of
from tdsys.errors import InvalidInput
from tdsys.store import Store, Tx, batches, clusters, datasets, examples, mixture, policies, vectors
from tdsys.store.datasets import DatasetVersion
from tdsys.store.mixture import SourceQuality

MOST_PERIODS = 31
PERIODS = (1, 7, 28, 364)


class Measured(NamedTuple):
    """The admitted set or a dataset version, with its metrics; `unplaced` are in no cluster yet.

    `unembedded` have no embedding by the policy's embedder, None: it has none.
    """

    name: str
    unplaced: int
    unembedded: int | None
    diversity: Diversity


class Ratio(NamedTuple):
    """How many examples of each kind."""

    synthetic: int = 0
    real: int = 0
    imported: int = 0

    @property
    def shares(self) -> tuple[float, ...] | None:
        """Each kind's share of all; None of nothing."""
        total = sum(self)
        return tuple(n / total for n in self) if total else None

    def __str__(self) -> str:
        return " : ".join(f"{n:,}" for n in self)


class MixedCell(NamedTuple):
    """One cell: all that came, and what of it is admitted."""

    domain: str
    topic: str
    difficulty: str
    arrived: Ratio
    admitted: Ratio


class MixedPeriod(NamedTuple):
    """All that came from `day` on, for `days` days."""

    day: date
    days: int
    arrived: Ratio
    admitted: Ratio


class Mix(NamedTuple):
    """Where examples come from; the emptiest cells are not left out."""

    arrived: Ratio
    admitted: Ratio
    cells: list[MixedCell]
    periods: list[MixedPeriod]
    sources: list[SourceQuality]


def diversity(
    store: Store, *, domain: str, version: str | None = None, batch: str | None = None
) -> list[Measured]:
    """The admitted set, what of it a batch has made, and the version in force or another one.

    A version by its name or id, a batch by how its id begins; InvalidInput when there is none.
    """
    with store.begin() as tx:
        embedder = policies.current(tx, domain=domain)[1].embedder
        admitted = examples.admitted(tx, domain=domain)
        sets = [("admitted", admitted)]
        if batch is not None:
            sets.append(_batch(tx, domain, batch, admitted))
        if found := _version(tx, domain, version):
            held = [m.example for m in datasets.members(tx, version_id=found.id)]
            sets.append((f"version {found.name}", held))
        placed = clusters.clusters(tx, example_ids={e.id for _, held in sets for e in held})
        lacking = [
            None if embedder is None else _unembedded(tx, domain, embedder, held)
            for _, held in sets
        ]
    return [
        _measured(name, held, placed, unembedded=number)
        for (name, held), number in zip(sets, lacking, strict=True)
    ]


def _batch(
    tx: Tx, domain: str, prefix: str, admitted: Sequence[Admitted]
) -> tuple[str, list[Admitted]]:
    found = batches.find(tx, batch_id=batches.meant(tx, prefix=prefix))
    if found.domain != domain:
        raise InvalidInput(
            f"batch {found.id} is of {found.domain}", remedy=f"use --domain {quote(found.domain)}"
        )
    ids = batches.made(tx, batch_id=found.id)
    return f"batch {str(found.id)[:8]}", [one for one in admitted if one.id in ids]


def _unembedded(tx: Tx, domain: str, by: Embedding, held: Sequence[Admitted]) -> int:
    ids = [one.id for one in held]
    return vectors.waiting(tx, domain=domain, model=by.model, example_ids=ids)


def _version(tx: Tx, domain: str, wanted: str | None) -> DatasetVersion | None:
    if wanted is None:
        return datasets.latest(tx, domain=domain)
    return datasets.named(tx, domain=domain, name=wanted)


def _measured(
    name: str, held: Sequence[Admitted], placed: Mapping[int, int], *, unembedded: int | None
) -> Measured:
    pieces = [
        # Who is in no cluster yet is in one of its own.
        Piece(problem_of(one.outputs), placed.get(one.id, -one.id), one.cell)
        for one in sorted(held, key=lambda one: one.fingerprint)
    ]
    unplaced = sum(one.id not in placed for one in held)
    return Measured(name, unplaced, unembedded, measure(pieces))


def mix(store: Store, *, domain: str | None = None) -> Mix:
    """Synthetic to real to imported; InvalidInput when there is no such domain."""
    with store.begin() as tx:
        if domain is not None:
            policies.current(tx, domain=domain)
        cells = mixture.by_cell(tx, domain=domain)
        days = mixture.by_day(tx, domain=domain)
        sources = mixture.by_source(tx, domain=domain)
    return Mix(
        arrived=ratio((one.source, one.n) for one in cells),
        admitted=ratio((one.source, one.admitted) for one in cells),
        cells=_cells(cells),
        periods=_periods(days),
        sources=sources,
    )


def _cells(rows: Sequence[mixture.CellMix]) -> list[MixedCell]:
    held: dict[tuple[str, str, str], list[mixture.CellMix]] = defaultdict(list)
    for one in rows:
        held[one.domain, one.topic, one.difficulty].append(one)
    return [
        MixedCell(
            *cell,
            arrived=ratio((one.source, one.n) for one in found),
            admitted=ratio((one.source, one.admitted) for one in found),
        )
        for cell, found in held.items()
    ]


def _periods(rows: Sequence[mixture.DayMix]) -> list[MixedPeriod]:
    """By day, or by as many as make a list that can be looked at."""
    if not rows:
        return []
    first, last = rows[0].day, rows[-1].day
    span = (last - first).days + 1
    days = next((one for one in PERIODS if span <= one * MOST_PERIODS), PERIODS[-1])
    held: dict[int, list[mixture.DayMix]] = defaultdict(list)
    for one in rows:
        held[(one.day - first).days // days].append(one)
    return [
        MixedPeriod(
            first + timedelta(days=days * number),
            days,
            arrived=ratio((one.source, one.n) for one in found),
            admitted=ratio((one.source, one.admitted) for one in found),
        )
        for number, found in sorted(held.items())
    ]


def ratio(counted: Iterable[tuple[str, int]]) -> Ratio:
    """Counts of sources as counts of kinds."""
    kinds: Counter[str] = Counter()
    for source, n in counted:
        kinds[KINDS[source]] += n
    return Ratio(kinds[SYNTHETIC], kinds[REAL], kinds[IMPORTED])
