"""Who judges: how each did, and letting one admit again."""

from __future__ import annotations

from datetime import datetime

from tdsys.errors import InvalidInput
from tdsys.store import Store, alerts, judgements
from tdsys.store.judgements import Standing


def standings(store: Store) -> list[Standing]:
    """Every judge so far, the newest first."""
    with store.begin() as tx:
        return judgements.standings(tx)


def resume(store: Store, *, juror: str, by: str, now: datetime) -> None:
    """Lift a suspension and what was told of it; InvalidInput where there is none."""
    with store.begin() as tx:
        if not judgements.lift(tx, juror=juror, by=by, now=now):
            raise InvalidInput(
                f"no judge {juror!r} is suspended", remedy="`tdsys judge status` lists them"
            )
        alerts.resolve(tx, key=f"judge_suspended:{juror}", now=now)
