"""What is amiss: found by the rules of each policy, shown, and looked after."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from tdsys.core.alerting import RULES, key, troubles
from tdsys.core.policy import Policy
from tdsys.store import Store, Tx, alerts, policies, watching
from tdsys.store.alerts import Alert


class Evaluated(NamedTuple):
    """How many alerts began and how many are over."""

    began: int
    over: int


def evaluate(store: Store, *, now: datetime) -> Evaluated:
    """Hold every domain against the rules of its policy: fire what is so, resolve what is not."""
    with store.begin() as tx:
        rules, firing = policies.currents(tx), set(alerts.firing(tx))
    began = over = 0
    for domain, (_, policy) in rules.items():
        with store.begin() as tx:
            fresh, so = _fire(tx, domain, policy, now)
            gone = (firing & {key(rule, domain) for rule in RULES}) - so
            over += sum(alerts.resolve(tx, key=one, now=now) for one in sorted(gone))
        began += fresh
    return Evaluated(began, over)


def _fire(tx: Tx, domain: str, policy: Policy, now: datetime) -> tuple[int, set[str]]:
    """How many of a domain's troubles are new, and the keys of all."""
    seen = watching.observed(tx, domain=domain, policy=policy, now=now)
    found = {key(one.rule, domain): one for one in troubles(seen, policy, now=now)}
    fresh = [
        alerts.fire(
            tx,
            key=name,
            severity=one.severity,
            title=one.title,
            detail=one.detail,
            remedy=one.remedy,
            now=now,
            domain=domain,
        )
        for name, one in sorted(found.items())
    ]
    return sum(fresh), set(found)


def listed(
    store: Store,
    *,
    all_: bool,
    domain: str | None = None,
    domains: Collection[str] | None = None,
) -> list[Alert]:
    """What fires, or all there was, of a domain or of some (None: all), the newest first."""
    with store.begin() as tx:
        return alerts.listed(tx, all_=all_, domain=domain, domains=domains)


def one(store: Store, *, alert_id: int) -> Alert | None:
    """The alert of that id."""
    with store.begin() as tx:
        return alerts.one(tx, alert_id=alert_id)


def acknowledge(store: Store, *, alert_id: int, actor: str, now: datetime) -> None:
    """Say that somebody looks after it; Conflict when somebody did, or it is over."""
    with store.begin() as tx:
        alerts.acknowledge(tx, alert_id=alert_id, actor=actor, now=now)
