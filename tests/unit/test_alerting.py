"""Which rules of a policy hold: at the threshold nothing, beyond it one alert with a remedy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tdsys.core.alerting import RULES, Imported, Observed, Severity, troubles
from tdsys.core.attribution import Contribution, Effect
from tdsys.core.comparison import compare
from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tdsys.core.regressing import BEFORE_IT, ITSELF, Regression, again, regression
from tdsys.core.trends import Shift
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


def fall(after: float, days: int = 0) -> Shift:
    """A change of one dimension's mean, so many days ago."""
    return Shift("accuracy", (NOW - days * DAY).date(), 0.9, after, 100)


def worse(high: float, requests: int = 9) -> Regression:
    """The active program beside the one before, its interval up to `high`."""
    return Regression(BEFORE_IT, -0.1, -0.2, high, requests)


HARMFUL = Contribution(example="f00d", value=-0.08, ci_low=-0.12, ci_high=-0.04,
                       verdict=Effect.HARMFUL, n=90)  # fmt: skip
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
    ("regression", {}, {"regressed": worse(0.0)}, {"regressed": worse(-0.02)}, "-0.100 (-0.200 to"),
    ("harmful_demos", {}, {"harmful": []}, {"harmful": [HARMFUL]}, "f00d -0.080 (-0.120 to"),
    ("short_cell", WANTED, {"admitted": {Cell("sums", "easy"): 3}},
     {"admitted": {Cell("sums", "easy"): 2}}, "sums, easy: 2 of at least 3"),
    ("stale", {"alerts": {"stale_days": 3}}, {"newest_admitted": NOW - 3 * DAY},
     {"newest_admitted": NOW - 4 * DAY}, "nothing since 2026-11-18"),
    ("stale_program", {"alerts": {"stale_program_days": 2}}, {"outdated": NOW - 2 * DAY},
     {"outdated": NOW - 3 * DAY}, "made 2026-11-19"),
    ("quality_drop", {"alerts": {"quality_drop": 0.25}}, {"changes": [fall(0.74)]},
     {"changes": [fall(0.5)]}, "accuracy 0.90 -> 0.50 on 2026-11-22"),
    ("imbalance", {"topics": ["sums", "angles"], "difficulties": ["easy"],
                   "alerts": {"imbalance": 0.9}},
     {"admitted": {Cell("sums", "easy"): 60, Cell("angles", "easy"): 40}},
     {"admitted": {Cell("sums", "easy"): 95, Cell("angles", "easy"): 5}}, "balance 0.29"),
    ("budget", {"max_daily_calls": 1000, "alerts": {"budget_share": 0.5}}, {"planned": 499},
     {"planned": 500}, "500 planned of 1000"),
    ("import", {"alerts": {"rejected_import": 0.25}}, {"imported": Imported("f.csv", 40, 10, "")},
     {"imported": Imported("f.csv", 40, 11, "")}, "f.csv: 11 of 40"),
    ("storage", {"alerts": {"storage_gb": 2}}, {"stored_bytes": 2 * 10**9},
     {"stored_bytes": 3 * 10**9}, "3.0 GB"),
]  # fmt: skip


FIELDS = {
    "no_capture": "no_capture_hours",
    "stale": "stale_days",
    "stale_program": "stale_program_days",
    "budget": "budget_share",
    "import": "rejected_import",
    "storage": "storage_gb",
}


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
    name = FIELDS.get(rule, rule)
    off = False if rule in {"failed_run", "regression", "harmful_demos", "short_cell"} else None
    assert found({**policy, "alerts": {**policy.get("alerts", {}), name: off}}, **beyond) == []


def test_only_the_newest_change_counts_and_only_for_two_weeks() -> None:
    policy = {"alerts": {"quality_drop": 0.1}}
    rise = fall(0.5)._replace(before=0.5, after=0.9)
    assert found(policy, changes=[fall(0.5, days=15)]) == []
    assert found(policy, changes=[rise, fall(0.5, days=3)]) == []
    assert len(found(policy, changes=[fall(0.5), rise._replace(day=fall(0.5, days=3).day)])) == 1


def test_an_import_that_failed_is_told_and_a_small_one_that_was_rejected_not() -> None:
    assert found({}, imported=Imported("f", 19, 19, "")) == []
    ((rule, told),) = found({}, imported=Imported("f", 0, 0, "unclosed quote"))
    assert (rule, "unclosed quote" in told) == ("import", True)


def test_without_a_version_nothing_is_stale_or_uneven() -> None:
    held = {"newest_admitted": NOW - 99 * DAY, "admitted": {Cell("sums", "easy"): 200}}
    policy = {"topics": ["sums", "angles"], "difficulties": ["easy"]}
    assert found(policy, **held, has_version=False) == []


def test_few_requests_say_nothing_about_a_program() -> None:
    assert found({}, regressed=worse(-0.02, requests=4)) == []
    assert found({}, regressed=None) == []


def test_a_program_is_measured_again_on_the_items_that_have_a_score_both_times() -> None:
    then = {"a": 0.9, "b": 0.8, "gone": 1.0}
    now = [("a", 0.5, "x"), ("b", None, "y"), ("new", 0.1, "z")]
    measured = again(then, now)
    assert measured is not None
    assert measured.items == 1
    assert measured.gain == pytest.approx(-0.4)
    assert again(then, [("new", 0.1, "z")]) is None


def test_a_comparison_turned_round_is_about_the_other_program() -> None:
    better = compare([0.2] * 6, [0.4, 0.5, 0.6, 0.5, 0.4, 0.6], [*"abcdef"])
    assert not regression(ITSELF, better).is_certain
    turned = regression(BEFORE_IT, better, turned=True)
    assert turned.is_certain
    assert turned.low <= turned.gain <= turned.high < 0


def test_few_decisions_say_nothing_about_a_share() -> None:
    assert found({}, decided=199, rejected=199) == []


def test_a_domain_that_collects_nothing_misses_nothing() -> None:
    policy = {"collection": "off", "alerts": {"no_capture_hours": 1}}
    assert found(policy, heard_of=NOW - 100 * DAY) == []


def test_before_the_first_version_planning_tells_of_cells_and_no_alert_does() -> None:
    assert found(WANTED, has_version=False) == []
