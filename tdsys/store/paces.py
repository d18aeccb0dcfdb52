"""Who has acted how much lately: one row, one statement, so processes and threads count alike."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.pacing import Pace, Rate
from tdsys.store.engine import Tx
from tdsys.store.identity_schema import paces


def step(tx: Tx, *, who: str, pace: Pace, rate: Rate, now: datetime) -> int:
    """Count one act; seconds to wait when it comes too soon and is not counted, else 0.

    Nothing is lost if the machine stops: the commit does not wait for the disk.
    """
    tx.execute(select(func.set_config("synchronous_commit", "off", True)))  # noqa: FBT003
    kept, each = paces.c, timedelta(seconds=rate.every)
    ahead = each * (rate.at_once - 1)
    counted = tx.scalar(
        insert(paces)
        .values(who=who, kind=pace, even_at=now + each)
        .on_conflict_do_update(
            index_elements=[kept.who, kept.kind],
            set_={"even_at": func.greatest(kept.even_at, literal(now)) + each},
            where=kept.even_at <= now + ahead,
        )
        .returning(kept.even_at)
    )
    if counted is not None:
        return 0
    even_at = tx.scalar(select(kept.even_at).where(kept.who == who, kept.kind == pace))
    return max(1, math.ceil((even_at - ahead - now).total_seconds())) if even_at else 1
