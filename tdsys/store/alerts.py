"""Alerts: one row for what is amiss under one key, however often it is seen."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select, true, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.alerting import AlertState, Severity
from tdsys.core.notices import News, is_worse
from tdsys.errors import Conflict, InvalidInput
from tdsys.store import notices
from tdsys.store.alert_schema import IS_FIRING
from tdsys.store.alert_schema import alerts as alerts_table
from tdsys.store.engine import Tx


class Alert(BaseModel):
    """What was, or is, amiss; `count` says how often it was seen."""

    model_config = ConfigDict(frozen=True)

    id: int
    key: str
    state: str
    severity: str
    title: str
    detail: str
    remedy: str
    domain: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    count: int
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    resolved_at: datetime | None


def fire(
    tx: Tx,
    *,
    key: str,
    severity: Severity,
    title: str,
    detail: str,
    remedy: str,
    now: datetime,
    domain: str | None = None,
) -> bool:
    """Say that something is amiss; True when nothing fired under the key before.

    What fires already is seen once more, with the newest words; who acknowledged it stays.
    """
    told = {
        "severity": Severity(severity).value,
        "title": title,
        "detail": detail,
        "remedy": remedy,
    }
    before = tx.scalar(select(alerts_table.c.severity).where(alerts_table.c.key == key, IS_FIRING))
    fresh = insert(alerts_table).values(
        key=key,
        state=AlertState.FIRING.value,
        domain=domain,
        first_seen_at=now,
        last_seen_at=now,
        **told,
    )
    alert_id, seen = tx.execute(
        fresh.on_conflict_do_update(
            index_elements=[alerts_table.c.key],
            index_where=IS_FIRING,
            set_={
                **told,
                "count": alerts_table.c.count + 1,
                "last_seen_at": func.greatest(alerts_table.c.last_seen_at, now),
            },
        ).returning(alerts_table.c.id, alerts_table.c.count)
    ).one()
    if seen == 1:
        notices.tell(tx, alert_id=alert_id, news=News.BEGAN, severity=severity, now=now)
    elif before and is_worse(Severity(before), severity):
        notices.tell(tx, alert_id=alert_id, news=News.WORSE, severity=severity, now=now)
    return bool(seen == 1)


def resolve(tx: Tx, *, key: str, now: datetime) -> bool:
    """Say that it is over; False when nothing fires under the key."""
    ended = tx.execute(
        update(alerts_table)
        .where(alerts_table.c.key == key, IS_FIRING)
        .values(state=AlertState.RESOLVED.value, resolved_at=now)
        .returning(alerts_table.c.id, alerts_table.c.severity)
    ).one_or_none()
    if ended is None:
        return False
    notices.tell(tx, alert_id=ended.id, news=News.OVER, severity=Severity(ended.severity), now=now)
    return True


def key_of(tx: Tx, *, alert_id: int) -> str:
    """The key of an alert that fires; Conflict when it is over, InvalidInput for none."""
    found: str | None = tx.scalar(
        select(alerts_table.c.key).where(alerts_table.c.id == alert_id, IS_FIRING)
    )
    if found is None:
        raise _not_open(tx, alert_id)
    return found


def firing(tx: Tx, *, prefix: str = "") -> list[str]:
    """The keys that fire and begin with `prefix`, in order."""
    return list(
        tx.scalars(
            select(alerts_table.c.key)
            .where(IS_FIRING, alerts_table.c.key.startswith(prefix, autoescape=True))
            .order_by(alerts_table.c.key)
        )
    )


def listed(
    tx: Tx,
    *,
    all_: bool = False,
    domain: str | None = None,
    domains: Collection[str] | None = None,
    limit: int = 1000,
) -> list[Alert]:
    """What fires, or all there was, of a domain or of some (None: all), the newest first."""
    kept = alerts_table.c
    rows = tx.execute(
        select(alerts_table)
        .where(
            true() if all_ else IS_FIRING,
            true() if domain is None else kept.domain == domain,
            true() if domains is None else kept.domain.in_(sorted(domains)),
        )
        .order_by(kept.last_seen_at.desc(), kept.id.desc())
        .limit(limit)
    ).mappings()
    return [Alert.model_validate(row) for row in rows]


def one(tx: Tx, *, alert_id: int) -> Alert | None:
    """The alert of that id."""
    query = select(alerts_table).where(alerts_table.c.id == alert_id)
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else Alert.model_validate(row)


def acknowledge(tx: Tx, *, alert_id: int, actor: str, now: datetime) -> None:
    """Say that somebody looks after it; Conflict when somebody did, or it is over."""
    kept = alerts_table.c
    taken = tx.scalar(
        update(alerts_table)
        .where(kept.id == alert_id, IS_FIRING, kept.acknowledged_at.is_(None))
        .values(acknowledged_by=actor, acknowledged_at=now)
        .returning(kept.id)
    )
    if taken is None:
        raise _not_open(tx, alert_id)


def _not_open(tx: Tx, alert_id: int) -> InvalidInput | Conflict:
    row = tx.execute(
        select(alerts_table.c.state, alerts_table.c.acknowledged_by).where(
            alerts_table.c.id == alert_id
        )
    ).one_or_none()
    if row is None:
        return InvalidInput(f"there is no alert {alert_id}", remedy="see `tdsys alerts list --all`")
    if row.state == AlertState.FIRING:
        return Conflict(f"alert {alert_id} was acknowledged by {row.acknowledged_by}")
    return Conflict(f"alert {alert_id} is over", remedy="see `tdsys alerts list`")
