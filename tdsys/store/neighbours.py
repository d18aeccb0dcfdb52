"""Who is near an example or a new problem; how they are placed is `clusters`' matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Row, text

from tdsys.core.lifecycle import State
from tdsys.core.sketching import Alike, Sketch, problem_of, salt, same_numbers, sketch
from tdsys.store import vectors
from tdsys.store.clusters import INDEXED, compared, listed, unnested
from tdsys.store.engine import Tx

MOST_COMPARED = 100
# Of a template one example has the keys of its wording; so many stand for it when it is met.
SIBLINGS = 3
# The id of no example.
NOT_PLACED = 0
# Two of one template.
SAME = Alike(1.0, 1.0, 1.0)


class Neighbour(NamedTuple):
    """An example beside another; 1.0 in `likeness` is the same but for numbers and names.

    `embedded` is the cosine of their embeddings, None where that is not known.
    """

    example_id: int
    likeness: float
    same_numbers: bool
    same_cluster: bool
    state: str
    source: str
    problem: str
    embedded: float | None = None


def nearest(tx: Tx, *, example_id: int, limit: int) -> list[Neighbour]:
    """The most similar examples of its domain, the nearest first; none when it has no template.

    Beside those of much the same words, those of its cluster that its embedding is nearest to.
    """
    tx.execute(INDEXED)
    row = tx.execute(_OWN, {"id": example_id}).one_or_none()
    if row is None:
        return []
    also = {one.other_id for one in vectors.beside(tx, example_id=example_id, limit=limit)}
    own = _Own(problem_of(row.outputs), row.cluster, example_id, also)
    (found,) = _beside(tx, row.domain, [own], limit=limit)
    others = [one.example_id for one in found] if also else []
    cosines = vectors.cosines(tx, example_id=example_id, others=others)
    told = [one._replace(embedded=cosines.get(one.example_id)) for one in found]
    return sorted(told, key=lambda one: -max(one.likeness, one.embedded or 0.0))[:limit]


def nearest_to(
    tx: Tx, *, domain: str, new: Sequence[str], limit: int, apart: Collection[State] = ()
) -> list[list[Neighbour]]:
    """For each new problem the placed examples of a domain that it is most like, nearest first.

    Nobody in one of the states `apart` is looked at; `same_cluster` says that it would be linked.
    """
    tx.execute(INDEXED)
    found = _beside(tx, domain, [_Own(one) for one in new], limit=limit, apart=apart)
    return [near[:limit] for near in found]


class _Own(NamedTuple):
    """What neighbours are looked for by, `also` whatever their words."""

    problem: str
    cluster: int | None = None
    example_id: int = NOT_PLACED
    also: Collection[int] = ()


def _beside(
    tx: Tx, domain: str, owns: Sequence[_Own], *, limit: int, apart: Collection[State] = ()
) -> list[list[Neighbour]]:
    """Of each so many by their words, and beside them those of `also` that are of its cluster."""
    nears = _near(tx, domain, owns, limit=limit, apart=",".join(apart))
    chosen = [_chosen(own, near, limit) for own, near in zip(owns, nears, strict=True)]
    ids = sorted({*chain.from_iterable(chosen)})
    members = {row.example_id: row for row in tx.execute(_MEMBERS, {"ids": listed(ids)})}
    return [
        _neighbours(own, near, [members[id_] for id_ in among if id_ in members])
        for own, near, among in zip(owns, nears, chosen, strict=True)
    ]


def _chosen(own: _Own, near: Mapping[int, tuple[Alike, int]], limit: int) -> set[int]:
    by_words = [id_ for id_, (alike, _) in near.items() if alike.near]
    by_words = sorted(by_words, key=lambda id_: (-near[id_][0].wording, id_))[:limit]
    return {*by_words, *(id_ for id_ in own.also if id_ in near and near[id_][1] == own.cluster)}


def _neighbours(
    own: _Own, near: Mapping[int, tuple[Alike, int]], members: Iterable[Row[Any]]
) -> list[Neighbour]:
    """The nearest first."""
    neighbours = [
        Neighbour(
            example_id=row.example_id,
            likeness=near[row.example_id][0].wording,
            same_numbers=same_numbers(own.problem, problem := problem_of(row.outputs)),
            same_cluster=_is_one(own, *near[row.example_id]),
            state=row.state,
            source=row.source,
            problem=problem,
        )
        for row in members
    ]
    return sorted(neighbours, key=lambda one: (-one.likeness, not one.same_numbers, one.example_id))


def _is_one(own: _Own, alike: Alike, home: int) -> bool:
    return alike.linked if own.cluster is None else home == own.cluster


def _near(
    tx: Tx, domain: str, owns: Sequence[_Own], *, limit: int, apart: str
) -> list[dict[int, tuple[Alike, int]]]:
    """Of each, likeness and cluster of its template's, of those that are near, and of `also`."""
    from tdsys.core.matching import beside  # noqa: PLC0415  # numpy

    mine = [sketch(own.problem) for own in owns]
    marks = {"places": listed(range(len(mine))), "marks": listed(one.template for one in mine)}
    asked = {**marks, "domain": domain, "limit": limit + 1, "apart": apart}
    twins = {(place, id_) for place, id_ in tx.execute(_TWINS, asked)}
    also = {(place, id_) for place, own in enumerate(owns) for id_ in own.also}
    found = twins | also | _met(tx, mine, salt(domain), apart)
    homes, features = compared(tx, {id_ for _, id_ in found})
    pairs = [one for one in found if one[1] in homes and one[1] != owns[one[0]].example_id]
    near: list[dict[int, tuple[Alike, int]]] = [{} for _ in owns]
    for (place, id_), alike in zip(pairs, beside(mine, features, pairs), strict=True):
        told = SAME if (place, id_) in twins else alike
        if told.near or (place, id_) in also:
            near[place][id_] = told, homes[id_]
    return near


def _met(tx: Tx, mine: Sequence[Sketch], salt: int, apart: str) -> set[tuple[int, int]]:
    """The place of each, with whom it has most keys in common with, and with their siblings."""
    from tdsys.core.matching import MOST_PER_KEY, keyed  # noqa: PLC0415  # numpy

    found = keyed(dict(enumerate(mine)), salt=salt)
    given = {"keys": listed(found.keys.tolist()), "places": listed(found.owners.tolist())}
    limits = {"per_key": MOST_PER_KEY, "most": MOST_COMPARED}
    met = tx.execute(_NEAR, given | limits).all()
    ids = listed({id_ for _, id_ in met})
    standing = tx.execute(_STANDING, {"ids": ids, "siblings": SIBLINGS, "apart": apart})
    stand: dict[int, list[int]] = defaultdict(list)
    for id_, sibling in standing:
        stand[id_].append(sibling)
    return {(place, sibling) for place, id_ in met for sibling in stand[id_]}


_OWN = text(
    """
    SELECT kept.cluster, kept.domain, payload -> 'outputs' AS outputs
    FROM example_templates AS placed JOIN templates AS kept ON kept.id = placed.template_id
    JOIN example_bodies ON example_bodies.example_id = placed.example_id
    WHERE placed.example_id = :id
    """
)
_LOOKED_AT = "NOT examples.state = ANY (string_to_array(:apart, ','))"
_TWINS = text(
    f"""
    SELECT given.place, twin.example_id
    FROM (SELECT {unnested("places")} AS place, {unnested("marks")} AS mark) AS given
    JOIN templates AS kept ON kept.domain = :domain AND kept.mark = given.mark
    CROSS JOIN LATERAL (
        SELECT placed.example_id
        FROM example_templates AS placed JOIN examples ON examples.id = placed.example_id
        WHERE placed.template_id = kept.id AND placed.features IS NOT NULL AND {_LOOKED_AT}
        ORDER BY placed.example_id LIMIT :limit
    ) AS twin
    """  # noqa: S608
)
_NEAR = text(
    f"""
    SELECT place, example_id FROM (
        SELECT given.place, other.example_id, row_number() OVER (
            PARTITION BY given.place ORDER BY count(*) DESC, other.example_id
        ) AS nth
        FROM (SELECT {unnested("keys")} AS key, {unnested("places")} AS place) AS given
        CROSS JOIN LATERAL (
            SELECT kept.example_id FROM example_keys AS kept
            WHERE kept.key = given.key ORDER BY kept.example_id LIMIT :per_key
        ) AS other
        GROUP BY 1, 2
    ) AS found
    WHERE nth <= :most
    """  # noqa: S608
)
# Of each that is met it and the oldest of its template, where they are looked at.
_STANDING = text(
    f"""
    SELECT met.id, standing.id FROM (SELECT {unnested("ids")} AS id) AS met
    CROSS JOIN LATERAL (
        SELECT examples.id FROM examples WHERE examples.id = met.id AND {_LOOKED_AT}
        UNION
        (SELECT examples.id
         FROM example_templates AS own
         JOIN example_templates AS placed ON placed.template_id = own.template_id
         JOIN examples ON examples.id = placed.example_id
         WHERE own.example_id = met.id AND placed.features IS NOT NULL AND {_LOOKED_AT}
         ORDER BY examples.id LIMIT :siblings)
    ) AS standing
    """  # noqa: S608
)
_MEMBERS = text(
    f"""
    SELECT examples.id AS example_id, examples.state, examples.source,
           payload -> 'outputs' AS outputs
    FROM examples JOIN example_bodies ON example_bodies.example_id = examples.id
    WHERE examples.id IN (SELECT {unnested("ids")})
    """  # noqa: S608
)
