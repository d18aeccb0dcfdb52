"""The ledger of what jurors said, and what their answers on canaries showed.

One rule: an answer is written before anything is decided by it, and the first usable one stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    Integer,
    LargeBinary,
    TableValuedAlias,
    Text,
    cast,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from tdsys.core.canaries import Outcome
from tdsys.core.rubric import Judgement, Juror, Unscored
from tdsys.store.engine import Tx
from tdsys.store.judgement_schema import Said, canary_answers, judgements, jurors, suspensions
from tdsys.store.values import records, recordset

Key = tuple[bytes, str]


class Answered(NamedTuple):
    """What a juror said of some content, or that it said nothing usable."""

    fingerprint: bytes
    juror: Juror
    sample: int
    said: Judgement | Unscored


class Standing(BaseModel):
    """A juror, how it did on canaries, and whether it may admit."""

    model_config = ConfigDict(frozen=True)

    juror: Juror
    key: str
    answers: int
    unusable: int
    canaries: dict[Outcome, int]
    suspended_at: datetime | None = None
    canary: str | None = None
    detail: str | None = None


def known(tx: Tx, *, keys: Collection[Key]) -> dict[Key, Judgement]:
    """What of (fingerprint, juror) was answered before."""
    if not keys:
        return {}
    said, wanted = judgements.c, _pairs(keys)
    rows = tx.execute(
        select(said.fingerprint, said.answers, said["values"], said.rationales, jurors)
        .join_from(judgements, jurors)
        .join(
            wanted,
            (said.fingerprint == wanted.c.fingerprint) & (said.juror == wanted.c.juror),
        )
        .where(said.outcome == Said.SCORED.value)
    ).mappings()
    found = (
        (
            bytes(row["fingerprint"]),
            Judgement.model_validate({**row, "juror": Juror.model_validate(dict(row))}),
        )
        for row in rows
    )
    return {(content, said.juror.key): said for content, said in found}


def _pairs(keys: Collection[Key]) -> TableValuedAlias:
    """The keys as a table of two columns: one statement, however many there are."""
    contents, named = zip(*keys, strict=True)
    arrays = cast(list(contents), ARRAY(LargeBinary)), cast(list(named), ARRAY(Text))
    columns = column("fingerprint", LargeBinary), column("juror", Text)
    return func.unnest(*arrays).table_valued(*columns).render_derived()


def keep(tx: Tx, *, answered: Iterable[Answered], now: datetime) -> None:
    """Append answers; what two workers paid for at once is kept once, outages not at all."""
    rows = [_row(one, now) for one in answered if not _is_outage(one.said)]
    if rows:
        tx.execute(_KEPT, {"rows": records(rows)})


_COLUMNS = ("fingerprint", "juror", "sample", "at", "outcome", "answers", "values", "rationales",
            "reason")  # fmt: skip
_KEPT = (
    insert(judgements)
    .from_select(_COLUMNS, select(recordset(judgements, *_COLUMNS)))
    .on_conflict_do_nothing()
)


def introduce(tx: Tx, *, known: Iterable[Juror], now: datetime) -> None:
    """Have a row for each juror."""
    rows = [{**one.model_dump(), "key": one.key, "first_at": now} for one in known]
    if rows:
        tx.execute(insert(jurors).on_conflict_do_nothing(), rows)


def turns(tx: Tx, *, juror: str) -> Counter[str]:
    """How often a juror was asked about each canary."""
    column = canary_answers.c.canary
    asked = select(column, func.count()).where(canary_answers.c.juror == juror).group_by(column)
    return Counter(dict(map(tuple, tx.execute(asked))))


def watched(
    tx: Tx, *, juror: str, canary: str, outcome: Outcome, detail: str, sample: int, now: datetime
) -> bool:
    """Note an answer on a canary; True when the juror is suspended by it just now."""
    seen = {"juror": juror, "canary": canary, "detail": detail, "at": now}
    tx.execute(insert(canary_answers).values(**seen, outcome=outcome.value, sample=sample))
    if outcome is not Outcome.PASSED:
        return False
    fresh = insert(suspensions).values(**seen).on_conflict_do_nothing()
    return tx.scalar(fresh.returning(suspensions.c.id)) is not None


def suspended(tx: Tx, *, keys: Collection[str]) -> set[str]:
    """Which of these jurors may not admit."""
    if not keys:
        return set()
    standing = suspensions.c
    found = select(standing.juror).where(
        standing.juror.in_(list(keys)), standing.lifted_at.is_(None)
    )
    return set(tx.scalars(found))


def lift(tx: Tx, *, juror: str, by: str, now: datetime) -> bool:
    """Let a juror admit again; False when it was not suspended."""
    lifted = tx.scalar(
        update(suspensions)
        .where(suspensions.c.juror == juror, suspensions.c.lifted_at.is_(None))
        .values(lifted_at=now, lifted_by=by)
        .returning(suspensions.c.id)
    )
    return lifted is not None


def standings(tx: Tx) -> list[Standing]:
    """Every juror, the newest first."""
    seen = _canaries(tx)
    said = (
        select(
            judgements.c.juror,
            func.count().label("answers"),
            func.sum((judgements.c.outcome == Said.UNSCORED.value).cast(Integer)).label("unusable"),
        )
        .group_by(judgements.c.juror)
        .subquery()
    )
    standing = suspensions.c
    rows = tx.execute(
        select(
            jurors,
            func.coalesce(said.c.answers, 0).label("answers"),
            func.coalesce(said.c.unusable, 0).label("unusable"),
            standing.at.label("suspended_at"),
            standing.canary,
            standing.detail,
        )
        .outerjoin(said, said.c.juror == jurors.c.key)
        .outerjoin(suspensions, (standing.juror == jurors.c.key) & standing.lifted_at.is_(None))
        .order_by(jurors.c.first_at.desc(), jurors.c.key)
    ).mappings()
    return [
        Standing.model_validate(
            {**row, "juror": Juror.model_validate(dict(row)), "canaries": seen.get(row["key"], {})}
        )
        for row in rows
    ]


def _canaries(tx: Tx) -> dict[str, dict[Outcome, int]]:
    columns = canary_answers.c.juror, canary_answers.c.outcome
    found: dict[str, dict[Outcome, int]] = {}
    for juror, outcome, n in tx.execute(select(*columns, func.count()).group_by(*columns)):
        found.setdefault(juror, {})[Outcome(outcome)] = n
    return found


def _is_outage(said: Judgement | Unscored) -> bool:
    return isinstance(said, Unscored) and said.transient


def _row(one: Answered, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "fingerprint": one.fingerprint,
        "juror": one.juror.key,
        "sample": one.sample,
        "at": now,
        "answers": None,
        "values": None,
        "rationales": None,
        "reason": None,
    }
    if isinstance(one.said, Unscored):
        return row | {"outcome": "unscored", "reason": _reason(one.said)}
    told = one.said.model_dump(mode="json")
    return row | {
        "outcome": "scored",
        "answers": told["answers"],
        "values": told["values"],
        "rationales": told["rationales"],
    }


def _reason(said: Unscored) -> str:
    return f"{said.reason}: {said.detail}" if said.detail else said.reason
