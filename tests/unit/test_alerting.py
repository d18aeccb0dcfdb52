"""Which rules of a policy hold: at the threshold nothing, beyond it one alert with a remedy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tdsys.core.alerting import RULES, Observed, Severity, troubles
from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tests.factories import NOW

QUIET = Observed(
    domain="sums",
    heard_of=NOW,
    decided=0,
    rejected=0,
    parked=0,
    in_review=0,
    longest_in_review=None,
    failed=None,
    has_version=True,
    admitted={},
)
WANTED: dict[str, Any] = {"topics": ["sums"], "difficulties": ["easy"], "cells": {"min": 3}}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ("no_capture", {"alerts": {"no_capture_hours": 2}},
     {"heard_of": NOW - 2 * HOUR}, {"heard_of": NOW - 3 * HOUR}, "nothing since 2026-11-22 09:00"),
    ("rejected_share", {"alerts": {"rejected_share": 0.25, "rejected_of": 40}},
     {"decided": 40, "rejected": 10}, {"decided": 40, "rejected": 11}, "11 of the newest 40"),
    ("parked", {"alerts": {"parked": 5}}, {"parked": 5}, {"parked": 6}, "6, alerts.parked is 5"),
    ("backlog", {"alerts": {"backlog": 0}}, {"in_review": 0}, {"in_review": 1}, "1, alerts"),
    ("backlog_days", {"alerts": {"backlog_days": 2}},
     {"longest_in_review": NOW - 2 * DAY}, {"longest_in_review": NOW - 3 * DAY}, "2026-11-19"),
    ("failed_run", {}, {"failed": None}, {"failed": "a bug"}, "a bug"),
    ("short_cell", WANTED, {"admitted": {Cell("sums", "easy"): 3}},
     {"admitted": {Cell("sums", "easy"): 2}}, "sums, easy: 2 of at least 3"),
]  # fmt: skip


def found(policy: dict[str, Any], **seen: Any) -> list[tuple[str, str]]:
    told = troubles(QUIET._replace(**seen), Policy.model_validate(policy), now=NOW)
    assert all("sums" in one.title and one.remedy for one in told)
    assert all(isinstance(one.severity, Severity) for one in told)
    return [(one.rule, one.detail) for one in told]


def test_every_rule_has_a_case() -> None:
    assert [rule for rule, *_ in CASES] == list(RULES)


@pytest.mark.parametrize(("rule", "policy", "at", "beyond", "detail"), CASES)
def test_a_rule_holds_beyond_its_threshold_only(
    rule: str, policy: dict[str, Any], at: dict[str, Any], beyond: dict[str, Any], detail: str
) -> None:
    assert found(policy, **at) == []
    ((name, told),) = found(policy, **beyond)
    assert (name, detail in told) == (rule, True)


@pytest.mark.parametrize(("rule", "policy", "beyond"), [(r, p, b) for r, p, _, b, _ in CASES])
def test_a_rule_that_is_off_never_holds(
    rule: str, policy: dict[str, Any], beyond: dict[str, Any]
) -> None:
    name = {"no_capture": "no_capture_hours"}.get(rule, rule)
    off = False if rule in {"failed_run", "short_cell"} else None
    assert found({**policy, "alerts": {**policy.get("alerts", {}), name: off}}, **beyond) == []


def test_few_decisions_say_nothing_about_a_share() -> None:
    assert found({}, decided=199, rejected=199) == []


def test_a_domain_that_collects_nothing_misses_nothing() -> None:
    policy = {"collection": "off", "alerts": {"no_capture_hours": 1}}
    assert found(policy, heard_of=NOW - 100 * DAY) == []


def test_before_the_first_version_planning_tells_of_cells_and_no_alert_does() -> None:
    assert found(WANTED, has_version=False) == []
