"""The outbox: news is written with what it is about, spread over channels, and sent from there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, exists, func, null, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert

from tdsys.core.alerting import AlertState, Severity
from tdsys.core.notices import FLAPPING, News, Notice, is_wanted
from tdsys.errors import NotFound
from tdsys.store.alert_schema import alerts
from tdsys.store.engine import Tx
from tdsys.store.leases import is_due
from tdsys.store.notice_schema import DeliveryState, deliveries, notices, silences

AT_ONCE = 100
DUE, SENT, DROPPED = (one.value for one in (DeliveryState.DUE, DeliveryState.SENT,
                                             DeliveryState.DROPPED))  # fmt: skip


class Due(NamedTuple):
    """A claimed delivery; `attempts` counts this one.

    Stale: it waited until the alert was over, or is the end of what was not told.
    """

    notice: Notice
    channel: str
    attempts: int
    first_at: datetime
    is_stale: bool


class Delivery(BaseModel):
    """One notice for one channel, as an operator looks at it."""

    model_config = ConfigDict(frozen=True)

    id: int
    alert_id: int
    channel: str
    news: str
    title: str
    state: str
    attempts: int
    error: str | None
    at: datetime
    due_at: datetime | None
    ended_at: datetime | None


class Silence(BaseModel):
    """What nobody is told until then; no rule or no domain: of any."""

    model_config = ConfigDict(frozen=True)

    id: int
    rule: str | None
    domain: str | None
    reason: str
    actor: str
    created_at: datetime
    until: datetime


def tell(tx: Tx, *, alert_id: int, news: News, severity: Severity, now: datetime) -> None:
    """Write news of an alert; the same news once."""
    tx.execute(
        insert(notices)
        .values(alert_id=alert_id, news=news.value, severity=severity.value, at=now)
        .on_conflict_do_nothing()
    )


def spread(tx: Tx, *, channels: Mapping[str, Severity], now: datetime) -> int:
    """Give new news to each channel that wants it, how many there were.

    Of an end only those hear who heard of the beginning. What is silenced waits: if it still
    fires when the silence ends, it is told then. So does what began again soon after it was told.
    """
    rows = tx.execute(
        select(notices.c.id, notices.c.alert_id, notices.c.news, notices.c.severity,
               alerts.c.key, alerts.c.state)
        .join(alerts, alerts.c.id == notices.c.alert_id)
        .where(notices.c.spread_at.is_(None), or_(_is_over(), ~_is_silenced(now)))
        .order_by(notices.c.id)
        .limit(AT_ONCE)
        .with_for_update(of=notices, skip_locked=True)
    ).all()  # fmt: skip
    for row in rows:
        if row.news == News.OVER:
            if _is_being_told(tx, row.alert_id, row.id):
                continue
            told = dict.fromkeys(_heard(tx, row.alert_id, DUE, SENT), now)
        elif row.state == AlertState.RESOLVED:
            told = {}
        else:
            severity = Severity(row.severity)
            wanting = [name for name, least in channels.items() if is_wanted(severity, least)]
            told = _from_when(tx, row.key, wanting, now, again=row.news == News.WORSE)
        _hand_out(tx, row.id, told, now)
    return len(rows)


def claim(tx: Tx, *, lease: timedelta, now: datetime) -> Due | None:
    """Take the delivery that is due longest, for `lease`; never an end before its beginning."""
    kept, other, theirs = deliveries.c, deliveries.alias(), notices.alias()
    before = exists().where(
        other.c.channel == kept.channel,
        other.c.state == DUE,
        other.c.id < kept.id,
        theirs.c.id == other.c.notice_id,
        theirs.c.alert_id == notices.c.alert_id,
    )
    due = (
        select(kept.id)
        .join(notices, notices.c.id == kept.notice_id)
        .where(kept.state == DUE, is_due(kept.due_at, now=now, lease=lease), ~before)
        .order_by(kept.due_at, kept.id)
        .limit(1)
        .with_for_update(of=deliveries, skip_locked=True)
        .scalar_subquery()
    )
    taken = (
        update(deliveries)
        .where(kept.id == due)
        .values(due_at=now + lease, attempts=kept.attempts + 1)
        .returning(kept.id, kept.notice_id, kept.channel, kept.attempts, kept.held)
        .cte("taken")
    )
    row = tx.execute(
        select(taken, notices.c.alert_id, notices.c.news, notices.c.severity, notices.c.at,
               notices.c.spread_at, alerts.c.key, alerts.c.state, alerts.c.domain,
               alerts.c.title, alerts.c.detail, alerts.c.remedy, alerts.c.first_seen_at)
        .join(notices, notices.c.id == taken.c.notice_id)
        .join(alerts, alerts.c.id == notices.c.alert_id)
    ).one_or_none()  # fmt: skip
    if row is None:
        return None
    notice = Notice(
        number=row.id,
        news=News(row.news),
        rule=row.key.partition(":")[0],
        severity=Severity(row.severity),
        domain=row.domain,
        title=row.title,
        detail=row.detail,
        remedy=row.remedy,
        since=row.first_seen_at,
    )
    return Due(
        notice,
        row.channel,
        row.attempts,
        row.spread_at or row.at,
        is_stale=(row.held and row.state == AlertState.RESOLVED)
        or (row.news == News.OVER and row.channel not in _heard(tx, row.alert_id, SENT)),
    )


def end(tx: Tx, *, number: int, state: DeliveryState, now: datetime, error: str = "") -> bool:
    """End a delivery; False when somebody did before."""
    return _set(tx, number, state=state.value, due_at=null(), ended_at=now, error=error or null())


def postpone(tx: Tx, *, number: int, due_at: datetime, error: str) -> bool:
    """Send it later; False when it has ended."""
    return _set(tx, number, due_at=due_at, error=error)


def listed(
    tx: Tx, *, all_: bool, alert_ids: Collection[int] | None = None, limit: int = 200
) -> list[Delivery]:
    """Deliveries, the newest first; without `all_` only those that wait or were given up."""
    kept = deliveries.c
    open_ = kept.state.in_([DUE, DeliveryState.GIVEN_UP.value])
    which = true() if all_ else open_
    rows = tx.execute(
        select(kept.id, notices.c.alert_id, kept.channel, notices.c.news, alerts.c.title,
               kept.state, kept.attempts, kept.error, notices.c.at, kept.due_at, kept.ended_at)
        .join(notices, notices.c.id == kept.notice_id)
        .join(alerts, alerts.c.id == notices.c.alert_id)
        .where(which, true() if alert_ids is None else alerts.c.id.in_(alert_ids))
        .order_by(kept.id.desc())
        .limit(limit)
    ).mappings()  # fmt: skip
    return [Delivery.model_validate(row) for row in rows]


def silence(
    tx: Tx,
    *,
    rule: str | None,
    domain: str | None,
    reason: str,
    actor: str,
    until: datetime,
    now: datetime,
) -> int:
    """Tell nobody of a rule, of a domain, or of a rule in a domain, until then; its number."""
    row = {"rule": rule, "domain": domain, "reason": reason, "actor": actor}
    made: int = tx.scalars(
        insert(silences).values(**row, created_at=now, until=until).returning(silences.c.id)
    ).one()
    return made


def speak(tx: Tx, *, silence_id: int, now: datetime) -> None:
    """End a silence now; NotFound where none of that number lasts."""
    ended = tx.scalar(
        update(silences)
        .where(silences.c.id == silence_id, silences.c.until > now)
        .values(until=now)
        .returning(silences.c.id)
    )
    if ended is None:
        raise NotFound(f"no silence {silence_id} lasts", remedy="see `tdsys alerts silences`")


def silences_at(tx: Tx, *, now: datetime) -> list[Silence]:
    """The silences that last, the one that ends first first."""
    rows = tx.execute(
        select(silences).where(silences.c.until > now).order_by(silences.c.until, silences.c.id)
    ).mappings()
    return [Silence.model_validate(row) for row in rows]


def _is_being_told(tx: Tx, alert_id: int, notice_id: int) -> bool:
    """Whether somebody hands out earlier news of the same alert, or has to."""
    earlier = exists().where(
        notices.c.alert_id == alert_id, notices.c.id < notice_id, notices.c.spread_at.is_(None)
    )
    return bool(tx.scalar(select(earlier)))


def _is_over() -> ColumnElement[bool]:
    return alerts.c.state == AlertState.RESOLVED.value


def _is_silenced(now: datetime) -> ColumnElement[bool]:
    """Whether a silence that lasts covers an alert."""
    kept = silences.c
    return exists().where(
        kept.until > now,
        or_(kept.rule.is_(None), kept.rule == func.split_part(alerts.c.key, ":", 1)),
        or_(kept.domain.is_(None), kept.domain == alerts.c.domain),
    )


def _hand_out(tx: Tx, notice_id: int, told: Mapping[str, datetime], now: datetime) -> None:
    rows = [
        {"notice_id": notice_id, "channel": name, "state": DUE, "due_at": due, "held": due > now}
        for name, due in told.items()
    ]
    if rows:
        tx.execute(insert(deliveries).on_conflict_do_nothing(), rows)
    tx.execute(update(notices).where(notices.c.id == notice_id).values(spread_at=now))


def _heard(tx: Tx, alert_id: int, *states: str) -> Sequence[str]:
    """The channels whose deliveries of an alert are in these states."""
    kept = deliveries.c
    return tx.scalars(
        select(kept.channel)
        .distinct()
        .join(notices, notices.c.id == kept.notice_id)
        .where(notices.c.alert_id == alert_id, kept.state.in_(states))
        .order_by(kept.channel)
    ).all()


def _from_when(
    tx: Tx, key: str, channels: Sequence[str], now: datetime, *, again: bool
) -> dict[str, datetime]:
    """When each channel may be told: at once, or some time after it was told of the same.

    `again`: also those that know of it, because it got worse.
    """
    if again:
        return dict.fromkeys(channels, now)
    kept = deliveries.c
    rows = tx.execute(
        select(kept.channel, func.max(kept.ended_at))
        .join(notices, notices.c.id == kept.notice_id)
        .join(alerts, alerts.c.id == notices.c.alert_id)
        .where(
            alerts.c.key == key,
            notices.c.news == News.BEGAN.value,
            kept.state == SENT,
            kept.ended_at > now - FLAPPING,
        )
        .group_by(kept.channel)
    )
    told: dict[str, datetime] = {row[0]: row[1] for row in rows}
    return {name: told[name] + FLAPPING if name in told else now for name in channels}


def _set(tx: Tx, number: int, **values: object) -> bool:
    done = tx.scalar(
        update(deliveries)
        .where(deliveries.c.id == number, deliveries.c.state == DUE)
        .values(**values)
        .returning(deliveries.c.id)
    )
    return done is not None
