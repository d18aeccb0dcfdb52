"""Alerts: one firing row a key, whoever sees it and however often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tdsys.core.alerting import Severity
from tdsys.errors import Conflict, InvalidInput
from tdsys.store import Store, Tx, alerts
from tests.commanding import Shell, one_line
from tests.factories import NOW

LATER = NOW + timedelta(hours=1)


def fire(tx: Tx, key: str = "k", **over: Any) -> bool:
    told = {
        "severity": Severity.WARNING,
        "title": "too many wait",
        "detail": "31",
        "remedy": "review some",
        "now": NOW,
    }
    return alerts.fire(tx, key=key, **{**told, **over})


def test_what_fires_again_is_the_same_row_seen_once_more(store: Store) -> None:
    with store.begin() as tx:
        assert fire(tx)
        assert not fire(tx, detail="32", severity=Severity.CRITICAL, now=LATER)
        (one,) = alerts.listed(tx)
    assert (one.count, one.first_seen_at, one.last_seen_at) == (2, NOW, LATER)
    assert (one.state, one.severity, one.detail) == ("firing", "critical", "32")


def test_eight_who_see_it_at_once_make_one_row(store: Store) -> None:
    def see(_: int) -> bool:
        with store.begin() as tx:
            return fire(tx)

    with ThreadPoolExecutor(8) as threads:
        began = list(threads.map(see, range(40)))
    with store.begin() as tx:
        (one,) = alerts.listed(tx, all_=True)
    assert (began.count(True), one.count) == (1, 40)


def test_what_is_over_is_kept_and_fires_anew_as_another_row(store: Store) -> None:
    with store.begin() as tx:
        fire(tx)
        assert alerts.resolve(tx, key="k", now=LATER)
        assert not alerts.resolve(tx, key="k", now=LATER)
        assert alerts.listed(tx) == []
        assert fire(tx, now=LATER)
        assert [(a.state, a.resolved_at) for a in alerts.listed(tx, all_=True)] == [
            ("firing", None),
            ("resolved", LATER),
        ]


def test_keys_are_found_by_how_they_begin_and_by_nothing_else(store: Store) -> None:
    with store.begin() as tx:
        for key in ("a_b: 1", "a_b: 2", "axb: 1", "b"):
            fire(tx, key)
        alerts.resolve(tx, key="a_b: 2", now=LATER)
        assert alerts.firing(tx, prefix="a_b: ") == ["a_b: 1"]


def test_one_person_looks_after_an_alert(store: Store) -> None:
    with store.begin() as tx:
        fire(tx)
        alerts.acknowledge(tx, alert_id=1, actor="ann", now=LATER)
        fire(tx, now=LATER)
        (one,) = alerts.listed(tx)
        assert (one.acknowledged_by, one.acknowledged_at, one.count) == ("ann", LATER, 2)
        with pytest.raises(Conflict, match="by ann"):
            alerts.acknowledge(tx, alert_id=1, actor="bob", now=LATER)
        with pytest.raises(InvalidInput, match="no alert 2"):
            alerts.acknowledge(tx, alert_id=2, actor="bob", now=LATER)


def test_alerts_are_listed_and_acknowledged_by_command(tdsys: Shell, store: Store) -> None:
    assert tdsys("alerts", "list").out == "nothing is amiss\n"
    with store.begin() as tx:
        fire(tx, title="\x1b]0;owned\x07 too many")
        fire(tx, "over", title="another")
        alerts.resolve(tx, key="over", now=LATER)
    shown = tdsys("alerts", "list").out
    assert "too many: 31" in shown
    assert "\x1b" not in shown
    assert "another" not in shown
    assert "another" in tdsys("alerts", "list", "--all").out
    assert tdsys("alerts", "ack", "1").code == 0
    (told,) = tdsys("alerts", "list", "--json").document
    assert told["first_seen_at"] == "2026-11-22T12:00:00Z"
    assert told["acknowledged_by"]
    again = tdsys("alerts", "ack", "1")
    assert (again.code, "was acknowledged" in one_line(again)) == (1, True)
