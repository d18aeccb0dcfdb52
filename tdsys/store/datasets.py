"""Frozen dataset versions; the same selection is the same version, whoever freezes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import case, select, true, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from tdsys.core.dataset import Member, Split
from tdsys.core.policy import Signature
from tdsys.errors import NotFound
from tdsys.store import attributions, programs
from tdsys.store.engine import Tx
from tdsys.store.schema import dataset_members, dataset_versions, domains

_IN_ORDER = case(
    {split.value: place for place, split in enumerate(Split)}, value=dataset_members.c.split
)


class Placed(NamedTuple):
    """One member of a version, without its content."""

    example_id: int
    split: str
    topic: str
    difficulty: str


class DatasetVersion(BaseModel):
    """One immutable selection; `counts` are members per split."""

    model_config = ConfigDict(frozen=True)

    id: int
    domain: str
    number: int
    fingerprint: str
    signature: Signature
    policy_version: int
    counts: dict[str, int]
    created_at: datetime

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
) -> DatasetVersion:
    """Freeze a selection, or find it frozen; programs of other versions become stale at once."""
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
                fingerprint=fingerprint,
                signature=signature.model_dump(mode="json"),
                policy_version=policy_version,
                counts=_counts(members),
                created_at=now,
                frozen_at=now,
            )
            .returning(dataset_versions.c.id)
        ).one()
        _write_members(tx, found, members)
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


def members(tx: Tx, *, version_id: int) -> list[Member]:
    """A version's members: train, val, test, each in the order they were frozen in."""
    rows = tx.execute(
        select(dataset_members)
        .where(dataset_members.c.version_id == version_id)
        .order_by(_IN_ORDER, dataset_members.c.position)
    ).mappings()
    return [_member(row) for row in rows]


def _counts(members: Sequence[Member]) -> dict[str, int]:
    sizes = Counter(member.split for member in members)
    return {split.value: sizes[split] for split in Split}


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
                **example.model_dump(mode="json", exclude={"id", "inputs", "outputs"}),
            }
        )
        placed[member.split] += 1
    if rows:
        tx.execute(insert(dataset_members), rows)


def _member(row: Mapping[Any, Any]) -> Member:
    example = {**row, **row["content"], "id": row["example_id"]}
    return Member.model_validate(
        {"example": example, "split": row["split"], "cluster": row["cluster"]}
    )
