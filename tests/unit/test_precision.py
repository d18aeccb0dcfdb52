"""Precision and recall of checks, with what is known of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsys.core.precision import CheckRecord, Labelled, Precision, Tally, share
from tests.factories import make_verdict


def told(*rows: tuple[str | None, dict[str, str]]) -> Precision:
    tally = Tally()
    for kind, outcomes in rows:
        tally.add(Labelled(kind, make_verdict(**outcomes)))
    return tally.result()


def record(found: Precision, check: str, outcome: str) -> CheckRecord:
    [one] = [row for row in found.checks if (row.check, row.outcome) == (check, outcome)]
    return one


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I.
    found = share(81, 263)
    assert found.value == pytest.approx(0.308, abs=5e-4)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    none = share(0, 20)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert share(0, 0)[2:] == (None, None, None)


@settings(deadline=None)
@given(st.integers(1, 500), st.data())
def test_a_share_lies_in_its_interval(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    found = share(hits, n)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_precision_recall_and_false_alarms_are_of_each_check_and_of_any() -> None:
    found = told(
        ("slip", {"steps": "failed", "answer": "failed"}),
        ("slip", {"steps": "passed", "answer": "suspicious"}),
        ("swap", {"steps": "passed", "answer": "unknown"}),
        (None, {"steps": "failed", "answer": "passed"}),
        (None, {"steps": "passed", "answer": "passed"}),
    )
    assert (found.examples, found.faulty) == (5, 3)
    steps = record(found, "steps", "failed")
    assert (steps.precision.hits, steps.precision.n) == (1, 2)
    assert (steps.recall.hits, steps.recall.n) == (1, 3)
    assert (steps.false_alarms.hits, steps.false_alarms.n) == (1, 2)
    assert record(found, "any", "failed").recall.hits == 1
    assert [(k.kind, k.failed.hits, k.flagged.hits, k.failed.n) for k in found.kinds] == [
        ("slip", 1, 2, 2),
        ("swap", 0, 0, 1),
    ]
    assert not [row for row in found.checks if (row.check, row.outcome) == ("steps", "suspicious")]


def test_of_nothing_nothing_is_said() -> None:
    assert told() == Precision(0, 0, [], [])
    found = told(("slip", {"steps": "failed"}))
    assert record(found, "steps", "failed").false_alarms.value is None
