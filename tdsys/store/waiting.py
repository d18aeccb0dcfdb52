"""What waits for a person: what a look at each is worth, kept beside it.

The rows come and go by a trigger of `examples`; here they get their rank.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, bindparam, func, or_, select, true, update

from tdsys.core.example import Cell
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.reviewing import FULL_CELL, Signals, needs_two, parts, rank, value
from tdsys.core.rubric import Dimension, Judgement, Verdict
from tdsys.store import policies
from tdsys.store.engine import Tx
from tdsys.store.review_schema import reviews
from tdsys.store.schema import ScoreKind, examples, scores, transitions
from tdsys.store.values import any_of

STALE = timedelta(minutes=10)

BY_PIPELINE = (Move.REVIEW.value,)


def appraise(tx: Tx, *, ids: Collection[int], now: datetime) -> None:
    """Say what a look at each is worth, for those of them that wait; the others are passed over."""
    found = tx.execute(_SIGNALS, {"ids": list(ids)}).mappings().all() if ids else ()
    if not found:
        return
    rules = policies.currents(tx, names={row["domain"] for row in found})
    tx.execute(
        update(reviews)
        .where(reviews.c.example_id == bindparam("held"))
        .values(rank=bindparam("place"), why=bindparam("because"), needs=bindparam("people"),
                valued_at=now),
        [_appraised(row, rules[row["domain"]][1]) for row in found],
    )  # fmt: skip


def refresh(tx: Tx, *, limit: int, now: datetime) -> int:
    """Appraise those again that were not looked at for some minutes; how many."""
    stale = or_(reviews.c.valued_at.is_(None), reviews.c.valued_at < now - STALE)
    ids = tx.scalars(
        select(reviews.c.example_id)
        .where(stale)
        .order_by(reviews.c.valued_at.nulls_first())
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    appraise(tx, ids=ids, now=now)
    return len(ids)


def _appraised(row: RowMapping, policy: Policy) -> dict[str, Any]:
    found = parts(_read(row), policy, cell=Cell(row["topic"], row["difficulty"]))
    two = needs_two(row["id"], policy.second_reviews)
    return {
        "held": row["id"],
        "place": rank(value(found), since=row["entered_at"]),
        "because": [part._asdict() for part in found],
        # who came in under another share stays as it was drawn
        "people": row["needs"] if row["valued_at"] else 1 + two,
    }


def _read(row: RowMapping) -> Signals:
    return Signals(
        reason=row["reason"] or "",
        by_person=row["move"] not in (None, *BY_PIPELINE),
        verdict=Verdict.model_validate(row["verdict"]) if row["verdict"] else None,
        opinions=_opinions(row),
        admitted_in_cell=row["admitted"],
    )


def _opinions(row: RowMapping) -> list[dict[Dimension, float]]:
    """What each juror said; the score itself where they were not kept yet."""
    said = [Judgement.model_validate(one) for one in row["judgements"] or ()]
    if not said and row["accuracy"] is not None:
        return [{d: row[d.value] for d in Dimension}]
    # A score stands only where every juror had a number for every dimension.
    return [{d: value for d, value in one.values.items() if value is not None} for one in said]


def _signals() -> Any:
    verdict = _newest(ScoreKind.VERIFIER).lateral("evidence")
    judged = _newest(ScoreKind.JUDGE).where(scores.c.outcome == "scored").lateral("judged")
    last = (
        select(transitions.c.move)
        .where(transitions.c.example_id == examples.c.id)
        .order_by(transitions.c.id.desc())
        .limit(1)
        .lateral("last")
    )
    return (
        select(
            examples.c.id, examples.c.domain, examples.c.topic, examples.c.difficulty,
            examples.c.reason, reviews.c.needs, reviews.c.entered_at, reviews.c.valued_at,
            verdict.c.verdict, last.c.move, _admitted_in_cell().label("admitted"),
            judged.c.judgements, *(judged.c[d.value] for d in Dimension),
        )
        .join(reviews, reviews.c.example_id == examples.c.id)
        .outerjoin(verdict, true())
        .outerjoin(judged, true())
        .outerjoin(last, true())
        .where(any_of(examples.c.id, "ids"))
    )  # fmt: skip


def _newest(kind: ScoreKind) -> Any:
    return (
        select(scores.c.verdict, scores.c.judgements, *(scores.c[d.value] for d in Dimension))
        .where(scores.c.example_id == examples.c.id, scores.c.kind == kind.value)
        .order_by(scores.c.id.desc())
        .limit(1)
    )


def _admitted_in_cell() -> Any:
    """How many, as far as anybody wants to know: counting stops there."""
    peer = examples.alias("peer")
    some = (
        select(peer.c.id)
        .where(
            peer.c.domain == examples.c.domain,
            peer.c.state == "admitted",
            peer.c.topic == examples.c.topic,
            peer.c.difficulty == examples.c.difficulty,
        )
        .limit(FULL_CELL)
        .correlate(examples)
        .subquery()
    )
    return select(func.count()).select_from(some).scalar_subquery()


_SIGNALS = _signals()
