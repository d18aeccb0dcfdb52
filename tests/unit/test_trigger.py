"""When a domain is optimized: what speaks for it, what against it, and that both are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tdsys.core.policy import Policy
from tdsys.core.sections import QuietHours, Trigger
from tdsys.core.trigger import (
    ABOUT_DATA,
    Arrived,
    Drafted,
    Known,
    LastRun,
    Ruling,
    Spent,
    decide,
    is_quiet,
)
from tests.factories import NOW

HOUR = timedelta(hours=1)
DRAFTED = Drafted(lacks=(), is_the_last=False, size=120, calls=600)
BERLIN = QuietHours(starts="22:00", ends="06:00", timezone="Europe/Berlin")


def last_run(**over: Any) -> LastRun:
    given: dict[str, Any] = {
        "state": "finished",
        "model": "m",
        "judge": "j r p",
        "size": 100,
        "began_at": NOW - 5 * HOUR,
        "queued_at": NOW - 5 * HOUR,
        "finished_at": NOW - 4 * HOUR,
    }
    return LastRun(**{**given, **over})


def known(policy: dict[str, Any] | None = None, **over: Any) -> Known:
    """A domain that has been optimized and has enough that is new."""
    facts: dict[str, Any] = {
        "now": NOW,
        "policy": Policy.model_validate(policy or {}),
        "arrived": Arrived(NOW - 9 * HOUR, NOW - HOUR),
        "last": last_run(),
        "new": 20,
        "model": "m",
        "judge": "j r p",
        "drafted": DRAFTED,
    }
    return Known(**{**facts, **over})


def quiet(**over: Any) -> Known:
    """The same with nothing that is new."""
    return known(new=0, **over)


def codes(ruling: Ruling, *, pro: bool) -> list[str]:
    return [one.code for one in ruling.reasons if one.speaks_for is pro]


@pytest.mark.criterion("1.4")
def test_a_domain_that_never_ran_begins_once_nothing_lacks() -> None:
    ruling = decide(known(last=None, new=0))
    assert (ruling.would_run, codes(ruling, pro=True), ruling.con) == (True, ["first"], ())
    short = decide(known(last=None, drafted=DRAFTED._replace(lacks=("9 more needed", "test: 3"))))
    assert (short.would_run, short.con) == (False, ("9 more needed", "test: 3"))


@pytest.mark.criterion("7.3")
@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("growth", known({"growth": 0.2}, new=20)),
        ("growth", known({"growth": 5, "trigger": {"new_examples": 7}}, new=7)),
        ("demos", quiet(lost_demos=1)),
        ("rules", quiet(rules_changed=True)),
        ("model", quiet(model="another")),
        ("judge", quiet(judge="another r p")),
        ("drift", quiet(drifts_since=NOW - HOUR)),
        ("failed", quiet(last=last_run(state="failed", finished_at=NOW - 2 * HOUR))),
    ],
)
def test_each_reason_alone_starts_a_run_and_is_told(code: str, facts: Known) -> None:
    ruling = decide(facts)
    assert (ruling.would_run, codes(ruling, pro=True)) == (True, [code])
    assert all(ruling.pro)


@pytest.mark.parametrize(
    "facts",
    [
        known({"growth": 0.2}, new=19),
        known({"growth": 5, "trigger": {"new_examples": 7}}, new=6),
        quiet(policy={"trigger": {"demos": False}}, lost_demos=1),
        quiet(policy={"trigger": {"model": False}}, model="another"),
        quiet(model=None),
        quiet(policy={"trigger": {"judge": False}}, judge="another r p"),
        quiet(last=last_run(judge=None)),
        quiet(policy={"trigger": {"drift": False}}, drifts_since=NOW),
        quiet(drifts_since=NOW - 6 * HOUR),
        quiet(last=last_run(state="failed", finished_at=NOW - HOUR)),
        quiet(last=last_run(state="cancelled")),
    ],
)
def test_what_is_no_reason_starts_nothing_and_the_ruling_says_what_would(facts: Known) -> None:
    ruling = decide(facts)
    assert (ruling.would_run, codes(ruling, pro=False)) == (False, ["nothing_new"])
    assert "start the next run" in ruling.con[0]


AGAINST: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("hold", {"optimization": "hold"}, {}),
    ("open", {}, {"last": last_run(state="running", finished_at=None)}),
    ("undecided", {}, {"undecided": 3}),
    ("settling", {"settle_seconds": 60},
     {"arrived": Arrived(NOW - HOUR, NOW), "last": last_run(began_at=NOW - timedelta(minutes=5))}),
    ("empty", {}, {"arrived": None}),
    ("cooldown", {"trigger": {"cooldown_minutes": 241}}, {}),
    ("quiet_hours", {"trigger": {"quiet_hours": {"starts": "11:00", "ends": "13:00"}}}, {}),
    ("lacking", {}, {"drafted": DRAFTED._replace(lacks=("too few",))}),
    ("same", {}, {"drafted": DRAFTED._replace(is_the_last=True)}),
    ("max_calls", {"max_calls": 599}, {}),
    ("max_daily_calls", {"max_daily_calls": 1000}, {"spent": Spent(calls=401)}),
    ("max_cost", {"trigger": {"max_cost": 5.99}}, {"spent": Spent(0, 0.01)}),
    ("max_daily_cost", {"trigger": {"max_daily_cost": 7}}, {"spent": Spent(101, 0.01)}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "policy", "facts"), AGAINST, ids=[one[0] for one in AGAINST])
def test_each_reason_against_it_alone_keeps_a_run_waiting_and_both_sides_are_told(
    code: str, policy: dict[str, Any], facts: dict[str, Any]
) -> None:
    assert decide(known()).would_run
    ruling = decide(known(policy, **facts))
    assert (ruling.would_run, codes(ruling, pro=False)) == (False, [code])
    assert codes(ruling, pro=True) == ["growth"]


@pytest.mark.parametrize(
    ("policy", "facts"),
    [
        ({"trigger": {"cooldown_minutes": 240}}, {}),
        ({"max_calls": 600, "max_daily_calls": 1000}, {"spent": Spent(calls=400)}),
        ({"trigger": {"max_cost": 6, "max_daily_cost": 7}}, {"spent": Spent(100, 0.01)}),
        ({"trigger": {"max_cost": 0.01}}, {"spent": Spent(100)}),
        ({"settle_seconds": 60}, {"arrived": Arrived(NOW - HOUR, NOW)}),
    ],
)
def test_a_limit_that_is_reached_but_not_passed_keeps_nothing_waiting(
    policy: dict[str, Any], facts: dict[str, Any]
) -> None:
    assert decide(known(policy, **facts)).would_run


def test_many_reasons_are_all_told() -> None:
    facts = known(
        {"optimization": "hold", "max_calls": 10},
        undecided=2,
        lost_demos=1,
        last=last_run(state="due", finished_at=None, model="old"),
    )
    ruling = decide(facts)
    assert codes(ruling, pro=True) == ["growth", "demos", "model"]
    assert codes(ruling, pro=False) == ["hold", "open", "undecided", "max_calls"]


def test_what_a_run_takes_is_told_and_money_only_where_a_price_is_known() -> None:
    assert (decide(known()).calls, decide(known()).cost) == (600, None)
    assert decide(known(spent=Spent(9, 0.001))).cost == pytest.approx(0.6)
    assert decide(known(drafted=None, spent=Spent(9, 0.001))).calls is None


@pytest.mark.parametrize(
    ("at", "is_so"),
    [
        ("2026-07-01T19:59", False),
        ("2026-07-01T20:00", True),
        ("2026-07-02T03:59", True),
        ("2026-07-02T04:00", False),
        ("2026-12-01T20:59", False),
        ("2026-12-01T21:00", True),
        ("2026-12-02T04:59", True),
        ("2026-12-02T05:00", False),
        ("2026-10-25T04:30", True),
    ],
)
def test_quiet_hours_follow_the_clock_of_their_place_in_summer_and_in_winter(
    at: str, *, is_so: bool
) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert is_quiet(BERLIN, moment) is is_so
    noon = QuietHours(starts="06:00", ends="22:00", timezone="Europe/Berlin")
    assert is_quiet(noon, moment) is not is_so


@pytest.mark.parametrize(
    "hours",
    [
        {"starts": "22:00", "ends": "22:00"},
        {"starts": "24:00", "ends": "06:00"},
        {"starts": "22:00", "ends": "6:00"},
        {"starts": "22:00", "ends": "06:00", "timezone": "Berlin"},
        {"starts": "22:00", "ends": "06:00", "timezone": "../../etc/passwd"},
        {"starts": "22:00"},
    ],
)
def test_quiet_hours_that_nobody_can_keep_are_refused(hours: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        QuietHours.model_validate(hours)


@st.composite
def any_facts(draw: st.DrawFn) -> Known:
    when = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
    state = draw(st.sampled_from(["due", "running", "finished", "failed", "cancelled"]))
    is_open = state in {"due", "running"}
    last = last_run(state=state, size=draw(st.integers(30, 400)), began_at=draw(when),
                    finished_at=None if is_open else draw(when))  # fmt: skip
    policy = Policy(
        growth=draw(st.floats(0.01, 3)),
        max_calls=draw(st.integers(1, 2000)),
        max_daily_calls=draw(st.none() | st.integers(1, 4000)),
        trigger=Trigger(
            new_examples=draw(st.none() | st.integers(1, 100)),
            cooldown_minutes=draw(st.floats(0, 10_000)),
            quiet_hours=draw(st.sampled_from([None, BERLIN])),
            max_cost=draw(st.none() | st.floats(0.01, 10)),
        ),
    )
    lacks = draw(st.lists(st.just("some"), max_size=2))
    return Known(
        now=draw(when),
        policy=policy,
        arrived=draw(st.none() | st.builds(Arrived, when, when)),
        undecided=draw(st.integers(0, 3)),
        last=draw(st.none() | st.just(last)),
        new=draw(st.integers(0, 200)),
        lost_demos=draw(st.integers(0, 2)),
        judge=draw(st.sampled_from([None, "j r p", "k r p"])),
        drafted=draw(st.none() | st.builds(
            Drafted, st.just(tuple(lacks)), st.booleans(), st.just(9), st.integers(1, 3000))),
        spent=Spent(draw(st.integers(0, 3000)), draw(st.none() | st.floats(0, 0.1))),
    )  # fmt: skip


@given(any_facts())
def test_no_run_begins_against_its_policy_whatever_is_known(facts: Known) -> None:
    ruling = decide(facts)
    assert ruling == decide(facts)
    assert ruling.would_run == (bool(ruling.pro) and not ruling.con)
    assert ruling.pro or ruling.con
    if not ruling.would_run:
        return
    last, drafted, policy = facts.last, facts.drafted, facts.policy
    assert last is None or not last.is_open
    if drafted:
        assert not drafted.lacks
        assert drafted.calls <= policy.max_calls
        assert facts.spent.calls + drafted.calls <= (policy.max_daily_calls or 10**9)
        assert not (drafted.is_the_last and set(codes(ruling, pro=True)) <= ABOUT_DATA)
    hours = policy.trigger.quiet_hours
    assert not (hours and is_quiet(hours, facts.now))


@given(any_facts())
def test_what_is_still_to_be_read_can_only_keep_a_run_waiting(facts: Known) -> None:
    before = decide(facts._replace(drafted=None))
    assert set(before.con) <= set(decide(facts).con)
    assert before.pro == decide(facts).pro
