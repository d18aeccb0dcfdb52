"""Which example is of which template, and which templates make a cluster of near-duplicates.

One rule: a domain's templates are compared and joined by one transaction at a time, and clusters
are only ever joined, so whatever workers do at once comes to what one would have come to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from tdsys.core.sketching import Forest, Sketch, packed, problem_of, salt, sketch
from tdsys.store.engine import Tx

if TYPE_CHECKING:
    from tdsys.core.matching import Pairs

# Any number of our own, beside the domain's.
LOCK = 7_305


class _Template(NamedTuple):
    """What all problems have in common that differ in numbers and names only."""

    id: int
    cluster: int
    led: bool
    is_new: bool


def unplaced(tx: Tx, *, example_ids: Iterable[int]) -> set[int]:
    """Which of these have no template yet."""
    return set(tx.scalars(_UNPLACED, {"ids": listed(example_ids)}))


def hold(tx: Tx, *, domain: str, example_ids: Iterable[int] = ()) -> None:
    """Wait until nobody else places examples of the domain; let go with the transaction.

    These examples are held before, as who forgets does it: so neither waits for the other in a
    circle.
    """
    tx.execute(INDEXED)
    tx.execute(_HELD, {"ids": listed(example_ids)})
    tx.execute(_LOCK, {"lock": LOCK, "domain": domain})


def place(
    tx: Tx, *, domain: str, sketches: Mapping[int, Sketch], read: Mapping[int, bytes] | None = None
) -> None:
    """Give examples of one domain their template and cluster.

    An example that was placed before, or is gone, changes nothing; nor does one that was edited
    since its sketch was made, of what had the fingerprint `read`.
    """
    hold(tx, domain=domain, example_ids=sketches)
    marks = ",".join((read or {}).get(id_, b"").hex() for id_ in sketches)
    here = {*tx.scalars(_HERE, {"ids": listed(sketches), "marks": marks})}
    _place(tx, domain, {id_: one for id_, one in sketches.items() if id_ in here})


def replace(tx: Tx, *, domain: str, example_id: int, before: str, after: str) -> None:
    """An example (held by the caller) has another problem: it leaves, and is placed again."""
    hold(tx, domain=domain, example_ids=[example_id])
    told = {example_id: sketch(before)}
    left = tx.scalars(_LEAVE, {"id": example_id}).all()
    _forget_keys(tx, told, salt(domain))
    follow(tx, template_ids=left)
    _place(tx, domain, {example_id: sketch(after)})


def follow(tx: Tx, *, template_ids: Collection[int]) -> None:
    """Of templates that somebody left, of held domains: the oldest example leads, if there is one.

    A template that no example has any more is dropped.
    """
    if not template_ids:
        return
    tx.execute(INDEXED)
    given = {"ids": listed(template_ids)}
    tx.execute(_DROP, given)
    by_domain: dict[str, dict[int, Sketch]] = defaultdict(dict)
    for row in tx.execute(_NEXT, given):
        by_domain[row.domain][row.example_id] = sketch(problem_of(row.outputs))
    for domain, sketches in by_domain.items():
        _add_keys(tx, sketches, leading=sketches, salt=salt(domain))
    # Whose examples all wait to be placed again is led by the first of these.
    tx.execute(_LED, given)


def _place(tx: Tx, domain: str, sketches: Mapping[int, Sketch]) -> None:
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
    return dict(tx.execute(_CLUSTERS, {"ids": listed(example_ids)}).all())


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


def _templates(tx: Tx, domain: str, marks: Collection[int]) -> dict[int, _Template]:
    """The templates of these marks; those that are new get an id here."""
    known = tx.execute(_KNOWN, {"domain": domain, "marks": listed(marks)})
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
    stored = tx.execute(_BY_KEYS, {"keys": listed(found.keys.tolist())}).one()
    pairs, kept = met(found, before=read(*stored))
    given = {"keys": listed(kept.keys.tolist()), "examples": listed(kept.owners.tolist())}
    tx.execute(_ADD_KEYS, given)
    return pairs


def _forget_keys(tx: Tx, sketches: Mapping[int, Sketch], salt: int) -> None:
    from tdsys.core.matching import keyed  # noqa: PLC0415  # numpy

    found = keyed(sketches, salt=salt)
    given = {"keys": listed(found.keys.tolist()), "examples": listed(found.owners.tolist())}
    tx.execute(_DROP_KEYS, given)


def _joined(
    tx: Tx, owners: Mapping[int, _Template], features: Mapping[int, bytes], pairs: Pairs
) -> Forest:
    """All that is linked, joined."""
    from tdsys.core.matching import joined  # noqa: PLC0415  # numpy

    homes, others = compared(tx, {*pairs.others.tolist()} - owners.keys())
    homes |= {id_: one.cluster for id_, one in owners.items()}
    return joined(pairs, homes, {**others, **features})


def _add_templates(tx: Tx, domain: str, templates: Mapping[int, _Template], forest: Forest) -> None:
    """Note what is new in the cluster it is of by now, and that all are led."""
    new = {mark: one.id for mark, one in templates.items() if one.is_new}
    given = {
        "domain": domain,
        "ids": listed(new.values()),
        "marks": listed(new),
        "clusters": listed(forest.root(id_) for id_ in new.values()),
    }
    tx.execute(_ADD_TEMPLATES, given)
    if led := [one.id for one in templates.values() if not one.led and not one.is_new]:
        tx.execute(_LEAD, {"ids": listed(led)})


def _add_examples(tx: Tx, owners: Mapping[int, _Template], features: Mapping[int, bytes]) -> None:
    given = {
        "ids": listed(owners),
        "templates": listed(one.id for one in owners.values()),
        "features": ",".join([features[id_].hex() for id_ in owners]),
    }
    tx.execute(_ADD_EXAMPLES, given)


def _move(tx: Tx, moved: Mapping[int, int]) -> None:
    if moved:
        tx.execute(_JOIN, {"high": listed(moved), "low": listed(moved.values())})


def compared(tx: Tx, ids: Collection[int]) -> tuple[dict[int, int], dict[int, bytes]]:
    """The clusters of these examples that are placed, and their features."""
    homes: dict[int, int] = {}
    features: dict[int, bytes] = {}
    if not ids:
        return homes, features
    told, kept = tx.execute(_COMPARED, {"ids": listed(sorted(ids))}).one()
    # One text for all: rows cost several times that.
    numbers, at = map(int, told.split(",") if told else ()), 0
    for id_, cluster, length in zip(numbers, numbers, numbers, strict=True):
        homes[id_], features[id_] = cluster, kept[at : at + length]
        at += length
    return homes, features


def listed(numbers: Iterable[int]) -> str:
    """As text: an array costs psycopg several times what joining it costs us."""
    return ",".join(map(str, numbers))


def unnested(name: str) -> str:
    """SQL for the numbers of a `listed` parameter, a row for each."""
    return f"unnest(CAST(string_to_array(:{name}, ',') AS bigint[]))"


# A plan that is kept with its connection may have been made while the tables were nearly empty,
# and would read all of them ever after; and compiling one takes longer than running it.
_PLANNED = (
    "set_config('enable_seqscan', 'off', true), "
    "set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true), "
    "set_config('max_parallel_workers_per_gather', '0', true)"
)
INDEXED = text(f"SELECT {_PLANNED}")
_LOCK = text("SELECT pg_advisory_xact_lock(:lock, hashtext(:domain))")
_HELD = text(
    f"SELECT FROM examples WHERE id IN (SELECT {unnested('ids')}) ORDER BY id FOR KEY SHARE"
)
_HERE = text(
    f"""
    SELECT examples.id
    FROM (SELECT {unnested("ids")} AS id, unnest(string_to_array(:marks, ',')) AS mark) AS given
    JOIN examples ON examples.id = given.id
    WHERE (fingerprint = decode(mark, 'hex')
           OR NOT EXISTS (SELECT FROM example_revisions WHERE example_id = examples.id))
      AND NOT EXISTS (
        SELECT FROM example_templates WHERE example_id = examples.id AND features IS NOT NULL
      )
    """  # noqa: S608
)
_LEAVE = text("DELETE FROM example_templates WHERE example_id = :id RETURNING template_id")
_DROP = text(
    f"""
    DELETE FROM templates WHERE id IN (SELECT {unnested("ids")})
      AND NOT EXISTS (SELECT FROM example_templates WHERE template_id = templates.id)
    """  # noqa: S608
)
_DROP_KEYS = text(
    f"""
    DELETE FROM example_keys AS kept
    USING (SELECT {unnested("keys")} AS key, {unnested("examples")} AS example_id) AS given
    WHERE kept.key = given.key AND kept.example_id = given.example_id
    """  # noqa: S608
)
_PLACED = "example_templates AS placed WHERE placed.features IS NOT NULL AND placed.template_id"
_NEXT = text(
    f"""
    SELECT kept.domain, next.example_id, payload -> 'outputs' AS outputs
    FROM templates AS kept
    CROSS JOIN LATERAL (
        SELECT min(placed.example_id) AS example_id FROM {_PLACED} = kept.id
    ) AS next
    JOIN example_bodies ON example_bodies.example_id = next.example_id
    WHERE kept.id IN (SELECT {unnested("ids")})
    """  # noqa: S608
)
_LED = text(
    f"""
    UPDATE templates SET led = EXISTS (SELECT FROM {_PLACED} = templates.id)
    WHERE id IN (SELECT {unnested("ids")})
    """  # noqa: S608
)
_NEW_IDS = text(
    """
    SELECT nextval(pg_get_serial_sequence('templates', 'id')) FROM generate_series(1, :count)
    """
)
_KNOWN = text(
    f"""
    SELECT id, mark, cluster, led FROM templates
    WHERE domain = :domain AND mark IN (SELECT {unnested("marks")})
    """  # noqa: S608
)
_JOIN = text(
    f"""
    UPDATE templates SET cluster = moved.low
    FROM (SELECT {unnested("high")} AS high, {unnested("low")} AS low) AS moved
    WHERE cluster = moved.high
    """  # noqa: S608
)
_CLUSTERS = text(
    f"""
    SELECT placed.example_id, kept.cluster FROM example_templates AS placed
    JOIN templates AS kept ON kept.id = placed.template_id
    WHERE placed.example_id IN (SELECT {unnested("ids")})
    """  # noqa: S608
)
_UNPLACED = text(
    f"""
    SELECT id FROM {unnested("ids")} AS id WHERE NOT EXISTS (
        SELECT FROM example_templates WHERE example_id = id AND features IS NOT NULL
    )
    """  # noqa: S608  # ours, from above
)
_ADD_TEMPLATES = text(
    f"""
    INSERT INTO templates (id, domain, mark, cluster, led)
    SELECT id, :domain, mark, cluster, true
    FROM (SELECT {unnested("ids")} AS id, {unnested("marks")} AS mark,
                 {unnested("clusters")} AS cluster) AS given
    """  # noqa: S608
)
_LEAD = text(f"UPDATE templates SET led = true WHERE id IN (SELECT {unnested('ids')})")  # noqa: S608
_ADD_EXAMPLES = text(
    f"""
    INSERT INTO example_templates (example_id, template_id, features)
    SELECT id, template_id, coalesce(decode(features, 'hex'), '')
    FROM (SELECT {unnested("ids")} AS id, {unnested("templates")} AS template_id,
                 unnest(string_to_array(:features, ',')) AS features) AS given
    ON CONFLICT (example_id) DO UPDATE SET features = excluded.features
    WHERE example_templates.features IS NULL
    """  # noqa: S608
)
_ADD_KEYS = text(
    f"""
    INSERT INTO example_keys (key, example_id)
    SELECT {unnested("keys")}, {unnested("examples")}
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
