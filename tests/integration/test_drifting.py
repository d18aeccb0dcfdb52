"""A judge that drifts is an alert; every judge here is simulated."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from tdsys.core.calibration import JudgeVersion
from tdsys.core.lifecycle import Move
from tdsys.core.policy import PerDimension, Policy
from tdsys.stages import calibrating, curation, drifting, policies
from tdsys.stages.calibrating import Wanted
from tdsys.stages.drifting import Watched
from tdsys.store import Store, alerts, calibrations
from tdsys.store.alerts import Alert
from tdsys.store.calibrations import Fresh
from tests.factories import NOW
from tests.opinions import ALL, people, scored
from tests.scripted import Clock

DAY = timedelta(days=1)


@pytest.fixture
def calibrated(store: Store) -> Store:
    """A judge of whose accepted examples 19 of 20 were good, calibrated at NOW."""
    policies.put(store, domain="sums", policy=ALL, author="ann", now=NOW)
    words = [(0.9, n % 20 > 0) for n in range(80)] + [(0.1, n % 10 == 0) for n in range(40)]
    people(store, *words, now=NOW - DAY)
    calibrating.by_reviews(store, Wanted("sums", 0.8, "ann"), clock=Clock())
    return store


def watched(store: Store, *, days: int = 1) -> Watched:
    (found,) = drifting.watch(store, now=NOW + days * DAY)
    return found


def firing(store: Store) -> list[Alert]:
    with store.begin() as tx:
        return alerts.listed(tx, domain="sums")


def test_a_judge_that_does_as_before_is_no_alert(calibrated: Store) -> None:
    words = [(0.9, n % 15 > 0) for n in range(80)] + [(0.1, n % 10 == 0) for n in range(40)]
    people(calibrated, *words, now=NOW + DAY / 2)
    assert watched(calibrated) == Watched("sums", 120, 120, [])
    assert firing(calibrated) == []


def test_a_judge_that_accepts_what_people_refuse_is_an_alert_until_it_is_calibrated_anew(
    calibrated: Store,
) -> None:
    words = [(0.9, n % 2 > 0) for n in range(60)] + [(0.1, n % 3 == 0) for n in range(40)]
    people(calibrated, *words, now=NOW + DAY / 2)
    found = watched(calibrated)
    assert len(found.found) == 2
    (alert,) = firing(calibrated)
    assert (alert.key, alert.severity) == ("judge_drift:sums", "warning")
    assert "kappa 0.8" in alert.detail
    assert "95% then, 50% now" in alert.detail
    assert "tdsys judge calibrate --domain sums" in alert.remedy
    watched(calibrated)
    assert [one.count for one in firing(calibrated)] == [2]
    # Two weeks later nothing is known any more, which is no all-clear.
    assert watched(calibrated, days=20).found == []
    assert len(firing(calibrated)) == 1
    clock = Clock()
    clock.forward(days=2)
    calibrating.by_reviews(calibrated, Wanted("sums", 0.8, "ann"), clock=clock)
    assert watched(calibrated, days=3).found == []
    assert firing(calibrated) == []


def test_scores_that_are_spread_otherwise_are_an_alert_without_any_label(calibrated: Store) -> None:
    draw = random.Random(1)
    with calibrated.begin() as tx:
        scored(tx, *(draw.choice([0.4, 0.5, 0.6]) for _ in range(150)), now=NOW + DAY / 2)
    found = watched(calibrated)
    assert len(found.found) == 4
    assert (found.labels, found.scores) == (0, 150)
    assert "scores of accuracy are spread otherwise" in firing(calibrated)[0].detail


def test_too_little_is_no_drift(calibrated: Store) -> None:
    people(calibrated, *[(0.9, False)] * 29, now=NOW + DAY / 2)
    assert watched(calibrated) == Watched("sums", 29, 29, [])


def test_another_judge_than_the_calibrated_one_is_an_alert(calibrated: Store) -> None:
    with calibrated.begin() as tx:
        scored(tx, 0.9, now=NOW + DAY / 2, judge_model="cheaper")
    (told,) = watched(calibrated).found
    assert told == "scripted r1 p1 was calibrated, cheaper r1 p1 judges now"


def test_thresholds_that_were_changed_on_purpose_are_no_drift(calibrated: Store) -> None:
    words = [(0.9, n % 20 > 0) for n in range(80)] + [(0.1, n % 10 == 0) for n in range(40)]
    ids = people(calibrated, *words, now=NOW + DAY / 2)
    assert ids
    nothing = PerDimension.model_validate(dict.fromkeys(PerDimension.model_fields, 0))
    lax = Policy(reject_below=nothing, admit_from=nothing, admit_quality=0)
    policies.put(calibrated, domain="sums", policy=lax, author="ann", now=NOW)
    assert watched(calibrated).found == []


def test_a_calibration_that_this_program_can_not_read_asks_for_another(store: Store) -> None:
    policies.put(store, domain="sums", policy=ALL, author="ann", now=NOW)
    judge = JudgeVersion("scripted", "r1", "p1")
    with store.begin() as tx:
        scored(tx, 0.9)
        old = Fresh("sums", "reviews", judge, 1, simulated=False, n=40, document={"kappa": 1})
        calibrations.put(tx, fresh=old, author="ann", now=NOW)
    assert watched(store).found == ["its calibration is of another program version"]
    assert len(firing(store)) == 1


def test_a_domain_without_a_calibration_is_not_watched(store: Store) -> None:
    with store.begin() as tx:
        (example_id,) = scored(tx, 0.9)
    curation.move(store, example_id=example_id, move=Move.REJECT, reason="no", actor="bo", now=NOW)
    assert drifting.watch(store, now=NOW) == []
