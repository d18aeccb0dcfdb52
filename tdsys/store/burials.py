"""Examples that are deleted, with all that hangs on them; a tombstone stays.

One rule: whatever holds their content goes in the transaction in which they go. What hangs on the
row goes by foreign keys, what hangs on the content by the trigger of a tombstone, the rest here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    Select,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.lifecycle import State
from tdsys.core.tombs import SHARED_ANSWERS, Eviction, Mark, answers_in
from tdsys.store import attributions, clusters, programs
from tdsys.store.batch_schema import batch_items
from tdsys.store.cluster_schema import (
    example_keys,
    example_templates,
    templates,
)
from tdsys.store.engine import Tx
from tdsys.store.lifecycle_schema import cache_evictions, pins, tombstones
from tdsys.store.review_schema import example_revisions
from tdsys.store.schema import capture_duplicates, examples

# Whoever places examples of a domain holds this (tdsys.store.clusters).
PLACING = 7_305
PURGED = "purged"
FORGOTTEN = "forgotten"
# States of which nothing is used any more.
UNUSED = (State.RETIRED, State.REJECTED, State.PARKED)


class Unused(NamedTuple):
    """An example that may be deleted."""

    id: int
    topic: str
    difficulty: str
    state: str
    size: int
    moved_at: datetime


def unused(tx: Tx, *, domain: str, before: Mapping[State, datetime], limit: int) -> list[Unused]:
    """Those that stand there since before the time of their state; none that is pinned."""
    kept = examples.c
    if not before:
        return []
    since = or_(*(and_(kept.state == state.value, kept.moved_at < time)
                  for state, time in before.items()))  # fmt: skip
    rows = tx.execute(
        select(*(kept[name] for name in Unused._fields))
        .where(kept.domain == domain, since, ~exists().where(pins.c.example_id == kept.id))
        .order_by(kept.moved_at, kept.id)
        .limit(limit)
    )
    return [Unused(*row) for row in rows]


def purge(tx: Tx, *, ids: Collection[int], actor: str, reason: str, now: datetime) -> int:
    """Delete those of them that are not used; how many. Dataset versions keep what they froze.

    What was pinned meanwhile stays.
    """
    held = select(examples.c.id).where(
        examples.c.id.in_(ids),
        examples.c.state.in_([state.value for state in UNUSED]),
        ~exists().where(pins.c.example_id == examples.c.id),
    )
    found = tx.scalars(held.order_by(examples.c.id).with_for_update()).all()
    alike = _templates(tx, found)
    _bury(tx, found, forgotten=False, actor=actor, reason=reason, now=now)
    clusters.follow(tx, template_ids=alike)
    return len(found)


def forget(
    tx: Tx,
    *,
    contents: Collection[bytes],
    learned: Collection[str],
    actor: str,
    reason: str,
    now: datetime,
) -> list[int]:
    """Delete whatever holds or held these contents, in any state; the ids.

    None of it comes in again. Dataset versions lose the content of their members, and models'
    answers are to be evicted: those that rest on a domain it is in or that is `learned` from it,
    and those that may rest on any.
    """
    # Whatever comes in now waits, and then finds the tombstone.
    tx.execute(text("LOCK TABLE examples IN SHARE ROW EXCLUSIVE MODE"))
    found = list(tx.scalars(_holding(contents).order_by(examples.c.id).with_for_update()))
    programs.outdate(tx, example_ids=found)
    attributions.outdate(tx, example_ids=found)
    homes = set(tx.scalars(select(examples.c.domain).where(examples.c.id.in_(found)).distinct()))
    alike = _templates(tx, found)
    _bury(tx, found, forgotten=True, actor=actor, reason=reason, now=now, contents=contents)
    clusters.follow(tx, template_ids=alike)
    tags = [SHARED_ANSWERS, *(answers_in(domain) for domain in sorted({*homes, *learned}))]
    tx.execute(insert(cache_evictions), [{"tag": tag, "at": now} for tag in tags])
    return found


def together(tx: Tx, *, contents: Collection[bytes]) -> set[bytes]:
    """These, and all that the same examples hold or held."""
    ids = tx.scalars(_holding(contents)).all()
    return {*contents, *_contents(tx, ids)}


def _holding(contents: Collection[bytes]) -> Select[int]:
    edited = select(example_revisions.c.example_id).where(
        example_revisions.c.fingerprint.in_(contents)
    )
    return select(examples.c.id).where(
        or_(examples.c.fingerprint.in_(contents), examples.c.id.in_(edited))
    )


def _bury(
    tx: Tx,
    ids: Collection[int],
    *,
    forgotten: bool,
    actor: str,
    reason: str,
    now: datetime,
    contents: Collection[bytes] = (),
) -> None:
    gone = sorted({*contents, *_contents(tx, ids)})
    if not gone:
        return
    said = {"actor": actor, "reason": reason, "at": now}
    stones = insert(tombstones).values(
        [{"fingerprint": one, "forgotten": forgotten, **said} for one in gone]
    )
    tx.execute(
        stones.on_conflict_do_update(
            index_elements=[tombstones.c.fingerprint],
            set_={**said, "forgotten": or_(tombstones.c.forgotten, stones.excluded.forgotten)},
        )
    )
    _leave_ids(tx, ids, gone, now)
    tx.execute(
        update(batch_items)
        .where(batch_items.c.example_id.in_(ids))
        .values(content=None, evidence=[], made_by=None, detail=None,
                reason=FORGOTTEN if forgotten else PURGED)
    )  # fmt: skip
    tx.execute(delete(example_keys).where(example_keys.c.example_id.in_(ids)))
    tx.execute(delete(examples).where(examples.c.id.in_(ids)))


def _contents(tx: Tx, ids: Collection[int]) -> set[bytes]:
    """The fingerprints of what they hold and held."""
    now = select(examples.c.fingerprint).where(examples.c.id.in_(ids))
    before = select(example_revisions.c.fingerprint).where(example_revisions.c.example_id.in_(ids))
    return set(tx.scalars(union(now, before)))


def _leave_ids(tx: Tx, ids: Collection[int], gone: Collection[bytes], now: datetime) -> None:
    """Of their captures nothing stays but that they were here: a ledger of ids still adds up."""
    kept = capture_duplicates.c
    ours = select(examples.c.capture_id).where(examples.c.id.in_(ids))
    tx.execute(
        delete(capture_duplicates).where(
            kept.conflicting, or_(kept.fingerprint.in_(gone), kept.capture_id.in_(ours))
        )
    )
    tx.execute(update(capture_duplicates).where(kept.fingerprint.in_(gone)).values(metadata={}))
    captures: Select[tuple[object, ...]] = select(
        examples.c.capture_id, examples.c.fingerprint, examples.c.domain, examples.c.source,
        literal({}, kept.metadata.type), literal(now),
    ).where(examples.c.id.in_(ids), examples.c.capture_id.is_not(None))  # fmt: skip
    names = ["capture_id", "fingerprint", "domain", "source", "metadata", "at"]
    tx.execute(insert(capture_duplicates).from_select(names, captures).on_conflict_do_nothing())


def _templates(tx: Tx, ids: Collection[int]) -> list[int]:
    """Their templates, held from whoever places examples."""
    found = tx.execute(
        select(templates.c.id, templates.c.domain)
        .join(example_templates, example_templates.c.template_id == templates.c.id)
        .where(example_templates.c.example_id.in_(ids))
        .order_by(templates.c.id)
    ).all()
    for domain in sorted({row.domain for row in found}):
        tx.execute(select(func.pg_advisory_xact_lock(PLACING, func.hashtext(domain))))
    return [row.id for row in found]


def evictions(tx: Tx, *, done: Sequence[Mark]) -> list[Eviction]:
    """What is to be evicted after the newest of those `done`; all where none of them is here."""
    kept = cache_evictions.c
    here = select(func.max(kept.id)).where(tuple_(kept.id, kept.at).in_(done)).scalar_subquery()
    rows = tx.execute(
        select(kept.id, kept.at, kept.tag).where(kept.id > func.coalesce(here, 0)).order_by(kept.id)
    )
    return [Eviction(*row) for row in rows]
