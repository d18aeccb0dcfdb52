"""Have placed examples embedded, and join the clusters of those that are near by it.

Its rule: nobody waits for it. Whoever has no vector yet is placed by its words, and is embedded by
a later turn of the scoring worker; where an embedder can do nothing with a text, that is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from tdsys.core.embedding import LONGEST_TEXT, Embedder, Unembedded, Vector, are_one, unit
from tdsys.core.sections import Embedding
from tdsys.core.sketching import problem_of
from tdsys.errors import TdsysError
from tdsys.store import Store, Tx, clusters, policies, vectors
from tdsys.store.vectors import Lacking

AT_ONCE = 100
CAUGHT_UP = 3 * AT_ONCE
NO_PGVECTOR = "pgvector is not in this database"

log = logging.getLogger("tdsys.embedding")


class Embedded(NamedTuple):
    """What came of a domain's texts; `away`: why others were not even looked at, if any were."""

    domain: str
    done: int = 0
    refused: int = 0
    joined: int = 0
    away: str = ""


def embed(
    store: Store,
    embedder: Callable[[], Embedder],
    *,
    domain: str,
    now: datetime,
    among: Collection[int] | None = None,
) -> Embedded:
    """Embed what of a domain, or `among` these, has no vector yet, some hundreds at most.

    It does nothing where the policy names no embedder, and raises nothing of an embedder's.
    """
    with store.single() as tx:
        _, policy = policies.current(tx, domain=domain)
    rules = policy.embedder
    if rules is None:
        return Embedded(domain)
    with store.begin() as tx:
        if not vectors.is_ready(tx):
            return _told(Embedded(domain, away=NO_PGVECTOR))
        missing = vectors.lacking(
            tx, domain=domain, model=rules.model, now=now, limit=CAUGHT_UP, among=among
        )
    came = Embedded(domain)
    for start in range(0, len(missing), AT_ONCE):
        block = missing[start : start + AT_ONCE]
        try:
            rows = _asked(embedder, rules.model, block)
        except TdsysError as away:
            return _told(came._replace(away=str(away)))
        with store.begin() as tx:
            if size := _size(tx, domain, rules, rows):
                vectors.index(tx, domain=domain, model=rules.model, size=size)
        with store.begin() as tx:
            came = _kept(tx, came, rules, list(zip(block, rows, strict=True)), now)
    return _told(came)


def catch_up(store: Store, embedder: Callable[[], Embedder], *, now: datetime) -> list[Embedded]:
    """Embed what was left over in every domain: from before there was an embedder, or while away.

    Of domains without an embedder nothing is said.
    """
    with store.begin() as tx:
        known = policies.currents(tx, names=policies.domains(tx))
    wanting = [name for name, (_, policy) in known.items() if policy.embedder]
    return [embed(store, embedder, domain=name, now=now) for name in wanting]


def links(
    store: Store, groups: Mapping[int, int], *, domain: str, rules: Embedding | None
) -> list[tuple[int, int]]:
    """Which two of one group are near-duplicates by their vectors; groups are named by example."""
    if rules is None or not groups:
        return []
    with store.begin() as tx:
        near = vectors.pairs(
            tx, domain=domain, model=rules.model, groups=groups, least=rules.likeness
        )
    return [(one.example_id, one.other_id) for one in near]


def _asked(
    embedder: Callable[[], Embedder], model: str, block: Sequence[Lacking]
) -> list[Sequence[float] | Unembedded]:
    """A row for each; a text that no model reads whole is not sent."""
    texts = [problem_of(one.outputs) for one in block]
    short = [text for text in texts if len(text) <= LONGEST_TEXT]
    answers = iter(embedder().embed(model, short) if short else [])
    too_long = Unembedded(f"longer than {LONGEST_TEXT} characters")
    return [next(answers) if len(text) <= LONGEST_TEXT else too_long for text in texts]


def _size(
    tx: Tx, domain: str, rules: Embedding, rows: Sequence[Sequence[float] | Unembedded]
) -> int | None:
    """How long a domain's vectors are: as those before, or as the first of these."""
    known = vectors.dimensions(tx, domain=domain, model=rules.model)
    read = [] if known else [unit(row, dimensions=None) for row in rows]
    return known or next((len(one) for one in read if not isinstance(one, Unembedded)), None)


def _kept(
    tx: Tx,
    came: Embedded,
    rules: Embedding,
    rows: Sequence[tuple[Lacking, Sequence[float] | Unembedded]],
    now: datetime,
) -> Embedded:
    """Write a block's vectors, and join what is near by them."""
    domain, model = came.domain, rules.model
    clusters.hold(tx, domain=domain, example_ids=[one.id for one, _ in rows])
    size = vectors.dimensions(tx, domain=domain, model=model)
    found: list[tuple[Lacking, Vector | Unembedded]] = []
    for one, row in rows:
        vector = unit(row, dimensions=size)
        found.append((one, vector))
        size = size or (None if isinstance(vector, Unembedded) else len(vector))
    done = vectors.put(tx, domain=domain, model=model, found=found, now=now)
    refused = sum(isinstance(one, Unembedded) for _, one in found)
    joined = _joined(tx, domain, rules, size, done) if size and done else 0
    return came._replace(
        done=came.done + len(done), refused=came.refused + refused, joined=came.joined + joined
    )


def _joined(tx: Tx, domain: str, rules: Embedding, size: int, new: Sequence[int]) -> int:
    """How many clusters were joined by what these are near to."""
    near = vectors.nearest(
        tx,
        domain=domain,
        model=rules.model,
        size=size,
        example_ids=new,
        limit=vectors.MOST_NEAR,
    )
    ones = [
        (one.example_id, one.other_id)
        for one in near
        if are_one(one.cosine, likeness=rules.likeness)
    ]
    return clusters.join(tx, pairs=ones)


def _told(came: Embedded) -> Embedded:
    if came.away or came.refused:
        log.warning(
            "%s: %d embedded, %d not to be embedded; %s",
            came.domain,
            came.done,
            came.refused,
            came.away or "they are tried again in a day",
        )
    return came
