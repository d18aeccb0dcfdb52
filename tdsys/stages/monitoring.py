"""Count what is there: the funnel, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tdsys.core.example import Source
from tdsys.core.lifecycle import State
from tdsys.store import Store, examples
from tdsys.store.examples import CellCount, Labelled, ReasonCount, Refused


class Funnel(NamedTuple):
    """How many examples came in, from where, and what became of them."""

    captured: int
    imported: int
    duplicates: int
    states: dict[str, int]
    reasons: list[ReasonCount]
    labelled: list[Labelled]


class Catch(NamedTuple):
    """What became of one labelled kind of capture; `caught` = not admitted."""

    kind: str
    injected: int
    caught: int


def funnel(store: Store) -> Funnel:
    """The present state of the whole store."""
    with store.begin() as tx:
        counts = examples.counts(tx)
        labelled = examples.labelled(tx)
        reasons = examples.reasons(tx)
    states: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for count in counts:
        states[count.state] += count.n
        sources[count.source] += count.n
    duplicates = sum(row.n for row in labelled if row.state == "duplicate")
    return Funnel(
        captured=sources[Source.CAPTURED] + duplicates,
        imported=sources[Source.IMPORTED],
        duplicates=duplicates,
        states=dict(states),
        reasons=reasons,
        labelled=labelled,
    )


def catches(labelled: Sequence[Labelled]) -> list[Catch]:
    """Per injected kind of fault: how many there were and how many were not admitted."""
    injected: Counter[str] = Counter()
    admitted: Counter[str] = Counter()
    for row in labelled:
        if row.fault is not None:
            injected[row.fault] += row.n
            admitted[row.fault] += row.n * (row.state == State.ADMITTED)
    return [Catch(kind, n, n - admitted[kind]) for kind, n in sorted(injected.items())]


def cells(store: Store, *, domain: str) -> list[CellCount]:
    """Examples by topic, difficulty and state."""
    with store.begin() as tx:
        return examples.cells(tx, domain=domain)


def refused(store: Store, *, limit: int) -> list[Refused]:
    """Captured records that were not stored, newest first."""
    with store.begin() as tx:
        return examples.refused(tx, limit=limit)
