"""Tell people what is amiss: hand news to the channels, send it, and try again what failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from tdsys.core.alerting import FOUND, RULES, Severity
from tdsys.core.notices import LONGEST_SILENCE, Channel, News, Notice, next_try, told
from tdsys.errors import InvalidInput
from tdsys.stages.leases import Clock
from tdsys.store import Store, alerts, notices, policies
from tdsys.store.notice_schema import DeliveryState
from tdsys.store.notices import Delivery, Due, Silence


class Delivered(NamedTuple):
    """How many notices were new, and what became of those that were due."""

    spread: int
    sent: int
    failed: int
    dropped: int


def deliver_due(
    store: Store,
    channels: Mapping[str, Channel],
    *,
    least: Severity,
    page: str,
    clock: Clock,
    lease: timedelta,
) -> Delivered:
    """Send what is due. A process killed after sending sends again, under the same number."""
    with store.begin() as tx:
        spread = notices.spread(tx, channels=dict.fromkeys(channels, least), now=clock())
    ends = dict.fromkeys(DeliveryState, 0)
    while True:
        with store.begin() as tx:
            due = notices.claim(tx, lease=lease, now=clock())
        if due is None:
            return Delivered(
                spread,
                ends[DeliveryState.SENT],
                ends[DeliveryState.DUE] + ends[DeliveryState.GIVEN_UP],
                ends[DeliveryState.DROPPED],
            )
        ends[_deliver(store, channels, due, page, clock)] += 1


def _deliver(
    store: Store, channels: Mapping[str, Channel], due: Due, page: str, clock: Clock
) -> DeliveryState:
    """One delivery, and where it ended."""
    channel, number = channels.get(due.channel), due.notice.number
    if due.is_stale:
        return _end(store, number, DeliveryState.DROPPED, clock(), "over before it was told")
    if channel is None:
        return _end(store, number, DeliveryState.DROPPED, clock(), "there is no such channel now")
    try:
        channel.send(due.notice._replace(page=page))
    except Exception as bad:  # noqa: BLE001  # whatever it is, others must be told of theirs
        return _later(store, due, told(bad), clock())
    return _end(store, number, DeliveryState.SENT, clock(), "")


def _later(store: Store, due: Due, error: str, now: datetime) -> DeliveryState:
    again = next_try(due.attempts, first_at=due.first_at, now=now)
    if again is None:
        return _end(store, due.notice.number, DeliveryState.GIVEN_UP, now, error)
    with store.begin() as tx:
        notices.postpone(tx, number=due.notice.number, due_at=again, error=error)
    return DeliveryState.DUE


def _end(
    store: Store, number: int, state: DeliveryState, now: datetime, error: str
) -> DeliveryState:
    with store.begin() as tx:
        notices.end(tx, number=number, state=state, now=now, error=error)
    return state


def attempt(channels: Mapping[str, Channel], *, page: str, now: datetime) -> dict[str, str]:
    """Send each channel a notice that says it is a test; what went wrong by name, or nothing."""
    test = Notice(
        number=0,
        news=News.BEGAN,
        rule="test",
        severity=Severity.INFO,
        domain=None,
        title="this is a test",
        detail="Somebody asked whether alerts arrive here.",
        remedy="nothing: they do",
        since=now,
        page=page,
    )
    found = {}
    for name, channel in channels.items():
        try:
            channel.send(test)
        except Exception as bad:  # noqa: BLE001  # told, and the others are tried
            found[name] = told(bad)
        else:
            found[name] = ""
    return found


def silence(
    store: Store,
    *,
    rule: str | None,
    domain: str | None,
    reason: str,
    actor: str,
    hours: float,
    now: datetime,
) -> int:
    """Tell nobody of a rule, a domain, or one in the other, for a time; its number."""
    known = sorted((*RULES, *FOUND))
    if rule is not None and rule not in known:
        raise InvalidInput(f"{rule} is no rule", remedy=f"use one of {', '.join(known)}")
    if not 0 < hours <= LONGEST_SILENCE:
        raise InvalidInput(
            f"a silence lasts more than no time and at most {LONGEST_SILENCE:g} hours, "
            f"not {hours:g}",
            remedy="for longer turn the rule off in the policy",
        )
    with store.begin() as tx:
        if domain is not None:
            policies.current(tx, domain=domain)
        return notices.silence(
            tx,
            rule=rule,
            domain=domain,
            reason=reason,
            actor=actor,
            until=now + timedelta(hours=hours),
            now=now,
        )


def speak(store: Store, *, silence_id: int, now: datetime) -> None:
    """End a silence; NotFound where none of that number lasts."""
    with store.begin() as tx:
        notices.speak(tx, silence_id=silence_id, now=now)


def silences(store: Store, *, now: datetime) -> list[Silence]:
    """What nobody is told at present."""
    with store.begin() as tx:
        return notices.silences_at(tx, now=now)


def deliveries(
    store: Store, *, all_: bool, alerts: Collection[int] | None = None
) -> list[Delivery]:
    """What was not told yet or never will be, or everything, of some alerts; the newest first."""
    with store.begin() as tx:
        return notices.listed(tx, all_=all_, alert_ids=alerts)


def resolve(store: Store, *, alert_id: int, now: datetime) -> None:
    """Say that an alert is over; if what its rule looks at is still so, another one fires."""
    with store.begin() as tx:
        alerts.resolve(tx, key=alerts.key_of(tx, alert_id=alert_id), now=now)
