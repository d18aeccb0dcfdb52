"""Claim candidates, record what was decided, move examples for people.

One rule: an example changes its state in the statement that checks the state, and in the same
transaction a row of `transitions` says who moved it and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    bindparam,
    case,
    false,
    func,
    null,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.sql.dml import ReturningUpdate

from tdsys.core.dataset import Admitted
from tdsys.core.example import Candidate, Document
from tdsys.core.lifecycle import Move, State, after
from tdsys.core.rubric import Assessment, Decision, Dimension, Outcome, Unscored, Verdict
from tdsys.errors import Conflict, InvalidInput
from tdsys.store import attributions, programs, waiting
from tdsys.store.engine import Tx
from tdsys.store.import_schema import trusted_examples
from tdsys.store.leases import is_due_then, moment
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
from tdsys.store.values import any_of, records, recordset

_CHANGED = ("state", "reason", "quality", "moved_at")
_DECISIONS = recordset(examples, "id", *_CHANGED)
_DECIDE = (
    update(examples)
    .where(examples.c.id == _DECISIONS.c.id)
    .values({name: _DECISIONS.c[name] for name in _CHANGED} | {"due_at": null()})
)
_SHARED = ("example_id", "kind", "outcome", "policy_version", "attempt", "created_at")
_JUDGED = ("judge_model", "rubric_version", "prompt_version", "rationales", "judgements", "reason",
           *(dimension.value for dimension in Dimension))  # fmt: skip


def _appended(*names: str) -> Insert:
    given = recordset(scores, *_SHARED, *names)
    return insert(scores).from_select([*_SHARED, *names], select(given))


_PROVED = _appended("verdict")
_SCORED = _appended("simulated", *_JUDGED).returning(scores.c.example_id, scores.c.id)


class Heard(NamedTuple):
    """What the verifier and the judge said of a candidate, and by whose rules they were asked."""

    candidate: Candidate
    verdict: Verdict
    answer: Assessment | Unscored
    policy_version: int


class Decided(NamedTuple):
    """What follows from what was said, and who says so."""

    heard: Heard
    decision: Decision
    actor: str


class _Step(NamedTuple):
    """One row of `transitions`, but for the time."""

    example_id: int
    from_state: State
    to_state: State
    move: Move
    reason: str
    detail: str
    actor: str
    policy_version: int
    score_id: int | None = None


_EXPLAINED = insert(transitions).from_select(
    [*_Step._fields, "at"], select(recordset(transitions, *_Step._fields, "at"))
)


def claim(tx: Tx, *, limit: int, lease: timedelta, now: datetime) -> list[Candidate]:
    """Take at most `limit` due candidates for `lease`; nobody else gets them meanwhile."""
    asked = {**moment(now, lease=lease), "limit": limit, "until": now + lease}
    rows = tx.execute(_claimed(), asked).mappings()
    claimed = [Candidate.model_validate({**row, **_content(row["payload"])}) for row in rows]
    return sorted(claimed, key=lambda candidate: candidate.id)


@cache
def _claimed() -> ReturningUpdate[Any]:
    kept = examples.c
    due = (
        select(kept.id)
        .where(kept.state == CANDIDATE, is_due_then(kept.due_at))
        .order_by(kept.due_at, kept.id)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(examples)
        .where(kept.id == due.c.id, example_bodies.c.example_id == due.c.id)
        .values(attempts=kept.attempts + 1, due_at=bindparam("until"))
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
    )


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


def record(tx: Tx, *, decided: Sequence[Decided], now: datetime) -> set[int]:
    """Write decisions with their scores; the ids of those that were candidates until now.

    A lease that ran out does not matter: the first answer wins, it was paid for.
    """
    ours = _as_judged(tx, [one.heard.candidate for one in decided])
    fresh = [one for one in decided if one.heard.candidate.id in ours]
    if fresh:
        tx.execute(_DECIDE, {"rows": records([_decided(one, now) for one in fresh])})
        ids = _append_scores(tx, [one.heard for one in fresh], now)
        _explain(tx, list(map(_step, fresh, ids)), now)
        waits = [one for one in fresh if one.decision.move is Move.REVIEW]
        waiting.appraise(tx, ids=[one.heard.candidate.id for one in waits], now=now)
    return ours


def _as_judged(tx: Tx, candidates: Sequence[Candidate]) -> set[int]:
    """Which of them are undecided and hold what was judged; somebody may have edited one meanwhile.

    Looked at after their rows are held, because what is not held may change in between. Nobody else
    decides about those in this transaction.
    """
    judged = {one.id: one.revision for one in candidates}
    held = list(tx.scalars(_HELD, {"ids": list(judged)}))
    found = tx.execute(_REVISIONS, {"ids": held})
    return {id_ for id_, revision in found if judged[id_] == revision}


# In one order, so that two workers with the same examples wait and do not block each other.
_HELD = (
    select(examples.c.id)
    .where(any_of(examples.c.id, "ids"), examples.c.state == CANDIDATE)
    .order_by(examples.c.id)
    .with_for_update()
)
_REVISIONS = select(examples.c.id, _revision()).where(any_of(examples.c.id, "ids"))


def _decided(one: Decided, now: datetime) -> dict[str, Any]:
    to = after(State.CANDIDATE, one.decision.move)
    return {
        "id": one.heard.candidate.id,
        "state": to.value,
        "reason": one.decision.reason,
        "quality": one.decision.quality,
        "moved_at": now,
    }


def _step(one: Decided, score_id: int) -> _Step:
    move = one.decision.move
    return _Step(
        one.heard.candidate.id,
        State.CANDIDATE,
        after(State.CANDIDATE, move),
        move,
        one.decision.reason,
        one.decision.detail,
        one.actor,
        one.heard.policy_version,
        score_id,
    )


def retry(tx: Tx, *, heard: Heard, due_at: datetime, now: datetime) -> None:
    """Keep an unscored candidate for `due_at`; nothing when it is decided or claimed again.

    A model that was away gave no answer: then there is nothing to write to the ledger.
    """
    candidate, answer = heard.candidate, heard.answer
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
    away = isinstance(answer, Unscored) and answer.transient
    if kept is not None and not away:
        _append_scores(tx, [heard], now)


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
        [_Step(example_id, State(row.state), to, move, reason, detail, actor, policy_version)],
        now,
    )
    if to is State.IN_REVIEW:
        waiting.appraise(tx, ids=[example_id], now=now)
    if row.state == State.ADMITTED:
        programs.outdate(tx, example_ids=[example_id])
        attributions.outdate(tx, example_ids=[example_id])
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
            func.coalesce(_suspicious(), false()).label("suspicious"),
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


def _suspicious() -> ScalarSelect[bool]:
    """Whether a check called for a person when the example was last verified."""
    call = {"checks": [{"outcome": Outcome.SUSPICIOUS.value}]}
    return (
        select(scores.c.verdict.contains(call))
        .where(scores.c.example_id == examples.c.id, scores.c.kind == ScoreKind.VERIFIER.value)
        .order_by(scores.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _content(payload: Document) -> Document:
    return {"inputs": payload["inputs"], "outputs": payload["outputs"]}


def _append_scores(tx: Tx, said: Sequence[Heard], now: datetime) -> list[int]:
    """Append the verifier's word and the judge's; the ids of the judge's rows, in order."""
    shared = [_shared(one, now) for one in said]
    proved = [row | _proved(one.verdict) for row, one in zip(shared, said, strict=True)]
    judged = [row | _judged(one.answer) for row, one in zip(shared, said, strict=True)]
    tx.execute(_PROVED, {"rows": records(proved)})
    ids = dict(map(tuple, tx.execute(_SCORED, {"rows": records(judged)})))
    return [ids[one.candidate.id] for one in said]


def _shared(one: Heard, now: datetime) -> dict[str, Any]:
    return {
        "example_id": one.candidate.id,
        "policy_version": one.policy_version,
        "attempt": one.candidate.attempts,
        "created_at": now,
    }


def _proved(verdict: Verdict) -> dict[str, Any]:
    shown = verdict.model_dump(mode="json")
    return {"kind": ScoreKind.VERIFIER.value, "outcome": "scored", "verdict": shown}


def _judged(answer: Assessment | Unscored) -> dict[str, Any]:
    """The judge's row; each has every column, for they are written together."""
    row: dict[str, Any] = dict.fromkeys(_JUDGED) | {"kind": ScoreKind.JUDGE.value}
    if isinstance(answer, Unscored):
        reason = f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason
        return row | {"outcome": "unscored", "simulated": False, "reason": reason}
    return row | {
        "outcome": "scored",
        "simulated": answer.simulated,
        "judge_model": answer.judge_model,
        "rubric_version": answer.rubric_version,
        "prompt_version": answer.prompt_version,
        "rationales": {d.value: answer.scores[d].rationale for d in Dimension},
        "judgements": [said.model_dump(mode="json") for said in answer.judgements],
        **{d.value: answer.scores[d].value for d in Dimension},
    }


def _explain(tx: Tx, steps: Sequence[_Step], now: datetime) -> None:
    tx.execute(_EXPLAINED, {"rows": records([{**step._asdict(), "at": now} for step in steps])})
