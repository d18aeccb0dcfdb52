"""What decides whether a domain is optimized again, and why each run began."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from tdsys.errors import Conflict
from tdsys.store.alert_schema import IS_FIRING
from tdsys.store.alert_schema import alerts as alerts_table
from tdsys.store.engine import Tx
from tdsys.store.program_schema import run_causes
from tdsys.store.schema import ADMITTED, CANDIDATE, ScoreKind, dataset_members, examples, scores

NO_RUN = UUID(int=0)
# A domain whose newest hundred decisions needed no judge has none to speak of.
LOOKED_AT = 100


class Cause(NamedTuple):
    """Why a run began; `judge` is whoever scored last then."""

    because: list[str]
    judge: str | None


def explain(
    tx: Tx,
    *,
    run_id: UUID,
    domain: str,
    follows: UUID | None,
    because: Sequence[str],
    judge: str | None,
) -> None:
    """Say why a run begins, decided when `follows` was the newest run (None: there was none).

    Conflict when another run follows that one already: whoever decided by old facts is late.
    """
    written = tx.scalar(
        insert(run_causes)
        .values(
            run_id=run_id,
            domain=domain,
            follows=follows or NO_RUN,
            because=list(because),
            judge=judge,
        )
        .on_conflict_do_nothing(constraint="uq_run_causes_domain_follows")
        .returning(run_causes.c.run_id)
    )
    if written is None:
        raise Conflict("another run was queued meanwhile", remedy="see `tdsys optimize status`")


def cause(tx: Tx, *, run_id: UUID) -> Cause | None:
    """Why a run began; None for one of before that was written down."""
    kept = run_causes.c
    row = tx.execute(
        select(kept.because, kept.judge).where(kept.run_id == run_id)
    ).one_or_none()  # fmt: skip
    return None if row is None else Cause(*row)


def lost(tx: Tx, *, fingerprints: Sequence[str], version_id: int) -> int:
    """How many of these members of a version are no more admitted with that very content.

    What the version lacked already is not counted: a run on it has answered that.
    """
    held = set(
        tx.scalars(
            select(dataset_members.c.fingerprint).where(
                dataset_members.c.version_id == version_id,
                dataset_members.c.fingerprint.in_(fingerprints),
            )
        )
    )
    still = tx.scalar(
        select(func.count())
        .select_from(examples)
        .where(
            examples.c.fingerprint.in_([bytes.fromhex(one) for one in held]),
            examples.c.state == ADMITTED,
        )
    )
    return len(held) - (still or 0)


def judge(tx: Tx, *, domain: str) -> str | None:
    """Model, rubric and prompt of the newest score in the domain; None where nothing is scored."""
    newest = (
        select(examples.c.id)
        .where(examples.c.domain == domain, examples.c.state != CANDIDATE)
        .order_by(examples.c.moved_at.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    row = tx.execute(
        select(scores.c.judge_model, scores.c.rubric_version, scores.c.prompt_version)
        .join(newest, newest.c.id == scores.c.example_id)
        .where(scores.c.kind == ScoreKind.JUDGE.value, scores.c.judge_model.is_not(None))
        .order_by(scores.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else " ".join(str(part) for part in row)


def firing_since(tx: Tx, *, key: str) -> datetime | None:
    """When the alert of that key began; None where it does not fire."""
    since: datetime | None = tx.scalar(
        select(alerts_table.c.first_seen_at).where(IS_FIRING, alerts_table.c.key == key)
    )
    return since
