"""Which example is of which template, and which templates make a cluster of near-duplicates.

One rule: a domain's templates are compared and joined by one transaction at a time, and clusters
are only ever joined, so whatever workers do at once comes to what one would have come to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Row, text

from tdsys.core.sketching import (
    Alike,
    Forest,
    Sketch,
    packed,
    problem_of,
    salt,
    same_numbers,
    sketch,
)
from tdsys.store import vectors
from tdsys.store.engine import Tx

if TYPE_CHECKING:
    from tdsys.core.matching import Pairs

# Any number of our own, beside the domain's.
LOCK = 7_305
MOST_COMPARED = 100
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


class _Template(NamedTuple):
    """What all problems have in common that differ in numbers and names only."""

    id: int
    cluster: int
    led: bool
    is_new: bool


def unplaced(tx: Tx, *, example_ids: Iterable[int]) -> set[int]:
    """Which of these have no template yet."""
    return set(tx.scalars(_UNPLACED, {"ids": _list(example_ids)}))


def hold(tx: Tx, *, domain: str) -> None:
    """Wait until nobody else places examples of the domain; let go with the transaction."""
    tx.execute(_LOCK, {"lock": LOCK, "domain": domain})


def place(tx: Tx, *, domain: str, sketches: Mapping[int, Sketch]) -> None:
    """Give examples of one domain their template and cluster.

    An example that was placed before, or is gone, changes nothing.
    """
    tx.execute(_INDEXED)
    # Before the domain, as who forgets does it: so neither waits for the other in a circle.
    here = tx.scalars(_HERE, {"ids": _list(sketches)})
    sketches = {id_: sketches[id_] for id_ in here}
    hold(tx, domain=domain)
    templates = _templates(tx, domain, {one.template for one in sketches.values()})
    leading = _leading(sketches, templates)
    pairs = _add_keys(tx, sketches, leading=leading, salt=salt(domain))
    owners = {id_: templates[one.template] for id_, one in sketches.items()}
    features = {id_: packed(one) for id_, one in sketches.items()}
    forest = _joined(tx, owners, features, pairs)
    _add_templates(tx, domain, templates, forest)
    _add_examples(tx, owners, features)
    moved = forest.moved()
    _move(tx, {high: moved[high] for high in moved.keys() - _new(templates)})


def clusters(tx: Tx, *, example_ids: Iterable[int]) -> dict[int, int]:
    """The cluster of each of these examples that has one."""
    return dict(tx.execute(_CLUSTERS, {"ids": _list(example_ids)}).all())


def join(tx: Tx, *, pairs: Iterable[tuple[int, int]]) -> int:
    """Join the clusters of every two of these examples, of a domain that is held; how many."""
    ones = [pair for pair in pairs if pair[0] != pair[1]]
    owners = clusters(tx, example_ids={id_ for pair in ones for id_ in pair})
    forest = Forest()
    for one, other in ones:
        if one in owners and other in owners:
            forest.join(owners[one], owners[other])
    moved = forest.moved()
    _move(tx, moved)
    return len(moved)


def nearest(tx: Tx, *, example_id: int, limit: int) -> list[Neighbour]:
    """The most similar examples of its domain, the nearest first; none when it has no template.

    Beside those of much the same words, those of its cluster that its embedding is nearest to.
    """
    tx.execute(_INDEXED)
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


def nearest_to(tx: Tx, *, domain: str, new: Sequence[str], limit: int) -> list[list[Neighbour]]:
    """For each new problem the placed examples of a domain that it is most like, nearest first.

    `same_cluster` says that it would be linked with that one.
    """
    tx.execute(_INDEXED)
    found = _beside(tx, domain, [_Own(one) for one in new], limit=limit)
    return [near[:limit] for near in found]


class _Own(NamedTuple):
    """What neighbours are looked for by, `also` whatever their words."""

    problem: str
    cluster: int | None = None
    example_id: int = NOT_PLACED
    also: Collection[int] = ()


def _beside(tx: Tx, domain: str, owns: Sequence[_Own], *, limit: int) -> list[list[Neighbour]]:
    """Of each so many by their words, and beside them those of `also` that are of its cluster."""
    nears = _near(tx, domain, owns, limit=limit)
    chosen = [_chosen(own, near, limit) for own, near in zip(owns, nears, strict=True)]
    ids = sorted({*chain.from_iterable(chosen)})
    members = {row.example_id: row for row in tx.execute(_MEMBERS, {"ids": _list(ids)})}
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
    tx: Tx, domain: str, owns: Sequence[_Own], *, limit: int
) -> list[dict[int, tuple[Alike, int]]]:
    """Of each, likeness and cluster of its template's, of those that are near, and of `also`."""
    from tdsys.core.matching import beside  # noqa: PLC0415  # numpy

    mine = [sketch(own.problem) for own in owns]
    marks = {"places": _list(range(len(mine))), "marks": _list(one.template for one in mine)}
    told = tx.execute(_TWINS, {**marks, "domain": domain, "limit": limit + 1})
    twins = {(place, id_) for place, id_ in told}
    also = {(place, id_) for place, own in enumerate(owns) for id_ in own.also}
    met = twins | also | _met(tx, mine, salt(domain))
    homes, features = _compared(tx, {id_ for _, id_ in met})
    pairs = [one for one in met if one[1] in homes and one[1] != owns[one[0]].example_id]
    near: list[dict[int, tuple[Alike, int]]] = [{} for _ in owns]
    for (place, id_), alike in zip(pairs, beside(mine, features, pairs), strict=True):
        found = SAME if (place, id_) in twins else alike
        if found.near or (place, id_) in also:
            near[place][id_] = found, homes[id_]
    return near


def _met(tx: Tx, mine: Sequence[Sketch], salt: int) -> set[tuple[int, int]]:
    """The place of each, and whom it has most keys in common with."""
    from tdsys.core.matching import MOST_PER_KEY, keyed  # noqa: PLC0415  # numpy

    found = keyed(dict(enumerate(mine)), salt=salt)
    given = {"keys": _list(found.keys.tolist()), "places": _list(found.owners.tolist())}
    limits = {"per_key": MOST_PER_KEY, "most": MOST_COMPARED}
    return {(place, id_) for place, id_ in tx.execute(_NEAR, given | limits)}


def _templates(tx: Tx, domain: str, marks: Collection[int]) -> dict[int, _Template]:
    """The templates of these marks; those that are new get an id here."""
    known = tx.execute(_KNOWN, {"domain": domain, "marks": _list(marks)})
    found = {mark: _Template(id_, cluster, led, is_new=False) for id_, mark, cluster, led in known}
    new = [mark for mark in marks if mark not in found]
    ids = tx.scalars(_NEW_IDS, {"count": len(new)})
    made = [_Template(id_, id_, led=False, is_new=True) for id_ in ids]
    return found | dict(zip(new, made, strict=True))


def _new(templates: Mapping[int, _Template]) -> set[int]:
    return {one.id for one in templates.values() if one.is_new}


def _leading(sketches: Mapping[int, Sketch], templates: Mapping[int, _Template]) -> set[int]:
    """The first example of each template of which none has the keys of its wording."""
    first: dict[int, int] = {}
    for id_ in sorted(sketches):
        first.setdefault(sketches[id_].template, id_)
    return {id_ for mark, id_ in first.items() if not templates[mark].led}


def _add_keys(
    tx: Tx, sketches: Mapping[int, Sketch], *, leading: Collection[int], salt: int
) -> Pairs:
    """Note the keys of examples; who has some in common, the likeliest pairs first."""
    from tdsys.core.matching import keyed, met, read  # noqa: PLC0415  # numpy

    found = keyed(sketches, salt=salt, leading=leading)
    stored = tx.execute(_BY_KEYS, {"keys": _list(found.keys.tolist())}).one()
    pairs, kept = met(found, before=read(*stored))
    given = {"keys": _list(kept.keys.tolist()), "examples": _list(kept.owners.tolist())}
    tx.execute(_ADD_KEYS, given)
    return pairs


def _joined(
    tx: Tx, owners: Mapping[int, _Template], features: Mapping[int, bytes], pairs: Pairs
) -> Forest:
    """All that is linked, joined."""
    from tdsys.core.matching import joined  # noqa: PLC0415  # numpy

    homes, others = _compared(tx, {*pairs.others.tolist()} - owners.keys())
    homes |= {id_: one.cluster for id_, one in owners.items()}
    return joined(pairs, homes, {**others, **features})


def _add_templates(tx: Tx, domain: str, templates: Mapping[int, _Template], forest: Forest) -> None:
    """Note what is new in the cluster it is of by now, and that all are led."""
    new = {mark: one.id for mark, one in templates.items() if one.is_new}
    given = {
        "domain": domain,
        "ids": _list(new.values()),
        "marks": _list(new),
        "clusters": _list(forest.root(id_) for id_ in new.values()),
    }
    tx.execute(_ADD_TEMPLATES, given)
    if led := [one.id for one in templates.values() if not one.led and not one.is_new]:
        tx.execute(_LEAD, {"ids": _list(led)})


def _add_examples(tx: Tx, owners: Mapping[int, _Template], features: Mapping[int, bytes]) -> None:
    given = {
        "ids": _list(owners),
        "templates": _list(one.id for one in owners.values()),
        "features": ",".join([features[id_].hex() for id_ in owners]),
    }
    tx.execute(_ADD_EXAMPLES, given)


def _move(tx: Tx, moved: Mapping[int, int]) -> None:
    if moved:
        tx.execute(_JOIN, {"high": _list(moved), "low": _list(moved.values())})


def _compared(tx: Tx, ids: Collection[int]) -> tuple[dict[int, int], dict[int, bytes]]:
    """The clusters of these examples that are placed, and their features."""
    homes: dict[int, int] = {}
    features: dict[int, bytes] = {}
    if not ids:
        return homes, features
    told, kept = tx.execute(_COMPARED, {"ids": _list(sorted(ids))}).one()
    # One text for all: rows cost several times that.
    numbers, at = map(int, told.split(",") if told else ()), 0
    for id_, cluster, length in zip(numbers, numbers, numbers, strict=True):
        homes[id_], features[id_] = cluster, kept[at : at + length]
        at += length
    return homes, features


def _list(numbers: Iterable[int]) -> str:
    """As text: an array costs psycopg several times what joining it costs us."""
    return ",".join(map(str, numbers))


def _numbers(name: str) -> str:
    return f"unnest(CAST(string_to_array(:{name}, ',') AS bigint[]))"


# A plan that is kept with its connection may have been made while the tables were nearly empty,
# and would read all of them ever after; and compiling one takes longer than running it.
_PLANNED = (
    "set_config('enable_seqscan', 'off', true), "
    "set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true), "
    "set_config('max_parallel_workers_per_gather', '0', true)"
)
_INDEXED = text(f"SELECT {_PLANNED}")
_LOCK = text(f"SELECT pg_advisory_xact_lock(:lock, hashtext(:domain)), {_PLANNED}")
_HERE = text(
    f"SELECT id FROM examples WHERE id IN (SELECT {_numbers('ids')}) ORDER BY id FOR KEY SHARE"  # noqa: S608
)
_NEW_IDS = text(
    """
    SELECT nextval(pg_get_serial_sequence('templates', 'id')) FROM generate_series(1, :count)
    """
)
_KNOWN = text(
    f"""
    SELECT id, mark, cluster, led FROM templates
    WHERE domain = :domain AND mark IN (SELECT {_numbers("marks")})
    """  # noqa: S608
)
_JOIN = text(
    f"""
    UPDATE templates SET cluster = moved.low
    FROM (SELECT {_numbers("high")} AS high, {_numbers("low")} AS low) AS moved
    WHERE cluster = moved.high
    """  # noqa: S608
)
_CLUSTERS = text(
    f"""
    SELECT placed.example_id, kept.cluster FROM example_templates AS placed
    JOIN templates AS kept ON kept.id = placed.template_id
    WHERE placed.example_id IN (SELECT {_numbers("ids")})
    """  # noqa: S608
)
_UNPLACED = text(
    f"""
    SELECT id FROM {_numbers("ids")} AS id WHERE NOT EXISTS (
        SELECT FROM example_templates WHERE example_id = id AND features IS NOT NULL
    )
    """  # noqa: S608  # ours, from above
)
_ADD_TEMPLATES = text(
    f"""
    INSERT INTO templates (id, domain, mark, cluster, led)
    SELECT id, :domain, mark, cluster, true
    FROM (SELECT {_numbers("ids")} AS id, {_numbers("marks")} AS mark,
                 {_numbers("clusters")} AS cluster) AS given
    """  # noqa: S608
)
_LEAD = text(f"UPDATE templates SET led = true WHERE id IN (SELECT {_numbers('ids')})")  # noqa: S608
_ADD_EXAMPLES = text(
    f"""
    INSERT INTO example_templates (example_id, template_id, features)
    SELECT id, template_id, decode(features, 'hex')
    FROM (SELECT {_numbers("ids")} AS id, {_numbers("templates")} AS template_id,
                 unnest(string_to_array(:features, ',')) AS features) AS given
    ON CONFLICT (example_id) DO UPDATE SET features = excluded.features
    WHERE example_templates.features IS NULL
    """  # noqa: S608
)
_ADD_KEYS = text(
    f"""
    INSERT INTO example_keys (key, example_id)
    SELECT {_numbers("keys")}, {_numbers("examples")}
    """
)
_BY_KEYS = text(
    """
    SELECT string_agg(CAST(key AS text), ','), string_agg(CAST(owners AS text), ','),
           string_agg(examples, ',')
    FROM (
        SELECT key, count(*) AS owners,
               string_agg(CAST(example_id AS text), ',' ORDER BY example_id) AS examples
        FROM example_keys WHERE key = ANY (CAST(string_to_array(:keys, ',') AS bigint[]))
        GROUP BY key
    ) AS found
    """
)
_COMPARED = text(
    """
    SELECT string_agg(concat_ws(',', example_id, cluster, length(features)), ','),
           string_agg(features, CAST('' AS bytea))
    FROM example_templates JOIN templates ON templates.id = template_id
    WHERE example_id = ANY (CAST(string_to_array(:ids, ',') AS bigint[]))
      AND features IS NOT NULL
    """
)
_OWN = text(
    """
    SELECT kept.cluster, kept.domain, payload -> 'outputs' AS outputs
    FROM example_templates AS placed JOIN templates AS kept ON kept.id = placed.template_id
    JOIN example_bodies ON example_bodies.example_id = placed.example_id
    WHERE placed.example_id = :id
    """
)
_TWINS = text(
    f"""
    SELECT given.place, twin.example_id
    FROM (SELECT {_numbers("places")} AS place, {_numbers("marks")} AS mark) AS given
    JOIN templates AS kept ON kept.domain = :domain AND kept.mark = given.mark
    CROSS JOIN LATERAL (
        SELECT placed.example_id FROM example_templates AS placed
        WHERE placed.template_id = kept.id AND placed.features IS NOT NULL
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
        FROM (SELECT {_numbers("keys")} AS key, {_numbers("places")} AS place) AS given
        CROSS JOIN LATERAL (
            SELECT kept.example_id FROM example_keys AS kept
            WHERE kept.key = given.key ORDER BY kept.example_id LIMIT :per_key
        ) AS other
        GROUP BY 1, 2
    ) AS found
    WHERE nth <= :most
    """  # noqa: S608
)
_MEMBERS = text(
    f"""
    SELECT examples.id AS example_id, examples.state, examples.source,
           payload -> 'outputs' AS outputs
    FROM examples JOIN example_bodies ON example_bodies.example_id = examples.id
    WHERE examples.id IN (SELECT {_numbers("ids")})
    """  # noqa: S608
)
