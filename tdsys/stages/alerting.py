"""What is amiss: shown, and looked after."""

from __future__ import annotations

from datetime import datetime

from tdsys.store import Store, alerts
from tdsys.store.alerts import Alert


def listed(store: Store, *, all_: bool, domain: str | None = None) -> list[Alert]:
    """What fires, or all there was, the newest first."""
    with store.begin() as tx:
        return alerts.listed(tx, all_=all_, domain=domain)


def acknowledge(store: Store, *, alert_id: int, actor: str, now: datetime) -> None:
    """Say that somebody looks after it; Conflict when somebody did, or it is over."""
    with store.begin() as tx:
        alerts.acknowledge(tx, alert_id=alert_id, actor=actor, now=now)
