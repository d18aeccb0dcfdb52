"""Each day of a domain is written down and kept, and read as trends with what changed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tdsys.core.example import Capture, Cell
from tdsys.core.policy import Policy
from tdsys.core.pruning import Leaving
from tdsys.stages import policies, trending
from tdsys.stages.trending import Trend
from tdsys.store import Store, retirements
from tests.commanding import Shell
from tests.factories import NOW, make_assessment, make_captures
from tests.stored import claim, decide, ingest

MEANS = [0.9] * 6 + [0.6] * 4
A_DAY = 20
DAY = timedelta(days=1)


def put(store: Store) -> None:
    policies.put(
        store,
        domain="algebra",
        author="ann",
        now=NOW,
        policy=Policy(topics=("multiplication", "angles"), difficulties=("easy",)),
    )


def judge(store: Store, captures: list[Capture], mean: float, now: datetime) -> None:
    """Let a judge admit them on one day, with numbers around a mean."""
    rng = random.Random(now.day)
    with store.begin() as tx:
        ingest(tx, captures)
        for one in claim(tx):
            told = make_assessment(accuracy=mean + rng.uniform(-0.05, 0.05))
            assert decide(tx, one, answer=told, now=now)


def live(store: Store, means: list[float], *, since: datetime = NOW) -> datetime:
    """A domain in which as many are judged on each day, with these means; the last day."""
    put(store)
    now = since
    captures = make_captures(A_DAY * len(means), domain="algebra")
    for day, mean in enumerate(means):
        now = since + day * DAY
        judge(store, captures[A_DAY * day : A_DAY * (day + 1)], mean, now)
        trending.write_days(store, now=now)
    return now


def read(store: Store, now: datetime) -> Trend:
    (found,) = trending.trends(store, domains=["algebra"], now=now)
    return found


@pytest.mark.criterion("6.5")
def test_a_domain_that_is_judged_worse_from_one_day_on_says_from_which(store: Store) -> None:
    found = read(store, live(store, MEANS))
    assert [one.quality["accuracy"][0] for one in found.points] == [A_DAY] * len(MEANS)
    (shift,) = [one for one in found.shifts if one.dimension == "accuracy"]
    assert shift.day == (NOW + 6 * DAY).date()
    assert (shift.before, shift.after) == pytest.approx((0.9, 0.6), abs=0.02)


def test_what_a_day_was_like_stays_when_the_domain_changes(store: Store) -> None:
    now = live(store, [0.9, 0.9])
    first, second = read(store, now).points
    assert (first.admitted, second.admitted) == (A_DAY, 2 * A_DAY)
    assert first.balance == 0
    with store.begin() as tx:
        cell = Cell("multiplication", "easy")
        all_ = [Leaving(one, cell, 1, "too_old", "d") for one in range(1, 2 * A_DAY + 1)]
        gone = retirements.retire(tx, leaving=all_, actor="ann", policy_version=1, now=now)
    assert len(gone) == 2 * A_DAY
    trending.write_days(store, now=now + DAY)
    points = read(store, now + DAY).points
    assert points[:2] == [first, second]
    assert points[2].admitted == 0
    assert points[2].quality == {}


def test_a_day_is_written_again_until_it_is_over_and_a_missed_one_has_its_scores(
    store: Store,
) -> None:
    now = live(store, [0.9])
    captures = make_captures(3 * A_DAY, domain="algebra")
    judge(store, captures[A_DAY : 2 * A_DAY], 0.9, now)
    trending.write_days(store, now=now + timedelta(hours=1))
    (only,) = read(store, now).points
    assert (only.admitted, only.quality["accuracy"][0]) == (2 * A_DAY, 2 * A_DAY)
    judge(store, captures[2 * A_DAY :], 0.9, now + DAY)
    trending.write_days(store, now=now + 3 * DAY)
    days = [one.day for one in read(store, now + 3 * DAY).points]
    assert days == [now.date(), (now + DAY).date(), (now + 3 * DAY).date()]


def test_a_day_that_a_wrong_clock_wrote_hides_no_other(store: Store) -> None:
    now = live(store, [0.9])
    trending.write_days(store, now=now + 14 * DAY)
    judge(store, make_captures(2 * A_DAY, domain="algebra")[A_DAY:], 0.9, now + DAY)
    trending.write_days(store, now=now + DAY)
    assert [(one.day, one.quality["accuracy"][0]) for one in read(store, now + DAY).points] == [
        (now.date(), A_DAY),
        ((now + DAY).date(), A_DAY),
    ]


@pytest.mark.criterion("6.5")
def test_the_page_of_quality_draws_each_dimension_over_time_and_says_what_changed(
    here: Store, tdsys: Shell, tmp_path: Path
) -> None:
    live(here, MEANS, since=datetime.now(UTC) - len(MEANS) * DAY)
    path = tmp_path / "page.html"
    tdsys("report", "quality", "--domain", "algebra", "--html", path)
    drawn = path.read_text()
    assert drawn.count("<svg") == 5
    assert drawn.count('<polyline class="line l') == 4
    assert drawn.count("accuracy fell on") == 2, "in a sentence and at its mark"
    assert drawn.count(f" of {A_DAY}</td>") == 4 * len(MEANS)


def test_the_report_is_read_printed_and_drawn(here: Store, tdsys: Shell, tmp_path: Path) -> None:
    assert "nothing is here yet" in tdsys("report", "freshness").out
    live(here, MEANS, since=datetime.now(UTC) - len(MEANS) * DAY)
    said = tdsys("report", "freshness", "--domain", "algebra")
    assert "accuracy fell on" in said.out
    (found,) = tdsys("report", "freshness", "--json").document["domains"]
    assert len(found["days"]) == len(MEANS)
    assert found["days"][0]["quality"]["accuracy"]["n"] == A_DAY
    path = tmp_path / "page.html"
    tdsys("report", "freshness", "--html", path)
    drawn = path.read_text()
    assert drawn.count("<svg") == 3
    assert "<script" not in drawn
    assert "http" not in drawn.replace("http-equiv", "")
