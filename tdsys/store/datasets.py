"""Frozen dataset versions; the same selection is the same version, whoever freezes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import case, func, select, true, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from tdsys.core.dataset import Member, Split
from tdsys.core.example import Source
from tdsys.core.policy import Signature
from tdsys.core.versions import Leaving, Tombstone
from tdsys.errors import Conflict, NotFound
from tdsys.store import attributions, programs
from tdsys.store.dataset_schema import dataset_tombstones
from tdsys.store.engine import Tx
from tdsys.store.schema import (
    ADMITTED,
    dataset_members,
    dataset_versions,
    domains,
    example_bodies,
    examples,
)

_IN_ORDER = case(
    {split.value: place for place, split in enumerate(Split)}, value=dataset_members.c.split
)


class Placed(NamedTuple):
    """One member of a version, without its content."""

    example_id: int
    split: str
    topic: str
    difficulty: str


class Credit(BaseModel):
    """A licence as it was stated, whom it asks to name, and how many members came under it."""

    model_config = ConfigDict(frozen=True)

    license: str
    attribution: str
    examples: int


class Step(NamedTuple):
    """How a version follows the newest one, its `parent`: whether it begins a major, and why.

    Without a parent it follows whatever is the newest.
    """

    parent: int | None = None
    major: bool = True
    because: str = ""
    removed: Sequence[Tombstone] = ()


ANEW = Step()
NOT_STORED = {"id", "inputs", "outputs", "suspicious", "converted"}


# So many signs of a fingerprint are no id, and no two versions here share them.
SHORTEST_PREFIX = 8


class DatasetVersion(BaseModel):
    """One immutable selection; `counts` are members per split.

    `frozen_at` is when the data was last this, `created_at` when it was the first time.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    domain: str
    number: int
    major: int
    minor: int
    because: str
    parent_id: int | None
    credits: tuple[Credit, ...]
    fingerprint: str
    signature: Signature
    policy_version: int
    counts: dict[str, int]
    created_at: datetime
    frozen_at: datetime

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.major}.{self.minor}"

    @property
    def size(self) -> int:
        """All its members."""
        return sum(self.counts.values())


def freeze(
    tx: Tx,
    *,
    domain: str,
    fingerprint: str,
    signature: Signature,
    policy_version: int,
    members: Sequence[Member],
    now: datetime,
    step: Step = ANEW,
) -> DatasetVersion:
    """Freeze a selection, or find it frozen; programs of other versions become stale at once.

    Conflict where the step's parent is not the newest version any more.
    """
    # Numbers are given, and staleness is worked out, by whoever holds the domain's row.
    last = tx.scalars(
        select(domains.c.dataset_counter)
        .where(domains.c.name == domain)
        .with_for_update(key_share=True)
    ).one()
    found = tx.scalar(
        update(dataset_versions)
        .where(dataset_versions.c.fingerprint == fingerprint)
        .values(frozen_at=now)
        .returning(dataset_versions.c.id)
    )
    if found is None:
        tx.execute(update(domains).where(domains.c.name == domain).values(dataset_counter=last + 1))
        found = tx.scalars(
            insert(dataset_versions)
            .values(
                domain=domain,
                number=last + 1,
                **_placed_after(tx, domain, step),
                fingerprint=fingerprint,
                signature=signature.model_dump(mode="json"),
                policy_version=policy_version,
                counts=_counts(members),
                credits=_credits(tx, [member.example.id for member in members]),
                created_at=now,
                frozen_at=now,
            )
            .returning(dataset_versions.c.id)
        ).one()
        _write_members(tx, found, members)
        _write_tombstones(tx, found, step.removed)
    programs.follow_version(tx, domain=domain, version_id=found)
    attributions.follow_version(tx, domain=domain, version_id=found)
    return version(tx, id=found)


def version(tx: Tx, *, id: int) -> DatasetVersion:  # noqa: A002  # a version's only name here
    """The version of that id; NotFound when there is none."""
    row = (
        tx.execute(select(dataset_versions).where(dataset_versions.c.id == id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound(f"there is no dataset version {id}", remedy="list them per domain")
    return DatasetVersion.model_validate(row)


def named(tx: Tx, *, domain: str, name: str) -> DatasetVersion:
    """The version of a domain by its name, id or fingerprint; NotFound when there is none."""
    for known in versions(tx, domain=domain):
        begins = len(name) >= SHORTEST_PREFIX and known.fingerprint.startswith(name)
        if begins or name in {known.name, str(known.id)}:
            return known
    raise NotFound(f"{domain} has no dataset version {name}", remedy="see `tdsys dataset list`")


def latest(tx: Tx, *, domain: str) -> DatasetVersion | None:
    """The version frozen last: what the domain's data was then."""
    found = dataset_versions.c
    row = (
        tx.execute(
            select(dataset_versions)
            .where(found.domain == domain)
            .order_by(found.frozen_at.desc(), found.number.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else DatasetVersion.model_validate(row)


def versions(tx: Tx, *, domain: str) -> list[DatasetVersion]:
    """All versions of a domain by number."""
    rows = tx.execute(
        select(dataset_versions)
        .where(dataset_versions.c.domain == domain)
        .order_by(dataset_versions.c.number)
    ).mappings()
    return [DatasetVersion.model_validate(row) for row in rows]


def newest(tx: Tx, *, domains: Collection[str] | None) -> list[DatasetVersion]:
    """The version of each domain that was frozen last."""
    found = dataset_versions.c
    rows = tx.execute(
        select(dataset_versions)
        .ext(distinct_on(found.domain))
        .where(true() if domains is None else found.domain.in_(sorted(domains)))
        .order_by(found.domain, found.frozen_at.desc(), found.number.desc())
    ).mappings()
    return [DatasetVersion.model_validate(row) for row in rows]


def placed(tx: Tx, *, version_id: int) -> dict[str, Placed]:
    """Which examples a version holds, by fingerprint."""
    kept = dataset_members.c
    rows = tx.execute(
        select(kept.fingerprint, kept.example_id, kept.split, kept.topic, kept.difficulty)
        .where(kept.version_id == version_id)
        .order_by(kept.topic, kept.difficulty, kept.fingerprint)
    )
    return {row[0]: Placed(*row[1:]) for row in rows}


def members(tx: Tx, *, version_id: int, whole: bool = True) -> list[Member]:
    """A version's members: train, val, test, each in the order they were frozen in.

    Conflict when some are forgotten: it is not what it was. Without `whole` those are empty.
    """
    rows = (
        tx.execute(
            select(dataset_members)
            .where(dataset_members.c.version_id == version_id)
            .order_by(_IN_ORDER, dataset_members.c.position)
        )
        .mappings()
        .all()
    )
    lost = sum(row["content"] is None for row in rows)
    if lost and whole:
        raise Conflict(
            f"dataset version {version_id} lost the content of {lost} of its {len(rows)} members: "
            "they were forgotten",
            remedy="use a newer version; this one is never what it was again",
        )
    return [_member(row) for row in rows]


def beginning(tx: Tx, *, of: DatasetVersion) -> DatasetVersion:
    """The first version of its major."""
    kept = dataset_versions.c
    row = (
        tx.execute(
            select(dataset_versions).where(
                kept.domain == of.domain, kept.major == of.major, kept.minor == 0
            )
        )
        .mappings()
        .one()
    )
    return DatasetVersion.model_validate(row)


def ever_placed(tx: Tx, *, domain: str) -> dict[str, Split]:
    """The split each content was ever in; train, where it was in several."""
    rows = tx.execute(
        select(dataset_members.c.fingerprint, func.min(_IN_ORDER))
        .join(dataset_versions, dataset_versions.c.id == dataset_members.c.version_id)
        .where(dataset_versions.c.domain == domain)
        .group_by(dataset_members.c.fingerprint)
    )
    splits = list(Split)
    return {name: splits[place] for name, place in rows}


def tombstones(tx: Tx, *, version_id: int) -> list[Tombstone]:
    """What a version had to give up."""
    kept = dataset_tombstones.c
    rows = tx.execute(
        select(kept.example_id, kept.fingerprint, kept.split, kept.reason, kept.detail)
        .where(kept.version_id == version_id)
        .order_by(kept.split, kept.fingerprint)
    )
    return [Tombstone(r[0], r[1], Split(r[2]), Leaving(r[3]), r[4]) for r in rows]


def last_leaving(tx: Tx, *, version_id: int) -> datetime | None:
    """When the last of a version's members left the admitted set or changed; None: none did.

    Of one that was purged nobody knows when: it counts as long ago.
    """
    kept, there = dataset_members.c, examples.c
    same = (there.id == kept.example_id) & (there.state == ADMITTED)
    same &= func.encode(there.fingerprint, "hex") == kept.fingerprint
    is_here = select(there.id).where(same).exists()
    moved = select(there.moved_at).where(there.id == kept.example_id).scalar_subquery()
    found: datetime | None = tx.scalar(
        select(func.max(func.coalesce(moved, dataset_versions.c.created_at)))
        .join(dataset_versions, dataset_versions.c.id == kept.version_id)
        .where(kept.version_id == version_id, ~is_here)
    )
    return found


def whereabouts(tx: Tx, *, example_ids: Sequence[int]) -> dict[int, str]:
    """State and reason of those of them that are stored still."""
    rows = tx.execute(
        select(examples.c.id, examples.c.state, examples.c.reason).where(
            examples.c.id.in_(example_ids)
        )
    )
    return {id_: f"{state}: {reason}" if reason else state for id_, state, reason in rows}


def _placed_after(tx: Tx, domain: str, step: Step) -> dict[str, object]:
    """The name of the next version and what it follows; Conflict if that is not the newest."""
    before = latest(tx, domain=domain)
    if step.parent is not None and (before is None or before.id != step.parent):
        raise Conflict(
            f"another version of {domain} was frozen meanwhile", remedy="look again, then repeat"
        )
    kept = dataset_versions.c
    majors = select(func.coalesce(func.max(kept.major), 0)).where(kept.domain == domain)
    name = {"major": int(tx.scalar(majors) or 0) + 1, "minor": 0}
    if before is not None and not step.major:
        minors = select(func.max(kept.minor)).where(
            kept.domain == domain, kept.major == before.major
        )
        name = {"major": before.major, "minor": int(tx.scalar(minors) or 0) + 1}
    return {**name, "because": step.because, "parent_id": before.id if before else None}


def _write_tombstones(tx: Tx, version_id: int, removed: Sequence[Tombstone]) -> None:
    if removed:
        tx.execute(
            insert(dataset_tombstones),
            [{"version_id": version_id, **one._asdict()} for one in removed],
        )


def _counts(members: Sequence[Member]) -> dict[str, int]:
    sizes = Counter(member.split for member in members)
    return {split.value: sizes[split] for split in Split}


def _credits(tx: Tx, example_ids: Sequence[int]) -> list[dict[str, object]]:
    """What imports said of these examples' licences; nobody else's word counts for one."""
    said = example_bodies.c.payload["metadata"]["provenance"]
    by = (said["license"].as_string(), func.coalesce(said["attribution"].as_string(), ""))
    rows = tx.execute(
        select(*by, func.count())
        .join(examples, examples.c.id == example_bodies.c.example_id)
        .where(
            examples.c.id.in_(example_ids),
            examples.c.source == Source.IMPORTED.value,
            by[0].is_not(None),
        )
        .group_by(*by)
        .order_by(*by)
    )
    return [{"license": name, "attribution": whom, "examples": n} for name, whom, n in rows]


def _write_members(tx: Tx, version_id: int, members: Sequence[Member]) -> None:
    placed: Counter[Split] = Counter()
    rows = []
    for member in members:
        example = member.example
        rows.append(
            {
                "version_id": version_id,
                "split": member.split.value,
                "cluster": member.cluster,
                "position": placed[member.split],
                "example_id": example.id,
                "content": {"inputs": example.inputs, "outputs": example.outputs},
                **example.model_dump(mode="json", exclude=NOT_STORED),
            }
        )
        placed[member.split] += 1
    if rows:
        tx.execute(insert(dataset_members), rows)


def _member(row: Mapping[Any, Any]) -> Member:
    content = row["content"] or {"inputs": {}, "outputs": {}}
    example = {**row, **content, "id": row["example_id"]}
    return Member.model_validate(
        {"example": example, "split": row["split"], "cluster": row["cluster"]}
    )
