"""What the pipeline decided, with what it decided on, and the same decided anew.

One rule: what a person decided is not touched; theirs are the transitions without a score, and
what was said of an example that still waits: a flag, or the first word of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import FromClause, RowMapping, bindparam, func, insert, select, true, update

from tdsys.core.example import Cell
from tdsys.core.lifecycle import Move, State, after
from tdsys.core.rubric import Assessment, Decision, Dimension, DimensionScore, Judgement, Verdict
from tdsys.store import attributions, programs, reviews, waiting
from tdsys.store.engine import Tx
from tdsys.store.examples import vouched_by
from tdsys.store.schema import ScoreKind, examples, scores, transitions

ASSESSED = (
    *(scores.c[d.value] for d in Dimension),
    scores.c.rationales,
    scores.c.judgements,
    scores.c.judge_model,
    scores.c.rubric_version,
    scores.c.prompt_version,
    scores.c.simulated,
)
DECIDED = (State.ADMITTED.value, State.IN_REVIEW.value, State.REJECTED.value)


class Judged(NamedTuple):
    """A decided example with its evidence and its score."""

    id: int
    state: State
    quality: float | None
    score_id: int
    verdict: Verdict
    assessment: Assessment
    trusted_by: str | None
    cell: Cell
    fingerprint: bytes


class Anew(NamedTuple):
    """An example, and what is decided of it now."""

    judged: Judged
    decision: Decision

    @property
    def state(self) -> State:
        """Where it goes."""
        return after(State.CANDIDATE, self.decision.move)


def decided(tx: Tx, *, domain: str) -> int:
    """How many examples of a domain are decided, by whomever."""
    decided_here = examples.c.domain == domain, examples.c.state.in_(DECIDED)
    return tx.scalar(select(func.count()).where(*decided_here)) or 0


def behind(tx: Tx, *, domain: str, last: int, limit: int, hold: bool) -> list[int]:
    """The ids of the next decided examples behind one; `hold` keeps them for this transaction."""
    found = (
        select(examples.c.id)
        .where(examples.c.domain == domain, examples.c.state.in_(DECIDED), examples.c.id > last)
        .order_by(examples.c.id)
        .limit(limit)
    )
    return list(tx.scalars(found.with_for_update() if hold else found))


def judged(tx: Tx, *, ids: Sequence[int]) -> list[Judged]:
    """Those of them that a score decided, by id."""
    last = (
        select(transitions.c.score_id)
        .where(transitions.c.example_id == examples.c.id)
        .order_by(transitions.c.id.desc())
        .limit(1)
        .lateral("last")
    )
    evidence = evidence_before_score()
    rows = tx.execute(
        select(
            examples.c.id,
            examples.c.state,
            examples.c.quality,
            examples.c.topic,
            examples.c.difficulty,
            examples.c.fingerprint,
            evidence.c.verdict,
            vouched_by().label("trusted_by"),
            scores.c.id.label("score_id"),
            *ASSESSED,
        )
        .select_from(examples)
        .join(last, true())
        .join(scores, scores.c.id == last.c.score_id)
        .join(evidence, true())
        .where(examples.c.id.in_(ids), scores.c.outcome == "scored", ~reviews.waits_on_a_word())
        .order_by(examples.c.id)
    ).mappings()
    return [_judged(row) for row in rows]


def evidence_before_score() -> FromClause:
    """The verifier's newest word on an example before a score, to be joined with both."""
    word = scores.alias("word")
    return (
        select(word.c.verdict)
        .where(
            word.c.example_id == examples.c.id,
            word.c.kind == ScoreKind.VERIFIER.value,
            word.c.id < scores.c.id,
        )
        .order_by(word.c.id.desc())
        .limit(1)
        .lateral("evidence")
    )


def assessment_of(row: RowMapping) -> Assessment:
    """The judge's answer in a row that holds ASSESSED."""
    shown = {d: DimensionScore(value=row[d.value], rationale=row["rationales"][d.value])
             for d in Dimension}  # fmt: skip
    return Assessment(
        scores=shown,
        judge_model=row["judge_model"],
        rubric_version=row["rubric_version"],
        prompt_version=row["prompt_version"],
        simulated=row["simulated"],
        judgements=tuple(map(Judgement.model_validate, row["judgements"] or ())),
    )


def _judged(row: RowMapping) -> Judged:
    return Judged(
        row["id"],
        State(row["state"]),
        row["quality"],
        row["score_id"],
        Verdict.model_validate(row["verdict"]),
        assessment_of(row),
        row["trusted_by"],
        Cell(row["topic"], row["difficulty"]),
        row["fingerprint"],
    )


def decide_anew(
    tx: Tx, *, anew: Sequence[Anew], policy_version: int, actor: str, now: datetime
) -> None:
    """Move examples that are held: back to candidate and on, in one go, with both on record."""
    if not anew:
        return
    tx.execute(
        update(examples)
        .where(examples.c.id == bindparam("held"))
        .values(state=bindparam("to"), reason=bindparam("why"), quality=bindparam("rank"),
                moved_at=now),
        [
            {"held": o.judged.id, "to": o.state.value, "why": o.decision.reason,
             "rank": o.decision.quality}
            for o in anew
        ],
    )  # fmt: skip
    shared = {"actor": actor, "policy_version": policy_version, "at": now}
    steps = [step for one in anew for step in _steps(one, policy_version)]
    tx.execute(insert(transitions), [{**shared, **step} for step in steps])
    left = [o.judged.id for o in anew if o.judged.state is State.ADMITTED is not o.state]
    programs.outdate(tx, example_ids=left)
    attributions.outdate(tx, example_ids=left)
    waiting.appraise(tx, ids=[o.judged.id for o in anew if o.state is State.IN_REVIEW], now=now)


def _steps(one: Anew, policy_version: int) -> list[dict[str, object]]:
    back = {
        "from_state": one.judged.state.value,
        "to_state": after(one.judged.state, Move.REPLAY).value,
        "move": Move.REPLAY.value,
        "reason": "policy",
        "detail": f"decided anew by policy version {policy_version}",
        "score_id": None,
    }
    on = {
        "from_state": State.CANDIDATE.value,
        "to_state": one.state.value,
        "move": one.decision.move.value,
        "reason": one.decision.reason,
        "detail": one.decision.detail,
        "score_id": one.judged.score_id,
    }
    return [{**step, "example_id": one.judged.id} for step in (back, on)]
