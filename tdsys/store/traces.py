"""Where else a content is told: who learned from it, and raw records that quote it.

One rule: what is found by text is found by long texts only, so nothing of anybody else goes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import (
    ColumnElement,
    Integer,
    Table,
    Text,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    union,
    update,
)

from tdsys.core.tombs import Gone, forms, quoted, spared
from tdsys.store.batch_schema import batch_items
from tdsys.store.effect_schema import probe_scores, recommendations
from tdsys.store.engine import Tx
from tdsys.store.import_schema import import_chunks, import_rejects
from tdsys.store.review_schema import example_revisions
from tdsys.store.schema import (
    capture_duplicates,
    capture_refusals,
    dataset_members,
    dataset_versions,
    example_bodies,
    examples,
    programs,
    trial_items,
    trials,
)

ID = 'capture(?:_id": ?"| )([0-9a-f-]{36})'
NOTHING = "forgotten"


class Learned(NamedTuple):
    """A dataset version that held some of it."""

    version_id: int
    domain: str
    number: int
    members: int


class Taught(NamedTuple):
    """A program that learned from such a version; it lost so many `demos` of its prompt."""

    program_id: int
    domain: str
    version_id: int
    active: bool
    demos: int


def contents(tx: Tx, *, ids: Collection[int], captures: Collection[UUID]) -> dict[str, set[bytes]]:
    """The fingerprints that each id or capture names, also of examples that are purged already."""
    kept, member, before = examples.c, dataset_members.c, example_revisions.c
    by_id = [
        select(cast(kept.id, Text), kept.fingerprint).where(kept.id.in_(ids)),
        select(cast(before.example_id, Text), before.fingerprint).where(before.example_id.in_(ids)),
        select(cast(member.example_id, Text), func.decode(member.fingerprint, "hex"))
        .where(member.example_id.in_(ids)),
        select(cast(kept.capture_id, Text), kept.fingerprint).where(kept.capture_id.in_(captures)),
        select(cast(capture_duplicates.c.capture_id, Text), capture_duplicates.c.fingerprint)
        .where(capture_duplicates.c.capture_id.in_(captures)),
    ]  # fmt: skip
    found: dict[str, set[bytes]] = {}
    for name, fingerprint in tx.execute(union(*by_id)):
        found.setdefault(name, set()).add(fingerprint)
    return found


def payloads(tx: Tx, *, contents: Collection[bytes]) -> list[dict[str, JsonValue]]:
    """Everything that is kept under these fingerprints."""
    member, again, before = dataset_members.c, capture_duplicates.c, example_revisions.c
    told = (
        select(example_bodies.c.payload)
        .join(examples, examples.c.id == example_bodies.c.example_id)
        .where(examples.c.fingerprint.in_(contents)),
        select(before.payload).where(before.fingerprint.in_(contents)),
        select(member.content).where(
            member.fingerprint.in_([one.hex() for one in contents]), member.content.is_not(None)
        ),
        select(again.payload).where(again.fingerprint.in_(contents), again.payload.is_not(None)),
    )
    return [payload for query in told for payload in tx.scalars(query)]


def versions(tx: Tx, *, contents: Collection[bytes]) -> list[Learned]:
    """The dataset versions that hold any of it."""
    kept = dataset_versions.c
    rows = tx.execute(
        select(kept.id, kept.domain, kept.number, func.count())
        .join(dataset_members, dataset_members.c.version_id == kept.id)
        .where(dataset_members.c.fingerprint.in_([one.hex() for one in contents]))
        .group_by(kept.id)
        .order_by(kept.domain, kept.number)
    )
    return [Learned(*row) for row in rows]


def erase_demos(
    tx: Tx,
    *,
    contents: Collection[bytes],
    told: Collection[Mapping[str, JsonValue]],
    texts: Collection[str],
    now: datetime,
) -> tuple[list[Taught], int]:
    """Take it out of every program that learned from it, and of their trials; how many of those.

    `told` is what was kept of it, `texts` by what it is recognised; a text that another example
    of the domain has too tells nobody. Such a program is stale: what is measured of it was
    measured with what is gone.
    """
    version_ids = [one.version_id for one in versions(tx, contents=contents)]
    rows = tx.execute(
        select(programs)
        .where(programs.c.version_id.in_(version_ids))
        .order_by(programs.c.id)
        .with_for_update()
    ).mappings().all()  # fmt: skip
    gone = Gone(frozenset(one.hex() for one in contents), frozenset(), _requests(told))
    # What is left once its own demos went: only there it matters whose a text is.
    others = [spared(row["state"], row["envelope"], gone, at=now) for row in rows]
    said = {one for left in others for part in left[:2] for one in quoted(part, texts)}
    gone = gone._replace(texts=frozenset(texts) - _shared(tx, said, contents, version_ids))
    found = []
    for row in rows:
        left = spared(row["state"], row["envelope"], gone, at=now)
        tx.execute(
            update(programs)
            .where(programs.c.id == row["id"])
            .values(state=left.state, envelope=left.envelope, stale=True)
        )
        found.append(Taught(row["id"], row["domain"], row["version_id"], row["active"], left.demos))
    return found, _erase_said(tx, gone.texts)


def _requests(told: Collection[Mapping[str, JsonValue]]) -> tuple[Mapping[str, JsonValue], ...]:
    return tuple(one for each in told if isinstance(one := each.get("inputs"), dict))


def _shared(
    tx: Tx, texts: Collection[str], contents: Collection[bytes], version_ids: Collection[int]
) -> set[str]:
    """Those of the texts that others of the same domains have too, now or in these versions."""
    member, body = dataset_members.c, example_bodies.c
    hashes = [one.hex() for one in contents]
    domains = select(dataset_versions.c.domain).where(dataset_versions.c.id.in_(version_ids))
    frozen = exists().where(
        member.version_id.in_(version_ids), member.fingerprint.not_in(hashes)
    )  # fmt: skip
    here = exists().where(
        body.example_id == examples.c.id,
        examples.c.domain.in_(domains),
        examples.c.fingerprint.not_in(contents),
    )
    return {
        text
        for text in texts
        if tx.scalar(select(frozen.where(_quotes([cast(member.content, Text)], [text]))))
        or tx.scalar(select(here.where(_quotes([cast(body.payload, Text)], [text]))))
    }


def _erase_said(tx: Tx, texts: Collection[str]) -> int:
    """What models wrote while they saw examples: instructions, and answers that were none."""
    columns = (trials.c.instruction, trial_items.c.error, probe_scores.c.error)
    if not texts:
        return 0
    return sum(
        _changed(tx, column.table, _quotes([column], texts), **{column.name: NOTHING})
        for column in columns
    )


def erase_records(tx: Tx, *, texts: Collection[str]) -> dict[str, int]:
    """Empty the raw records that quote it; how many, by table."""
    if not texts:
        return {}
    named = func.substring(capture_refusals.c.raw, ID)
    return {
        "capture_refusals": _changed(
            tx,
            capture_refusals,
            _quotes([capture_refusals.c.raw, capture_refusals.c.message], texts),
            raw=func.coalesce(literal("capture ") + named, ""),
            message=NOTHING,
            path="",
        ),
        "import_rejects": _changed(
            tx,
            import_rejects,
            _quotes([import_rejects.c.raw, import_rejects.c.message,
                     cast(import_rejects.c.value, Text)], texts),
            raw="", message=NOTHING, remedy=NOTHING, value=None,
        ),
        # What was refused was no example, and may have been made of one word for word.
        "batch_items": _changed(
            tx,
            batch_items,
            _quotes([batch_items.c.detail, *(cast(batch_items.c[name], Text)
                     for name in ("content", "evidence", "made_by"))], texts),
            content=None, evidence=[], made_by=None, detail=NOTHING,
        ),
        "recommendations": _changed(
            tx, recommendations, _quotes([cast(recommendations.c.evidence, Text)], texts),
            evidence=[],
        ),
    }  # fmt: skip


def being_read(tx: Tx, *, texts: Collection[str]) -> list[UUID]:
    """The imports that are open and whose file quotes it."""
    kept = import_chunks.c
    quoted = [
        kept.content.bool_op("LIKE")(b"%" + _plainly(form) + b"%")
        for text in texts
        for form in sorted(forms(text))
    ]
    if not quoted:
        return []
    return list(tx.scalars(select(kept.import_id).where(or_(*quoted)).distinct()))


def _plainly(text: str) -> bytes:
    """A text as LIKE takes it for itself."""
    return re.sub(rb"([\\\\%_])", rb"\\\1", text.encode())


def _quotes(columns: Sequence[ColumnElement[Any]], texts: Collection[str]) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = [
        func.strpos(column, form, type_=Integer) > 0
        for column in columns
        for text in texts
        for form in sorted(forms(text))
    ]
    return or_(*found)


def _changed(tx: Tx, table: Table, which: ColumnElement[bool], **values: Any) -> int:
    return tx.execute(update(table).where(which).values(**values)).rowcount
