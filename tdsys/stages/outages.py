"""Tell people of a model that does not answer: an alert for as long as nobody may ask it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tdsys.core.alerting import Severity
from tdsys.core.throttling import Standing
from tdsys.stages.alerting import Evaluated
from tdsys.store import Store, alerts

PREFIX = "model: "
# A provider that stumbles mends itself in less.
PATIENCE_SECONDS = 60.0


def tell(store: Store, standings: Mapping[str, Standing], *, now: datetime) -> Evaluated:
    """Fire for what has been away for a minute, resolve what answers again."""
    away = {
        PREFIX + name: one for name, one in standings.items() if one.broken_for >= PATIENCE_SECONDS
    }
    with store.begin() as tx:
        began = sum(
            alerts.fire(
                tx,
                key=key,
                severity=Severity.CRITICAL,
                title=f"{key.removeprefix(PREFIX)} does not answer",
                detail=f"for {one.broken_for / 60:.0f} minutes; what needs it waits",
                remedy="see `tdsys models`, and the provider's own status page",
                now=now,
            )
            for key, one in sorted(away.items())
        )
        gone = [key for key in alerts.firing(tx, prefix=PREFIX) if key not in away]
        over = sum(alerts.resolve(tx, key=key, now=now) for key in gone)
    return Evaluated(began, over)
