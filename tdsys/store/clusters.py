"""Which example is of which template, and which templates make a cluster of near-duplicates.

One rule: a domain's templates are compared and joined by one transaction at a time, and clusters
are only ever joined, so whatever workers do at once comes to what one would have come to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import text

from tdsys.core.sketching import (
    COMMON_KEYS,
    LINKED_BY_NUMBERS,
    NEAR,
    Forest,
    Kept,
    Sketch,
    kept,
    keys,
    likeness_to,
    linked,
    packed,
    restored,
    salted,
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


def place(tx: Tx, *, domain: str, sketches: Mapping[int, Sketch]) -> int:
    """Give examples of one domain their template and cluster; how many clusters were joined.

    An example that was placed before, or is gone, changes nothing.
    """
    hold(tx, domain=domain)
    marks = {one.template: one for one in sketches.values()}
    fresh = _add_templates(tx, domain, marks)
    ids = {mark: id_ for id_, mark in tx.execute(_KNOWN, {"domain": domain, "marks": _list(marks)})}
    owners = {id_: ids[one.template] for id_, one in sketches.items()}
    same = _add_examples(tx, domain, sketches, owners)
    common = _common(tx, domain, {ids[mark]: marks[mark] for mark in fresh})
    return _join(tx, common, same, {ids[mark]: one for mark, one in marks.items()})


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
    return _moved(tx, forest)


def nearest(tx: Tx, *, example_id: int, limit: int) -> list[Neighbour]:
    """The most similar examples of its domain, the nearest first; none when it has no template.

    Beside those of much the same words, those of its cluster that its embedding is nearest to.
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
    known = {mark: id_ for id_, mark in tx.execute(_KNOWN, marks)}
    found = []
    for one in new:
        numbers = None if one.numbers is None else salted(domain, [one.numbers])[0]
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
    near = _near_templates(tx, own)
    near.sort(key=lambda pair: -pair[1])
    found = {template.id: (template, alike) for template, alike in near[:limit]}
    for template in _templates(tx, _owners(tx, also)):
        if template.cluster == mine:
            alike = likeness_to(own.sketch, kept(template.features))
            found.setdefault(template.id, (template, alike))
    if not found:
        return []
    rows = tx.execute(_MEMBERS, {"ids": _list(found), "self": example_id, "limit": limit})
    beside = [
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
    beside.sort(key=lambda one: (-one.likeness, not one.same_numbers, one.example_id))
    return beside


def _near_templates(tx: Tx, own: _Own) -> list[tuple[_Template, float]]:
    sketch = own.sketch
    wanted = _list(salted(own.domain, keys(sketch.features)))
    by_words = tx.scalars(
        _NEAR, {"keys": wanted, "per_key": MOST_PER_KEY, "most": MOST_COMPARED}
    ).all()
    same = _same_numbers(tx, own.numbers)
    found: list[tuple[_Template, float]] = []
    for one in _templates(tx, {own.template_id, *by_words, *same}):
        is_own = one.id == own.template_id
        alike = 1.0 if is_own else likeness_to(sketch, kept(one.features))
        if alike >= (LINKED_BY_NUMBERS if one.id in same else NEAR):
            found.append((one, alike))
    return found


def _add_templates(tx: Tx, domain: str, marks: Mapping[int, Sketch]) -> list[int]:
    """The marks of those that were not there."""
    features = ",".join(packed(one.features).hex() for one in marks.values())
    given = {"domain": domain, "marks": _list(marks), "features": features}
    return list(tx.scalars(_ADD_TEMPLATES, given))


def _add_examples(
    tx: Tx, domain: str, sketches: Mapping[int, Sketch], owners: Mapping[int, int]
) -> set[tuple[int, int]]:
    """Note each one's template and numbers; which templates are met with the same numbers now."""
    told = {id_: one.numbers for id_, one in sketches.items() if one.numbers is not None}
    numbers = dict(zip(told, map(str, salted(domain, told.values())), strict=True))
    given = {
        "ids": _list(sketches),
        "templates": _list(owners[id_] for id_ in sketches),
        "numbers": ",".join([numbers.get(id_, "") for id_ in sketches]),
    }
    tx.execute(_ADD_EXAMPLES, given)
    pairs = {
        "numbers": ",".join(numbers.values()),
        "templates": _list(owners[id_] for id_ in numbers),
    }
    met = tx.execute(_ADD_NUMBERS, pairs).all()
    fresh = {"numbers": _list(n for n, _ in met), "templates": _list(t for _, t in met)}
    rows = tx.execute(_BY_NUMBERS, {**fresh, "most": MOST_PER_KEY}).all()
    return {(min(pair), max(pair)) for pair in map(tuple, rows)}


def _common(tx: Tx, domain: str, fresh: Mapping[int, Sketch]) -> list[tuple[int, int]]:
    """Write the keys of new templates; which others have enough of them, most in common first."""
    found = sorted(
        (word, id_) for id_, one in fresh.items() for word in salted(domain, keys(one.features))
    )
    given = {
        "templates": _list(id_ for _, id_ in found),
        "keys": _list(word for word, _ in found),
    }
    tx.execute(_ADD_KEYS, given)
    limits = {"most": MOST_PER_KEY, "common": COMMON_KEYS}
    rows = tx.execute(_BY_KEYS, {**given, **limits}).all()
    return [(one, other) for one, other, _ in sorted(rows, key=itemgetter(2), reverse=True)]


def _join(
    tx: Tx,
    common: Iterable[tuple[int, int]],
    same: set[tuple[int, int]],
    placed: Mapping[int, Sketch],
) -> int:
    """Join the clusters of every pair that is linked; one of each pair is `placed` just now."""
    # Who has most in common comes first: the rest of their cluster need not be looked at then.
    pairs = dict.fromkeys([*((min(pair), max(pair)) for pair in common), *sorted(same)])
    known = {one.id: one for one in _templates(tx, {id_ for pair in pairs for id_ in pair})}
    read: dict[int, Kept] = {}
    forest = Forest()
    for pair in pairs:
        one, other = pair if pair[0] in placed else reversed(pair)
        owners = known[one].cluster, known[other].cluster
        if forest.root(owners[0]) == forest.root(owners[1]):
            continue  # most pairs that share keys are one cluster already
        if other not in read:
            read[other] = kept(known[other].features)
        if linked(likeness_to(placed[one], read[other]), same_numbers=pair in same):
            forest.join(*owners)
    return _moved(tx, forest)


def _moved(tx: Tx, forest: Forest) -> int:
    moved = forest.moved()
    if moved:
        tx.execute(_JOIN, {"high": _list(moved), "low": _list(moved.values())})
    return len(moved)


def _same_numbers(tx: Tx, numbers: int | None) -> set[int]:
    if numbers is None:
        return set()
    return set(tx.scalars(_SAME_NUMBERS, {"numbers": numbers, "most": MOST_PER_KEY}))


def _templates(tx: Tx, ids: Collection[int]) -> list[_Template]:
    if not ids:
        return []
    rows = tx.execute(_TEMPLATES, {"ids": _list(sorted(ids))}).all()
    return [_Template(row.id, row.cluster, row.features) for row in rows]


def _owners(tx: Tx, example_ids: Collection[int]) -> set[int]:
    """The templates of these examples."""
    return set(tx.scalars(_TEMPLATES_OF, {"ids": _list(example_ids)})) if example_ids else set()


def _list(numbers: Iterable[int]) -> str:
    """As text: an array costs psycopg several times what joining it costs us."""
    return ",".join(map(str, numbers))


def _numbers(name: str) -> str:
    return f"unnest(CAST(string_to_array(:{name}, ',') AS bigint[]))"


# A plan that is kept with its connection may have been made while the tables were nearly empty,
# and would read all of them ever after.
_PLANNED = (
    "set_config('enable_seqscan', 'off', true), "
    "set_config('plan_cache_mode', 'force_custom_plan', true)"
)
_INDEXED = text(f"SELECT {_PLANNED}")
_LOCK = text(f"SELECT pg_advisory_xact_lock(:lock, hashtext(:domain)), {_PLANNED}")
_UNPLACED = text(
    f"""
    SELECT id FROM {_numbers("ids")} AS id
    WHERE NOT EXISTS (SELECT FROM example_templates WHERE example_id = id)
    """  # noqa: S608  # ours, from above
)
_ADD_TEMPLATES = text(
    f"""
    INSERT INTO templates (id, domain, mark, features, cluster)
    SELECT fresh.id, :domain, fresh.mark, fresh.features, fresh.id
    FROM (
        SELECT nextval(pg_get_serial_sequence('templates', 'id')) AS id, given.mark,
               decode(coalesce(given.features, ''), 'hex') AS features
        FROM (SELECT {_numbers("marks")} AS mark,
                     unnest(string_to_array(:features, ',')) AS features) AS given
        WHERE NOT EXISTS (
            SELECT FROM templates WHERE domain = :domain AND mark = given.mark)
    ) AS fresh
    RETURNING mark
    """  # noqa: S608
)
_KNOWN = text(
    f"""
    SELECT id, mark FROM templates
    WHERE domain = :domain AND mark IN (SELECT {_numbers("marks")})
    """  # noqa: S608
)
_ADD_EXAMPLES = text(
    f"""
    INSERT INTO example_templates (example_id, template_id, numbers)
    SELECT examples.id, given.template_id, CAST(nullif(given.numbers, '') AS bigint)
    FROM (SELECT {_numbers("ids")} AS id, {_numbers("templates")} AS template_id,
                 unnest(string_to_array(:numbers, ',')) AS numbers) AS given
    JOIN examples USING (id)
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
    f"""
    SELECT given.template_id, other.template_id, count(*)
    FROM (SELECT {_numbers("keys")} AS key, {_numbers("templates")} AS template_id) AS given
    CROSS JOIN LATERAL (
        SELECT kept.template_id FROM template_keys AS kept
        WHERE kept.key = given.key AND kept.template_id <> given.template_id
        ORDER BY kept.template_id LIMIT :most
    ) AS other
    GROUP BY 1, 2 HAVING count(*) >= :common
    """  # noqa: S608
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
    SELECT given.template_id, other.template_id
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
    SELECT id, cluster, features FROM templates WHERE id IN (SELECT {_numbers("ids")})
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
