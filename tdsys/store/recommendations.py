"""Recommendations as rows, what is known of the examples they are about, and their impact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.advising import Advice, AdviceState, Kind, Predicted
from tdsys.core.lifecycle import Move
from tdsys.errors import Conflict, NotFound
from tdsys.store.effect_schema import ARE_OPEN, AttributionState, impacts
from tdsys.store.effect_schema import recommendations as recommendations_table
from tdsys.store.engine import Tx
from tdsys.store.impacts import close
from tdsys.store.schema import ScoreKind, examples, scores, transitions

OPEN = AdviceState.OPEN.value
WORDS = (Move.APPROVE.value, Move.REJECT.value)


class Recommendation(BaseModel):
    """One recommendation; `done` is what applying it did, for taking it back."""

    model_config = ConfigDict(frozen=True)

    id: int
    domain: str
    version_id: int
    attribution_id: UUID | None
    kind: Kind
    state: AdviceState
    title: str
    reason: str
    subject: dict[str, JsonValue]
    evidence: list[str]
    predicted: Predicted | None
    done: dict[str, JsonValue] | None
    actor: str | None
    created_at: datetime
    applied_at: datetime | None
    reverted_at: datetime | None

    @property
    def examples(self) -> list[str]:
        """The examples it is about, by content."""
        found = self.subject.get("examples")
        return [str(one) for one in found] if isinstance(found, list) else []

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The topics and difficulties it is about."""
        found = self.subject.get("cells")
        cells = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        return [(str(one["topic"]), str(one["difficulty"])) for one in cells]


class Fact(NamedTuple):
    """What is known of an example beside its content; `word` is a person's last move."""

    stored_at: datetime
    state: str
    fingerprint: str
    rubric: str | None
    word: str | None


def facts(tx: Tx, *, example_ids: Sequence[int]) -> dict[int, Fact]:
    """The facts of those that are still there."""
    judged = (
        select(scores.c.rubric_version)
        .where(scores.c.example_id == examples.c.id, scores.c.kind == ScoreKind.JUDGE.value,
               scores.c.outcome == "scored")
        .order_by(scores.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )  # fmt: skip
    word = (
        select(transitions.c.move)
        .where(transitions.c.example_id == examples.c.id, transitions.c.move.in_(WORDS),
               transitions.c.from_state == "in_review")
        .order_by(transitions.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )  # fmt: skip
    kept = examples.c
    content = func.encode(kept.fingerprint, "hex")
    rows = tx.execute(
        select(kept.id, kept.created_at, kept.state, content, judged, word).where(
            kept.id.in_(example_ids)
        )
    )
    return {row[0]: Fact(*row[1:]) for row in rows}


def keep(
    tx: Tx,
    *,
    domain: str,
    version_id: int,
    attribution_id: UUID | None,
    found: Sequence[Advice],
    now: datetime,
) -> list[Recommendation]:
    """Make them the open recommendations: the same one again is one row, others are superseded.

    So is one whose impact was measured, or is being, on other data: for these it is not known.
    """
    kept = recommendations_table.c
    measured = select(impacts.c.id).where(impacts.c.recommendation_id == kept.id).exists()
    gone = tx.scalars(
        update(recommendations_table)
        .where(kept.domain == domain, kept.state == OPEN,
               kept.key.not_in([one.key for one in found])
               | (measured & (kept.version_id != version_id)))
        .values(state=AdviceState.SUPERSEDED.value)
        .returning(kept.id)
    ).all()  # fmt: skip
    unheard = impacts.c.recommendation_id.in_(gone), impacts.c.state == AttributionState.OPEN.value
    for id_ in tx.scalars(select(impacts.c.id).where(*unheard)).all():
        why = "the recommendation is superseded: the data or the advice has changed"
        state = AttributionState.CANCELLED
        close(tx, impact_id=id_, state=state, outcome=None, reason=why, now=now)
    for one in found:
        row = _row(one) | {"version_id": version_id, "attribution_id": attribution_id}
        tx.execute(
            insert(recommendations_table)
            .values(**row, domain=domain, key=one.key, state=OPEN, created_at=now)
            .on_conflict_do_update(
                index_elements=[kept.domain, kept.key], index_where=ARE_OPEN, set_=row
            )
        )
    return listed(tx, domain=domain, states=(AdviceState.OPEN,))


def listed(
    tx: Tx, *, domain: str, states: Sequence[AdviceState] = tuple(AdviceState)
) -> list[Recommendation]:
    """A domain's recommendations, the newest first."""
    kept = recommendations_table.c
    rows = tx.execute(
        select(recommendations_table)
        .where(kept.domain == domain, kept.state.in_([one.value for one in states]))
        .order_by(kept.id.desc())
    ).mappings()
    return [Recommendation.model_validate(dict(row)) for row in rows]


def find(tx: Tx, *, id: int, hold: bool = False) -> Recommendation:  # noqa: A002
    """The recommendation of that id, also kept from everybody else; NotFound without one."""
    query = select(recommendations_table).where(recommendations_table.c.id == id)
    row = tx.execute(query.with_for_update() if hold else query).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"there is no recommendation {id}", remedy="see `tdsys effectiveness recommend`"
        )
    return Recommendation.model_validate(dict(row))


def applied(
    tx: Tx,
    *,
    id: int,  # noqa: A002
    actor: str,
    now: datetime,
) -> None:
    """It is followed; Conflict where it was not open."""
    _move(tx, id, AdviceState.OPEN, state=AdviceState.APPLIED.value, actor=actor, applied_at=now)


def amend(tx: Tx, *, id: int, done: Mapping[str, JsonValue]) -> None:  # noqa: A002
    """Say what following it did."""
    kept = recommendations_table.c
    tx.execute(update(recommendations_table).where(kept.id == id).values(done=dict(done)))


def reverted(tx: Tx, *, id: int, now: datetime) -> None:  # noqa: A002
    """It was taken back; Conflict where it was not applied."""
    _move(tx, id, AdviceState.APPLIED, state=AdviceState.REVERTED.value, reverted_at=now)


def _move(tx: Tx, id_: int, before: AdviceState, **values: Any) -> None:
    kept = recommendations_table.c
    moved = tx.scalar(
        update(recommendations_table)
        .where(kept.id == id_, kept.state == before.value)
        .values(**values)
        .returning(kept.id)
    )
    if moved is None:
        raise Conflict(f"recommendation {id_} is not {before} any more")


def _row(one: Advice) -> dict[str, Any]:
    told = one.model_dump(mode="json")
    subject = {name: told[name] for name in ("examples", "change")}
    cells = [{"topic": cell.topic, "difficulty": cell.difficulty} for cell in one.cells]
    return {
        "kind": one.kind.value,
        "title": one.title,
        "reason": one.reason,
        "subject": subject | {"cells": cells},
        "evidence": told["evidence"],
        "predicted": told["predicted"],
    }
