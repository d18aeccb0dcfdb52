"""Which example is of which template, and which templates make a cluster of near-duplicates.

One rule: a domain's templates are compared and joined by one transaction at a time, and clusters
are only ever joined, so whatever workers do at once comes to what one would have come to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from sqlalchemy import text

from tdsys.core.sketching import (
    LINKED,
    LINKED_BY_NUMBERS,
    NEAR,
    Forest,
    Probe,
    Sketch,
    linked,
    packed,
    restored,
    salt,
)
from tdsys.store import vectors
from tdsys.store.engine import Tx

# Any number of our own, beside the domain's.
LOCK = 7_305
# The first so many templates of a key stand for all: a key that more have says nothing about them.
MOST_PER_KEY = 25
MOST_COMPARED = 100
# The id of no template and no example.
NOT_PLACED = 0


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
    """A template as it is stored."""

    id: int
    cluster: int
    features: bytes


class _Placed(NamedTuple):
    """A template of what is being placed; one that `is_new` is not stored yet."""

    id: int
    cluster: int
    features: bytes
    sketch: Sketch
    is_new: bool


class _Own(NamedTuple):
    """What neighbours are looked for by."""

    template_id: int
    domain: str
    numbers: int | None
    sketch: Sketch


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
    placed = _placed(tx, domain, {one.template: one for one in sketches.values()})
    new = [one for one in placed.values() if one.is_new]
    ids = {one.sketch.template: one.id for one in placed.values()}
    owners = {id_: ids[one.template] for id_, one in sketches.items()}
    mark = salt(domain)
    numbers = {id_: mark ^ one.numbers for id_, one in sketches.items() if one.numbers is not None}
    same = _add_numbers(tx, numbers, owners)
    forest = _joined(tx, placed, _add_keys(tx, new, salt=mark), same)
    _add_templates(tx, domain, new, forest)
    _add_examples(tx, owners, numbers)
    moved = forest.moved()
    stored = moved.keys() - {one.id for one in new}
    _move(tx, {high: moved[high] for high in stored})


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

    Probe those of much the same words, those of its cluster that its embedding is nearest to.
    """
    tx.execute(_INDEXED)
    row = tx.execute(_OWN, {"id": example_id}).one_or_none()
    if row is None:
        return []
    own = _Own(row.id, row.domain, row.numbers, restored(row.mark, row.features))
    near = {one.other_id for one in vectors.beside(tx, example_id=example_id, limit=limit)}
    found = _beside(tx, own, mine=row.cluster, example_id=example_id, limit=limit, also=near)
    others = [one.example_id for one in found] if near else []
    cosines = vectors.cosines(tx, example_id=example_id, others=others)
    told = [one._replace(embedded=cosines.get(one.example_id)) for one in found]
    return sorted(told, key=lambda one: -max(one.likeness, one.embedded or 0.0))[:limit]


def nearest_to(tx: Tx, *, domain: str, new: Sequence[Sketch], limit: int) -> list[list[Neighbour]]:
    """For each new problem the placed examples of a domain that it is most like, nearest first.

    `same_cluster` says that it would be linked with that one.
    """
    tx.execute(_INDEXED)
    marks = {"domain": domain, "marks": _list({one.template for one in new})}
    known = {mark: id_ for id_, mark, _ in tx.execute(_KNOWN, marks)}
    found = []
    for one in new:
        numbers = None if one.numbers is None else salt(domain) ^ one.numbers
        own = _Own(known.get(one.template, NOT_PLACED), domain, numbers, one)
        near = _beside(tx, own, mine=None, example_id=NOT_PLACED, limit=limit)[:limit]
        found.append([_as_linked(neighbour) for neighbour in near])
    return found


def _as_linked(one: Neighbour) -> Neighbour:
    return one._replace(same_cluster=linked(one.likeness, same_numbers=one.same_numbers))


def _beside(
    tx: Tx,
    own: _Own,
    *,
    mine: int | None,
    example_id: int,
    limit: int,
    also: Collection[int] = (),
) -> list[Neighbour]:
    """So many by their words, and beside them those of `also` that are of its cluster."""
    probe = Probe(own.sketch)
    near = _near_templates(tx, own, probe)
    near.sort(key=lambda pair: -pair[1])
    found = {template.id: (template, alike) for template, alike in near[:limit]}
    for template in _templates(tx, _owners(tx, also)):
        if template.cluster == mine:
            alike = probe.likeness(template.features, least=0.0)
            found.setdefault(template.id, (template, alike))
    if not found:
        return []
    rows = tx.execute(_MEMBERS, {"ids": _list(found), "self": example_id, "limit": limit})
    neighbours = [
        Neighbour(
            example_id=row.example_id,
            likeness=found[row.template_id][1],
            same_numbers=own.numbers is not None and row.numbers == own.numbers,
            same_cluster=found[row.template_id][0].cluster == mine,
            state=row.state,
            source=row.source,
            problem=row.problem,
        )
        for row in rows
    ]
    neighbours.sort(key=lambda one: (-one.likeness, not one.same_numbers, one.example_id))
    return neighbours


def _near_templates(tx: Tx, own: _Own, probe: Probe) -> list[tuple[_Template, float]]:
    from tdsys.core.matching import keyed  # noqa: PLC0415  # numpy, for who compares

    found = keyed({own.template_id: packed(own.sketch.features)}, salt=salt(own.domain))
    by_words = tx.scalars(
        _NEAR, {"keys": _list(found.keys.tolist()), "per_key": MOST_PER_KEY, "most": MOST_COMPARED}
    ).all()
    same = _same_numbers(tx, own.numbers)
    near: list[tuple[_Template, float]] = []
    for one in _templates(tx, {own.template_id, *by_words, *same}):
        is_own = one.id == own.template_id
        least = LINKED_BY_NUMBERS if one.id in same else NEAR
        alike = 1.0 if is_own else probe.likeness(one.features, least=least)
        if alike >= least:
            near.append((one, alike))
    return near


def _placed(tx: Tx, domain: str, marks: Mapping[int, Sketch]) -> dict[int, _Placed]:
    """The templates of these marks by their ids, which those that are new get here."""
    given = {"domain": domain, "marks": _list(marks)}
    known = {mark: (id_, cluster) for id_, mark, cluster in tx.execute(_KNOWN, given)}
    ids = iter(tx.scalars(_NEW_IDS, {"count": len(marks) - len(known)}).all())
    placed = []
    for mark, one in marks.items():
        id_, cluster = known.get(mark) or (next(ids),) * 2
        placed.append(_Placed(id_, cluster, packed(one.features), one, mark not in known))
    return {one.id: one for one in placed}


def _add_keys(tx: Tx, new: Sequence[_Placed], *, salt: int) -> list[tuple[int, int]]:
    """Note the keys of what is new; which have enough in common with it, the likeliest first."""
    from tdsys.core.matching import keyed, met, read  # noqa: PLC0415  # numpy

    if not new:
        return []
    found = keyed({one.id: one.features for one in new}, salt=salt)
    stored = tx.execute(_BY_KEYS, {"keys": _list(found.keys.tolist())}).one()
    pairs, kept = met(found, before=read(*stored), most=MOST_PER_KEY)
    given = {"keys": _list(kept.keys.tolist()), "templates": _list(kept.owners.tolist())}
    tx.execute(_ADD_KEYS, given)
    return pairs


def _add_templates(tx: Tx, domain: str, new: Sequence[_Placed], forest: Forest) -> None:
    """Note what is new in the cluster it is of by now: nothing has to be moved again."""
    given = {
        "domain": domain,
        "ids": _list(one.id for one in new),
        "marks": _list(one.sketch.template for one in new),
        "clusters": _list(forest.root(one.id) for one in new),
        "features": ",".join([one.features.hex() for one in new]),
    }
    tx.execute(_ADD_TEMPLATES, given)


def _add_examples(tx: Tx, owners: Mapping[int, int], numbers: Mapping[int, int]) -> None:
    given = {
        "ids": _list(owners),
        "templates": _list(owners.values()),
        "numbers": ",".join([str(numbers.get(id_, "")) for id_ in owners]),
    }
    tx.execute(_ADD_EXAMPLES, given)


def _add_numbers(
    tx: Tx, numbers: Mapping[int, int], owners: Mapping[int, int]
) -> set[tuple[int, int]]:
    """Note each template's numbers; which templates are met with the same ones now."""
    told = {"numbers": _list(numbers.values()), "templates": _list(owners[n] for n in numbers)}
    met = tx.execute(_ADD_NUMBERS, told).all()
    fresh = {"numbers": _list(n for n, _ in met), "templates": _list(t for _, t in met)}
    found = _pairs(tx.scalar(_BY_NUMBERS, {**fresh, "most": MOST_PER_KEY}))
    return {(min(pair), max(pair)) for pair in found}


def _joined(
    tx: Tx,
    placed: Mapping[int, _Placed],
    common: Iterable[tuple[int, int]],
    same: Iterable[tuple[int, int]],
) -> Forest:
    """All that is linked, joined; one of each pair at least is `placed` now."""
    # Who has most in common comes first: the rest of their cluster need not be looked at then.
    others = {id_ for pair in chain(common, same) for id_ in pair} - placed.keys()
    templates: dict[int, _Template | _Placed] = {one.id: one for one in _templates(tx, others)}
    templates |= placed
    probes: dict[int, Probe] = {}
    forest = Forest()
    for pairs, least in ((common, LINKED), (same, LINKED_BY_NUMBERS)):
        for pair in pairs:
            one, other = pair if pair[0] in placed else reversed(pair)
            ours, theirs = templates[one].cluster, templates[other].cluster
            if forest.root(ours) == forest.root(theirs):
                continue  # most pairs that share keys are one cluster already
            if one not in probes:
                probes[one] = Probe(placed[one].sketch)
            if probes[one].likeness(templates[other].features, least=least) >= least:
                forest.join(ours, theirs)
    return forest


def _move(tx: Tx, moved: Mapping[int, int]) -> None:
    if moved:
        tx.execute(_JOIN, {"high": _list(moved), "low": _list(moved.values())})


def _same_numbers(tx: Tx, numbers: int | None) -> set[int]:
    if numbers is None:
        return set()
    return set(tx.scalars(_SAME_NUMBERS, {"numbers": numbers, "most": MOST_PER_KEY}))


def _templates(tx: Tx, ids: Collection[int]) -> list[_Template]:
    if not ids:
        return []
    told, features = tx.execute(_TEMPLATES, {"ids": _list(sorted(ids))}).one()
    numbers = map(int, told.split(",") if told else ())
    found, at = [], 0
    for id_, cluster, length in zip(numbers, numbers, numbers, strict=True):
        found.append(_Template(id_, cluster, features[at : at + length]))
        at += length
    return found


def _owners(tx: Tx, example_ids: Collection[int]) -> set[int]:
    """The templates of these examples."""
    return set(tx.scalars(_TEMPLATES_OF, {"ids": _list(example_ids)})) if example_ids else set()


def _list(numbers: Iterable[int]) -> str:
    """As text: an array costs psycopg several times what joining it costs us."""
    return ",".join(map(str, numbers))


def _pairs(told: str | None) -> Iterator[tuple[int, int]]:
    """What Postgres told as one text: rows cost several times that."""
    numbers = map(int, told.split(",") if told else ())
    return zip(numbers, numbers, strict=True)


def _numbers(name: str) -> str:
    return f"unnest(CAST(string_to_array(:{name}, ',') AS bigint[]))"


# A plan that is kept with its connection may have been made while the tables were nearly empty,
# and would read all of them ever after; and compiling one takes longer than running it.
_PLANNED = (
    "set_config('enable_seqscan', 'off', true), "
    "set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true)"
)
_INDEXED = text(f"SELECT {_PLANNED}")
_LOCK = text(f"SELECT pg_advisory_xact_lock(:lock, hashtext(:domain)), {_PLANNED}")
_HERE = text(
    f"SELECT id FROM examples WHERE id IN (SELECT {_numbers('ids')}) ORDER BY id FOR KEY SHARE"  # noqa: S608
)
_UNPLACED = text(
    f"""
    SELECT id FROM {_numbers("ids")} AS id
    WHERE NOT EXISTS (SELECT FROM example_templates WHERE example_id = id)
    """  # noqa: S608  # ours, from above
)
_NEW_IDS = text(
    """
    SELECT nextval(pg_get_serial_sequence('templates', 'id')) FROM generate_series(1, :count)
    """
)
_ADD_TEMPLATES = text(
    f"""
    INSERT INTO templates (id, domain, mark, features, cluster)
    SELECT id, :domain, mark, decode(coalesce(features, ''), 'hex'), cluster
    FROM (SELECT {_numbers("ids")} AS id, {_numbers("marks")} AS mark,
                 unnest(string_to_array(:features, ',')) AS features,
                 {_numbers("clusters")} AS cluster) AS given
    """  # noqa: S608
)
_KNOWN = text(
    f"""
    SELECT id, mark, cluster FROM templates
    WHERE domain = :domain AND mark IN (SELECT {_numbers("marks")})
    """  # noqa: S608
)
_ADD_EXAMPLES = text(
    f"""
    INSERT INTO example_templates (example_id, template_id, numbers)
    SELECT id, template_id, CAST(nullif(numbers, '') AS bigint)
    FROM (SELECT {_numbers("ids")} AS id, {_numbers("templates")} AS template_id,
                 unnest(string_to_array(:numbers, ',')) AS numbers) AS given
    ON CONFLICT DO NOTHING
    """  # noqa: S608
)
_ADD_KEYS = text(
    f"""
    INSERT INTO template_keys (key, template_id)
    SELECT {_numbers("keys")}, {_numbers("templates")}
    """
)
_BY_KEYS = text(
    """
    SELECT string_agg(CAST(key AS text), ','), string_agg(CAST(owners AS text), ','),
           string_agg(templates, ',')
    FROM (
        SELECT key, count(*) AS owners,
               string_agg(CAST(template_id AS text), ',' ORDER BY template_id) AS templates
        FROM template_keys WHERE key = ANY (CAST(string_to_array(:keys, ',') AS bigint[]))
        GROUP BY key
    ) AS found
    """
)
_ADD_NUMBERS = text(
    f"""
    INSERT INTO template_numbers (numbers, template_id)
    SELECT {_numbers("numbers")}, {_numbers("templates")} ON CONFLICT DO NOTHING
    RETURNING numbers, template_id
    """
)
_BY_NUMBERS = text(
    f"""
    SELECT string_agg(concat_ws(',', given.template_id, other.template_id), ',')
    FROM (SELECT {_numbers("numbers")} AS numbers, {_numbers("templates")} AS template_id) AS given
    CROSS JOIN LATERAL (
        SELECT kept.template_id FROM template_numbers AS kept
        WHERE kept.numbers = given.numbers AND kept.template_id <> given.template_id
        ORDER BY kept.template_id LIMIT :most
    ) AS other
    """  # noqa: S608
)
_TEMPLATES = text(
    f"""
    SELECT string_agg(concat_ws(',', id, cluster, length(features)), ','),
           string_agg(features, CAST('' AS bytea))
    FROM templates WHERE id IN (SELECT {_numbers("ids")})
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
_TEMPLATES_OF = text(
    f"""
    SELECT template_id FROM example_templates WHERE example_id IN (SELECT {_numbers("ids")})
    """  # noqa: S608
)
_OWN = text(
    """
    SELECT kept.id, kept.cluster, kept.domain, kept.mark, kept.features, placed.numbers
    FROM example_templates AS placed JOIN templates AS kept ON kept.id = placed.template_id
    WHERE placed.example_id = :id
    """
)
_NEAR = text(
    f"""
    SELECT other.template_id FROM (SELECT {_numbers("keys")} AS key) AS given
    CROSS JOIN LATERAL (
        SELECT kept.template_id FROM template_keys AS kept
        WHERE kept.key = given.key ORDER BY kept.template_id LIMIT :per_key
    ) AS other
    GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT :most
    """  # noqa: S608
)
_SAME_NUMBERS = text(
    """
    SELECT template_id FROM template_numbers
    WHERE numbers = CAST(:numbers AS bigint) ORDER BY template_id LIMIT :most
    """
)
_MEMBERS = text(
    f"""
    SELECT member.example_id, member.template_id, member.numbers, examples.state, examples.source,
           coalesce(payload -> 'outputs' ->> 'problem', '') AS problem
    FROM (SELECT {_numbers("ids")} AS id) AS near
    CROSS JOIN LATERAL (
        SELECT * FROM example_templates
        WHERE template_id = near.id AND example_id <> :self ORDER BY example_id LIMIT :limit
    ) AS member
    JOIN examples ON examples.id = member.example_id
    JOIN example_bodies ON example_bodies.example_id = member.example_id
    """  # noqa: S608
)
