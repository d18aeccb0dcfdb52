"""One example with everything that is known of it; reads only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, func, select

from tdsys.core.example import Document
from tdsys.core.lifecycle import Move, State, open_to_people
from tdsys.core.rubric import Dimension, Verdict
from tdsys.store.engine import Tx
from tdsys.store.import_schema import imports, trusted_examples
from tdsys.store.schema import (
    ScoreKind,
    capture_duplicates,
    dataset_members,
    dataset_versions,
    example_bodies,
    examples,
    programs,
    scores,
    transitions,
)

MOST = 200


class Scored(NamedTuple):
    """One word of the verifier or of a judge; `values` is empty where it is no score."""

    id: int
    kind: str
    outcome: str
    values: dict[str, float]
    rationales: dict[str, str]
    verdict: Verdict | None
    judge_model: str | None
    rubric_version: str | None
    prompt_version: str | None
    policy_version: int
    simulated: bool
    attempt: int
    reason: str | None
    created_at: datetime


class Step(NamedTuple):
    """One move: who, when, why."""

    from_state: str
    to_state: str
    move: str
    reason: str
    detail: str
    actor: str
    policy_version: int
    score_id: int | None
    at: datetime


class Used(NamedTuple):
    """A dataset version that holds it, and the programs that learned from that version."""

    version_id: int
    domain: str
    name: str
    split: str
    programs: list[int]
    demo_in: list[int]


class Whole(NamedTuple):
    """One example; `imported`: the trusted file it came in; `repeated`: how often it came again."""

    id: int
    capture_id: UUID | None
    fingerprint: str
    domain: str
    topic: str
    difficulty: str
    source: str
    state: State
    simulated: bool
    quality: float | None
    reason: str | None
    attempts: int
    due_at: datetime | None
    captured_at: datetime
    created_at: datetime
    moved_at: datetime
    inputs: Document
    outputs: Document
    metadata: Document
    scores: list[Scored]
    steps: list[Step]
    used: list[Used]
    imported: tuple[UUID, str] | None
    repeated: int

    @property
    def moves(self) -> list[Move]:
        """What a person may do with it."""
        scored = self.quality is not None
        return [one for one in open_to_people(self.state) if scored or one is not Move.APPROVE]


def whole(tx: Tx, *, example_id: int) -> Whole | None:
    """The example of that id with its history; None when there is none."""
    row = (
        tx.execute(
            select(examples, example_bodies.c.payload)
            .join(example_bodies, example_bodies.c.example_id == examples.c.id)
            .where(examples.c.id == example_id)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    known = {name: row[name] for name in Whole._fields if name in row}
    payload = row["payload"]
    fingerprint = row["fingerprint"].hex()
    return Whole(
        **{**known, "fingerprint": fingerprint, "state": State(row["state"])},
        inputs=payload["inputs"],
        outputs=payload["outputs"],
        metadata=payload.get("metadata") or {},
        scores=_scores(tx, example_id),
        steps=_steps(tx, example_id),
        used=_used(tx, example_id, fingerprint),
        imported=_imported(tx, example_id),
        repeated=_repeated(tx, row["fingerprint"]),
    )


def _scores(tx: Tx, example_id: int) -> list[Scored]:
    rows = tx.execute(
        select(scores).where(scores.c.example_id == example_id).order_by(scores.c.id).limit(MOST)
    ).mappings()
    return [_scored(row) for row in rows]


def _scored(row: Any) -> Scored:
    judged = row["kind"] == ScoreKind.JUDGE.value and row["outcome"] == "scored"
    known = {name: row[name] for name in Scored._fields if name in row}
    return Scored(
        **{
            **known,
            "values": {d.value: row[d.value] for d in Dimension} if judged else {},
            "rationales": row["rationales"] or {},
            "verdict": row["verdict"] and Verdict.model_validate(row["verdict"]),
        }
    )


def _steps(tx: Tx, example_id: int) -> list[Step]:
    kept = transitions.c
    rows = tx.execute(
        select(*(kept[name] for name in Step._fields))
        .where(kept.example_id == example_id)
        .order_by(kept.id)
        .limit(MOST)
    )
    return [Step(*row) for row in rows]


def _used(tx: Tx, example_id: int, fingerprint: str) -> list[Used]:
    rows = tx.execute(
        select(
            dataset_versions.c.id,
            dataset_versions.c.domain,
            func.concat(dataset_versions.c.major, ".", dataset_versions.c.minor).label("name"),
            dataset_members.c.split,
        )
        .join(dataset_members, dataset_members.c.version_id == dataset_versions.c.id)
        .where(dataset_members.c.example_id == example_id)
        .order_by(dataset_versions.c.id.desc())
        .limit(MOST)
    ).all()
    learned = tx.execute(_programs([row.id for row in rows])).all()
    return [
        Used(
            row.id,
            row.domain,
            row.name,
            row.split,
            programs=[p.id for p in learned if p.version_id == row.id],
            demo_in=[p.id for p in learned if p.version_id == row.id and fingerprint in p.demos],
        )
        for row in rows
    ]


def _programs(version_ids: list[int]) -> Select[Any]:
    kept = programs.c
    return (
        select(kept.id, kept.version_id, func.coalesce(kept.envelope["demos"].as_string(), "")
               .label("demos"))
        .where(kept.version_id.in_(version_ids))
        .order_by(kept.id)
        .limit(MOST)
    )  # fmt: skip


def _imported(tx: Tx, example_id: int) -> tuple[UUID, str] | None:
    row = tx.execute(
        select(imports.c.id, imports.c.filename)
        .join(trusted_examples, trusted_examples.c.import_id == imports.c.id)
        .where(trusted_examples.c.example_id == example_id)
    ).one_or_none()
    return None if row is None else (row.id, row.filename)


def _repeated(tx: Tx, fingerprint: bytes) -> int:
    return (
        tx.scalar(select(func.count()).where(capture_duplicates.c.fingerprint == fingerprint)) or 0
    )
