"""Claim candidates, record what was decided, move examples for people.

One rule: an example changes its state in the statement that checks the state, and in the same
transaction a row of `transitions` says who moved it and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, ScalarSelect, case, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.dataset import Admitted
from tdsys.core.example import Candidate, Document
from tdsys.core.lifecycle import Move, State, after
from tdsys.core.rubric import Assessment, Decision, Dimension, Unscored, Verdict
from tdsys.errors import Conflict, InvalidInput
from tdsys.store import programs, waiting
from tdsys.store.engine import Tx
from tdsys.store.import_schema import trusted_examples
from tdsys.store.leases import is_due
from tdsys.store.review_schema import example_revisions
from tdsys.store.schema import (
    ADMITTED,
    CANDIDATE,
    ScoreKind,
    example_bodies,
    examples,
    scores,
    transitions,
)


class _Step(NamedTuple):
    """One row of `transitions`, but for the example and the time."""

    from_state: State
    to_state: State
    move: Move
    reason: str
    detail: str
    actor: str
    policy_version: int
    score_id: int | None = None


def claim(tx: Tx, *, limit: int, lease: timedelta, now: datetime) -> list[Candidate]:
    """Take at most `limit` due candidates for `lease`; nobody else gets them meanwhile."""
    due = (
        select(examples.c.id)
        .where(examples.c.state == CANDIDATE, is_due(examples.c.due_at, now=now, lease=lease))
        .order_by(examples.c.due_at, examples.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    kept = examples.c
    rows = tx.execute(
        update(examples)
        .where(kept.id == due.c.id, example_bodies.c.example_id == due.c.id)
        .values(attempts=kept.attempts + 1, due_at=now + lease)
        .returning(
            kept.id,
            kept.domain,
            kept.topic,
            kept.difficulty,
            kept.source,
            kept.attempts,
            kept.simulated,
            _unusable_answers().label("unusable_answers"),
            vouched_by().label("trusted_by"),
            _revision().label("revision"),
            example_bodies.c.payload,
        )
    ).mappings()
    claimed = [Candidate.model_validate({**row, **_content(row["payload"])}) for row in rows]
    return sorted(claimed, key=lambda candidate: candidate.id)


def prolong(tx: Tx, *, claimed: Sequence[Candidate], until: datetime) -> bool:
    """Keep the lease of candidates that are still ours; True when none is any more."""
    kept = tx.execute(
        update(examples)
        .where(
            examples.c.state == CANDIDATE,
            tuple_(examples.c.id, examples.c.attempts).in_([(c.id, c.attempts) for c in claimed]),
        )
        .values(due_at=until)
        .returning(examples.c.id)
    )
    return not kept.all()


def _unusable_answers() -> ScalarSelect[int]:
    """How often a judge answered and it was no score; outages are not recorded as answers."""
    return (
        select(func.count())
        .where(
            scores.c.example_id == examples.c.id,
            scores.c.kind == ScoreKind.JUDGE.value,
            scores.c.outcome == "unscored",
            # A person who unparks an example gives it a fresh start.
            scores.c.created_at >= examples.c.moved_at,
        )
        .scalar_subquery()
    )


def vouched_by() -> ColumnElement[str]:
    """Who vouches for what an example holds: whoever edited it last, or brought its file."""
    edited = example_revisions
    editor = (
        select(case((edited.c.vouched, edited.c.editor)))
        .where(edited.c.example_id == examples.c.id)
        .order_by(edited.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    file = (
        select(trusted_examples.c.actor)
        .where(trusted_examples.c.example_id == examples.c.id)
        .scalar_subquery()
    )
    return func.coalesce(editor, file)


def _revision() -> ScalarSelect[int]:
    edited = example_revisions
    return select(func.count()).where(edited.c.example_id == examples.c.id).scalar_subquery()


def record(
    tx: Tx,
    *,
    candidate: Candidate,
    verdict: Verdict,
    answer: Assessment | Unscored,
    decision: Decision,
    policy_version: int,
    actor: str,
    now: datetime,
) -> bool:
    """Write a decision with its scores; False, and nothing written, when it is no candidate now.

    A lease that ran out does not matter: the first answer wins, it was paid for.
    """
    to = after(State.CANDIDATE, decision.move)
    moved = tx.scalar(
        update(examples)
        .where(
            examples.c.id == candidate.id,
            examples.c.state == CANDIDATE,
            # What was judged must be what is there: somebody may have edited it meanwhile.
            _revision() == candidate.revision,
        )
        .values(
            state=to.value,
            reason=decision.reason,
            quality=decision.quality,
            due_at=None,
            moved_at=now,
        )
        .returning(examples.c.id)
    )
    if moved is None:
        return False
    score_id = _append_scores(tx, candidate, verdict, answer, policy_version, now)
    _explain(
        tx,
        candidate.id,
        now,
        _Step(
            State.CANDIDATE,
            to,
            decision.move,
            decision.reason,
            decision.detail,
            actor,
            policy_version,
            score_id,
        ),
    )
    if to is State.IN_REVIEW:
        waiting.appraise(tx, ids=[candidate.id], now=now)
    return True


def retry(
    tx: Tx,
    *,
    candidate: Candidate,
    verdict: Verdict,
    answer: Unscored,
    policy_version: int,
    due_at: datetime,
    now: datetime,
) -> None:
    """Keep an unscored candidate for `due_at`; nothing when it is decided or claimed again.

    A model that was away gave no answer: then there is nothing to write to the ledger.
    """
    kept = tx.scalar(
        update(examples)
        .where(
            examples.c.id == candidate.id,
            examples.c.state == CANDIDATE,
            examples.c.attempts == candidate.attempts,
        )
        .values(due_at=due_at)
        .returning(examples.c.id)
    )
    if kept is not None and not answer.transient:
        _append_scores(tx, candidate, verdict, answer, policy_version, now)


def move(
    tx: Tx,
    *,
    example_id: int,
    move: Move,
    reason: str,
    detail: str,
    actor: str,
    policy_version: int,
    now: datetime,
) -> State:
    """Make a person's move, the new state; Conflict when it is not legal from where it stands."""
    row = tx.execute(
        select(examples.c.state, examples.c.quality)
        .where(examples.c.id == example_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise InvalidInput(f"there is no example {example_id}", remedy="it may have been purged")
    to = after(State(row.state), move)
    if to is State.ADMITTED and row.quality is None:
        raise Conflict(
            f"example {example_id} has no score yet, so it cannot be admitted",
            remedy="let the judge score it first",
        )
    changed: dict[str, Any] = {"state": to.value, "reason": reason, "moved_at": now, "due_at": None}
    if to is State.CANDIDATE:
        changed |= {"due_at": now, "attempts": 0}
    tx.execute(update(examples).where(examples.c.id == example_id).values(changed))
    _explain(
        tx,
        example_id,
        now,
        _Step(State(row.state), to, move, reason, detail, actor, policy_version),
    )
    if to is State.IN_REVIEW:
        waiting.appraise(tx, ids=[example_id], now=now)
    if row.state == State.ADMITTED:
        programs.outdate(tx, example_ids=[example_id])
    return to


def admitted(tx: Tx, *, domain: str) -> list[Admitted]:
    """The domain's admitted examples with content, in the order of their fingerprints."""
    kept = examples.c
    rows = tx.execute(
        select(
            kept.id,
            kept.fingerprint,
            kept.topic,
            kept.difficulty,
            kept.source,
            kept.simulated,
            kept.quality,
            example_bodies.c.payload,
        )
        .join_from(examples, example_bodies)
        .where(kept.domain == domain, kept.state == ADMITTED)
        .order_by(kept.fingerprint)
    ).mappings()
    return [
        Admitted.model_validate(
            {**row, "fingerprint": row["fingerprint"].hex(), **_content(row["payload"])}
        )
        for row in rows
    ]


def _content(payload: Document) -> Document:
    return {"inputs": payload["inputs"], "outputs": payload["outputs"]}


def _append_scores(
    tx: Tx,
    candidate: Candidate,
    verdict: Verdict,
    answer: Assessment | Unscored,
    policy_version: int,
    now: datetime,
) -> int:
    """Append the verifier's word and the judge's; the id of the judge's row."""
    shared = {
        "example_id": candidate.id,
        "policy_version": policy_version,
        "attempt": candidate.attempts,
        "created_at": now,
    }
    tx.execute(
        insert(scores).values(
            **shared,
            kind=ScoreKind.VERIFIER.value,
            outcome="scored",
            verdict=verdict.model_dump(mode="json"),
        )
    )
    score_id: int = tx.scalars(
        insert(scores)
        .values(**shared, kind=ScoreKind.JUDGE.value, **_judged(answer))
        .returning(scores.c.id)
    ).one()
    return score_id


def _judged(answer: Assessment | Unscored) -> dict[str, Any]:
    if isinstance(answer, Unscored):
        reason = f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason
        return {"outcome": "unscored", "reason": reason}
    return {
        "outcome": "scored",
        "simulated": answer.simulated,
        "judge_model": answer.judge_model,
        "rubric_version": answer.rubric_version,
        "prompt_version": answer.prompt_version,
        "rationales": {d.value: answer.scores[d].rationale for d in Dimension},
        "judgements": [said.model_dump(mode="json") for said in answer.judgements],
        **{d.value: answer.scores[d].value for d in Dimension},
    }


def _explain(tx: Tx, example_id: int, now: datetime, step: _Step) -> None:
    tx.execute(insert(transitions).values(**step._asdict(), example_id=example_id, at=now))
