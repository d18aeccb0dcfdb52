"""Calibrations, and what they are made of: people's decisions beside the scores they are about."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue
from sqlalchemy import ColumnElement, FromClause, Integer, and_, exists, func, or_, select, true
from sqlalchemy.dialects.postgresql import distinct_on, insert

from tdsys.core.calibration import JudgeVersion
from tdsys.core.lifecycle import Move, State
from tdsys.core.rubric import Assessment, Dimension, Verdict
from tdsys.store.calibration_schema import calibrations
from tdsys.store.engine import Tx
from tdsys.store.replays import ASSESSED, assessment_of, evidence_before_score
from tdsys.store.schema import ScoreKind, examples, scores, transitions

TENTHS = 10
TINY = 1e-6
IN_REVIEW = State.IN_REVIEW.value


class Kept(BaseModel):
    """One calibration as it was stored."""

    model_config = ConfigDict(frozen=True)

    id: int
    domain: str
    source: str
    judge_model: str
    rubric_version: str
    prompt_version: str
    policy_version: int
    simulated: bool
    n: int
    document: dict[str, JsonValue]
    author: str
    at: datetime

    @property
    def judge(self) -> JudgeVersion:
        """Who was calibrated."""
        return JudgeVersion(self.judge_model, self.rubric_version, self.prompt_version)


class Fresh(NamedTuple):
    """A calibration before it is stored."""

    domain: str
    source: str
    judge: JudgeVersion
    policy_version: int
    simulated: bool
    n: int
    document: dict[str, JsonValue]


class Reviewed(NamedTuple):
    """An example that a person approved or rejected, and why it was before a person at all."""

    example_id: int
    approved: bool
    actor: str
    move: Move
    reason: str
    verdict: Verdict
    assessment: Assessment


class Outcomes(NamedTuple):
    """Examples that scores moved one way for one reason."""

    move: Move
    reason: str
    n: int


def put(tx: Tx, *, fresh: Fresh, author: str, now: datetime) -> int:
    """Keep a calibration; its id."""
    row = {**fresh._asdict(), **fresh.judge._asdict(), "author": author, "at": now}
    del row["judge"]
    kept: int = tx.scalars(insert(calibrations).values(row).returning(calibrations.c.id)).one()
    return kept


def latest(tx: Tx, *, domain: str) -> Kept | None:
    """A domain's newest calibration."""
    row = (
        tx.execute(
            select(calibrations)
            .where(calibrations.c.domain == domain)
            .order_by(calibrations.c.id.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Kept.model_validate(row)


def calibrated(tx: Tx) -> list[str]:
    """The domains that have a calibration."""
    return list(
        tx.scalars(select(calibrations.c.domain).distinct().order_by(calibrations.c.domain))
    )


def newest_judge(tx: Tx, *, domain: str) -> JudgeVersion | None:
    """Whose score was the last that decided about an example of the domain."""
    row = tx.execute(
        select(scores.c.judge_model, scores.c.rubric_version, scores.c.prompt_version)
        .join(transitions, transitions.c.score_id == scores.c.id)
        .join(examples, examples.c.id == scores.c.example_id)
        .where(examples.c.domain == domain, _is_judged())
        .order_by(scores.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else JudgeVersion(*row)


def reviewed(
    tx: Tx, *, domain: str, judge: JudgeVersion, since: datetime | None = None
) -> list[Reviewed]:
    """People's last words on examples that this judge scored (after `since`), by example.

    A word counts while nothing brought the example back before a person, and only where a score,
    not another person, had brought it there.
    """
    word = transitions.alias("w")
    brought, evidence = _brought(word), evidence_before_score()
    rows = tx.execute(
        select(
            examples.c.id,
            word.c.move.label("word"),
            word.c.actor,
            brought.c.move,
            brought.c.reason,
            evidence.c.verdict,
            *ASSESSED,
        )
        .select_from(word)
        .join(examples, examples.c.id == word.c.example_id)
        .join(brought, true())
        .join(scores, scores.c.id == brought.c.score_id)
        .join(evidence, true())
        .where(
            examples.c.domain == domain,
            word.c.from_state == IN_REVIEW,
            word.c.move.in_((Move.APPROVE.value, Move.REJECT.value)),
            word.c.score_id.is_(None),
            ~_again(word),
            _is_by(judge, since),
        )
        .order_by(examples.c.id)
    ).mappings()
    return [
        Reviewed(
            row["id"],
            row["word"] == Move.APPROVE,
            row["actor"],
            Move(row["move"]),
            row["reason"],
            Verdict.model_validate(row["verdict"]),
            assessment_of(row),
        )
        for row in rows
    ]


def _brought(word: FromClause) -> Any:
    """What had brought an example before a person when this was said of it."""
    entry = transitions.alias("e")
    return (
        select(entry.c.move, entry.c.reason, entry.c.score_id)
        .where(
            entry.c.example_id == word.c.example_id,
            entry.c.to_state == IN_REVIEW,
            entry.c.id < word.c.id,
            # A decision taken back brings it where it was: that counts for what brought it there.
            or_(entry.c.score_id.is_not(None), entry.c.move == Move.FLAG.value),
        )
        .order_by(entry.c.id.desc())
        .limit(1)
        .lateral("brought")
    )


def _again(word: FromClause) -> ColumnElement[bool]:
    """Whether the example came before a person, or left one, after this was said."""
    later = transitions.alias("l")
    return exists().where(
        later.c.example_id == word.c.example_id,
        later.c.id > word.c.id,
        or_(later.c.to_state == IN_REVIEW, later.c.from_state == IN_REVIEW),
    )


def outcomes(
    tx: Tx, *, domain: str, judge: JudgeVersion, since: datetime | None = None
) -> list[Outcomes]:
    """What became of each example by this judge's scores (after `since`), counted."""
    newest = (
        select(transitions.c.example_id, transitions.c.move, transitions.c.reason)
        .ext(distinct_on(transitions.c.example_id))
        .join(scores, scores.c.id == transitions.c.score_id)
        .join(examples, examples.c.id == transitions.c.example_id)
        .where(examples.c.domain == domain, _is_by(judge, since))
        .order_by(transitions.c.example_id, transitions.c.id.desc())
        .subquery()
    )
    by = (newest.c.move, newest.c.reason)
    rows = tx.execute(select(*by, func.count()).group_by(*by).order_by(*by))
    return [Outcomes(Move(move), reason, n) for move, reason, n in rows]


def spreads(
    tx: Tx, *, domain: str, judge: JudgeVersion, since: datetime | None = None
) -> dict[str, list[int]]:
    """How many of this judge's scores (after `since`) lie in each tenth; 1.0 is in the last."""
    found: dict[str, list[int]] = {}
    for dimension in Dimension:
        tenth = func.least(func.floor(scores.c[dimension.value] * TENTHS + TINY), TENTHS - 1)
        rows = tx.execute(
            select(tenth.cast(Integer), func.count())
            .join(examples, examples.c.id == scores.c.example_id)
            .where(examples.c.domain == domain, _is_by(judge, since))
            .group_by(tenth)
        )
        counted: dict[int, int] = {place: n for place, n in rows}  # noqa: C416  # rows are no pairs
        found[dimension.value] = [counted.get(place, 0) for place in range(TENTHS)]
    return found


def _is_judged() -> ColumnElement[bool]:
    return and_(scores.c.kind == ScoreKind.JUDGE.value, scores.c.outcome == "scored")


def _is_by(judge: JudgeVersion, since: datetime | None) -> ColumnElement[bool]:
    version: dict[str, Any] = judge._asdict()
    told = [scores.c[name] == value for name, value in version.items()]
    return and_(_is_judged(), *told, true() if since is None else scores.c.created_at > since)
