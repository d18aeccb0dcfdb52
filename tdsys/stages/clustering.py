"""Put examples into clusters of near-duplicates, whatever source they are of.

Scoring does it with what it claims, before anything is judged: who was not placed was not decided
either, so a killed worker leaves nothing out. Planning does it again for what is not placed yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from tdsys.core.example import Document, fingerprint
from tdsys.core.sketching import problem_of, sketch
from tdsys.store import Store, clusters, neighbours
from tdsys.store.neighbours import Neighbour

AT_ONCE = 500


class Content(Protocol):
    """What of an example is looked at."""

    @property
    def id(self) -> int:
        """Its row."""
        ...

    @property
    def inputs(self) -> Document:
        """What was asked for."""
        ...

    @property
    def outputs(self) -> Document:
        """What was generated."""
        ...


def place(store: Store, *, domain: str, examples: Sequence[Content]) -> int:
    """Place those of one domain that are not yet, some hundreds a transaction; how many."""
    with store.single() as tx:
        missing = clusters.unplaced(tx, example_ids=[one.id for one in examples])
    waiting = (one for one in examples if one.id in missing)
    while block := list(islice(waiting, AT_ONCE)):
        sketches = {one.id: sketch(problem_of(one.outputs)) for one in block}
        read = {one.id: fingerprint(domain, one.inputs, one.outputs) for one in block}
        with store.begin() as tx:
            clusters.place(tx, domain=domain, sketches=sketches, read=read)
    return len(missing)


def nearest(store: Store, *, example_id: int, limit: int) -> list[Neighbour]:
    """The examples most like one, the nearest first; none when it is in no cluster yet."""
    with store.begin() as tx:
        return neighbours.nearest(tx, example_id=example_id, limit=limit)
