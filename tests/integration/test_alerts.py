"""Alerts: one firing row a key, whoever sees it and however often."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from tdsys.core.alerting import Severity
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import Decision, Unscored
from tdsys.errors import Conflict, InvalidInput
from tdsys.stages import alerting, policies
from tdsys.store import Store, Tx, alerts, imports, runs
from tests.commanding import Shell, one_line
from tests.factories import NOW, make_captures
from tests.stored import admit, claim, decide, enqueue, freeze, ingest, upload

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


def put(store: Store, **policy: Any) -> None:
    policies.put(store, domain="sums", author="ann", now=NOW, policy=Policy.model_validate(policy))


def evaluated(store: Store, *, now: datetime = NOW) -> tuple[int, int]:
    return alerting.evaluate(store, now=now)


def told(store: Store) -> dict[str, str]:
    with store.begin() as tx:
        return {one.key: one.detail for one in alerts.listed(tx)}


def test_what_a_rule_finds_fires_once_and_is_over_when_it_is_no_more_so(store: Store) -> None:
    put(store, alerts={"no_capture_hours": 2, "parked": 0})
    assert evaluated(store, now=NOW + timedelta(hours=2)) == (0, 0)
    late = NOW + timedelta(hours=3)
    assert evaluated(store, now=late) == (1, 0)
    assert evaluated(store, now=late) == (0, 0)
    assert list(told(store)) == ["no_capture: sums"]
    with store.begin() as tx:
        ingest(tx, make_captures(2, domain="sums"))
        tx.exec_driver_sql("UPDATE examples SET created_at = now() + interval '9 days'")
        for candidate in claim(tx):
            parked = Decision(move=Move.PARK, reason="unreadable")
            assert decide(tx, candidate, parked, answer=Unscored(reason="unreadable"))
    assert evaluated(store, now=late) == (1, 1)
    assert told(store) == {"parked: sums": "2, alerts.parked is 0"}
    put(store)
    assert evaluated(store, now=late) == (0, 1)
    assert told(store) == {}


def test_a_capture_that_was_there_already_is_heard_of(store: Store) -> None:
    put(store, alerts={"no_capture_hours": 2})
    captures = make_captures(1, domain="sums")
    with store.begin() as tx:
        ingest(tx, captures)
        again = [one.model_copy(update={"capture_id": uuid.uuid4()}) for one in captures]
        ingest(tx, again)
        tx.exec_driver_sql("UPDATE capture_duplicates SET at = at + interval '2 hours'")
    assert evaluated(store, now=NOW + timedelta(hours=4)) == (0, 0)
    assert evaluated(store, now=NOW + timedelta(hours=5)) == (1, 0)


def test_the_newest_decisions_are_looked_at_and_no_older_ones(store: Store) -> None:
    put(store, alerts={"rejected_share": 0.5, "rejected_of": 10})
    with store.begin() as tx:
        ingest(tx, make_captures(20, domain="sums"))
        for number, candidate in enumerate(claim(tx)):
            at = NOW + timedelta(seconds=number)
            move = Move.REJECT if number < 16 else Move.ADMIT
            decision = Decision(move=move, reason="x", quality=0.5)
            assert decide(tx, candidate, decision, now=at)
    assert evaluated(store) == (1, 0)
    assert told(store)["rejected_share: sums"].startswith("6 of the newest 10, ")
    put(store, alerts={"rejected_share": 0.5, "rejected_of": 8})
    assert evaluated(store) == (0, 1)


def test_a_failed_run_and_a_short_cell_are_told_of(store: Store) -> None:
    put(store, topics=["sums"], difficulties=["easy"], cells={"min": 4})
    with store.begin() as tx:
        inputs = {"topic": "sums", "difficulty": "easy"}
        admit(tx, make_captures(3, domain="sums", inputs=inputs))
    assert evaluated(store) == (0, 0)
    with store.begin() as tx:
        run_id = enqueue(tx, freeze(tx, domain="sums"))
        assert run_id
        runs.finish(tx, run_id=run_id, state="failed", reason="a bug", outcome=None, now=NOW)
    assert evaluated(store) == (2, 0)
    assert told(store) == {
        "failed_run: sums": "a bug",
        "short_cell: sums": "sums, easy: 3 of at least 4",
    }


def test_one_domains_trouble_is_not_over_because_another_has_none(store: Store) -> None:
    put(store, alerts={"no_capture_hours": 1})
    policies.put(store, domain="angles", author="ann", now=NOW, policy=Policy())
    with store.begin() as tx:
        fire(tx, "canary: angles")
    late = NOW + timedelta(hours=2)
    assert evaluated(store, now=late) == (1, 0)
    assert evaluated(store, now=late) == (0, 0)
    assert sorted(told(store)) == ["canary: angles", "no_capture: sums"]


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
    (one,) = tdsys("alerts", "list", "--json").document
    assert one["first_seen_at"] == "2026-11-22T12:00:00Z"
    assert one["acknowledged_by"]
    again = tdsys("alerts", "ack", "1")
    assert (again.code, "was acknowledged" in one_line(again)) == (1, True)


def test_an_alert_is_a_few_whole_lines_where_the_terminal_is_narrow(
    tdsys: Shell, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with store.begin() as tx:
        fire(tx, title="\x1b]0;owned\x07 too many [bold]wait[/bold]")
    lines = tdsys("alerts", "list").out.splitlines()
    assert len(lines) <= 6
    assert max(map(len, lines)) <= 80
    assert lines[0] == "1 · warning · firing · 2026-11-22 12:00 · 1×"
    assert "[bold]wait[/bold]: 31" in lines[1]
    assert any(line.startswith("  what to do  ") for line in lines)
    assert "\x1b" not in "".join(lines)


@pytest.mark.criterion("9.5")
def test_a_file_that_failed_and_data_that_stands_still_are_told_until_they_are_not(
    store: Store,
) -> None:
    put(store, alerts={"stale_days": 1, "stale_program_days": None, "storage_gb": 0.001})
    with store.begin() as tx:
        admit(tx, make_captures(9, domain="sums"))
        freeze(tx, domain="sums")
        import_id = upload(tx, b"{", domain="sums")
        imports.finish(tx, import_id=import_id, state="failed", reason="no end", now=NOW)
    evaluated(store, now=NOW + timedelta(days=2))
    assert told(store).keys() == {"import: sums", "stale: sums", "storage: sums"}
    assert "f: no end" in told(store)["import: sums"]
    put(store, alerts={"stale_days": 3, "rejected_import": None})
    evaluated(store, now=NOW + timedelta(days=2))
    assert told(store) == {}
