"""A model's gauge: how a refusal, a wish to wait and a failure change who may ask and when."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tdsys.core.throttling import (
    FAILURES,
    FIRST_REST,
    LONGEST_REST,
    PERMIT_SECONDS,
    Allowance,
    Came,
    Gauge,
    Wait,
    Why,
)

FREE = Allowance()


class Caller:
    """Asks a gauge at times it chooses."""

    def __init__(self, allowance: Allowance = FREE) -> None:
        self.gauge, self.allowance, self.now, self.number = Gauge(), allowance, 1000.0, 0

    def take(self) -> str | Wait:
        self.number += 1
        permit = f"p{self.number}"
        return self.gauge.take(permit, self.allowance, self.now) or permit

    def taken(self) -> str:
        got = self.take()
        assert isinstance(got, str), got
        return got

    def waits(self) -> tuple[float, Why]:
        got = self.take()
        assert isinstance(got, Wait), got
        return got.seconds, got.why

    def has_to_wait(self, seconds: float, why: Why) -> None:
        got = self.waits()
        assert got[1] is why
        assert got[0] == pytest.approx(seconds)

    def come(self, permit: str, came: Came, pause: float = 0.0) -> None:
        self.gauge.give_back(permit, self.allowance, came, pause, self.now)

    def calls(self, seconds: float) -> int:
        """How many answered calls fit into so many seconds, one after another."""
        until, made = self.now + seconds, 0
        while self.now < until:
            got = self.take()
            if isinstance(got, Wait):
                self.now += got.seconds + 1e-9
            else:
                made += 1
                self.now += 0.01
                self.come(got, Came.ANSWERED)
        return made

    def refused(self, times: int) -> None:
        """So many calls that are sent together."""
        for permit in [self.taken() for _ in range(times)]:
            self.come(permit, Came.LIMITED)

    def fail(self) -> None:
        """As often as it takes until nobody asks any more."""
        for _ in range(FAILURES):
            self.come(self.taken(), Came.FAILED)


def test_what_nothing_limits_never_waits() -> None:
    assert Caller().calls(10) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize("per_minute", [3, 60, 600])
def test_calls_a_minute_are_kept_to(per_minute: float) -> None:
    made = Caller(Allowance(per_minute=per_minute)).calls(300)
    assert made == pytest.approx(5 * per_minute, abs=1 + per_minute / 60)


def test_no_more_are_on_their_way_than_may_be_and_a_dead_workers_permit_runs_out() -> None:
    caller = Caller(Allowance(in_flight=2))
    first, _ = caller.taken(), caller.taken()
    caller.has_to_wait(0.02, Why.FULL)
    caller.come(first, Came.ANSWERED)
    caller.taken()
    caller.now += PERMIT_SECONDS
    caller.taken()


def test_one_refusal_of_many_is_borne_with() -> None:
    caller = Caller(Allowance(per_minute=600))
    caller.calls(20)
    caller.refused(1)
    assert caller.gauge.standing(caller.now).rate == pytest.approx(10)


def test_refusals_slow_all_down_at_once_and_a_minute_brings_the_rate_back() -> None:
    caller = Caller(Allowance(per_minute=600))
    caller.calls(20)
    caller.now += 1
    caller.refused(10)
    assert caller.gauge.standing(caller.now).rate == pytest.approx(7)
    slower = caller.calls(5)
    assert 30 < slower < 42
    caller.calls(30)
    assert caller.gauge.standing(caller.now).rate == pytest.approx(10)


def test_the_refusals_of_one_burst_slow_down_once() -> None:
    caller = Caller(Allowance(per_minute=600))
    burst = [caller.taken() for _ in range(8)]
    caller.now += 2
    for permit in burst:
        caller.come(permit, Came.LIMITED)
    assert caller.gauge.standing(caller.now).rate == pytest.approx(7)


def test_refusals_again_and_again_never_stop_anybody() -> None:
    caller = Caller(Allowance(per_minute=600))
    for _ in range(200):
        got = caller.take()
        caller.now += 1.1
        if isinstance(got, str):
            caller.come(got, Came.LIMITED)
    assert caller.gauge.standing(caller.now).rate == pytest.approx(1, rel=0.2)


def test_a_limit_nobody_knew_is_learned_from_the_pace_and_forgotten_again() -> None:
    caller = Caller()
    caller.calls(5)
    caller.refused(20)
    rate = caller.gauge.standing(caller.now).rate
    assert rate == pytest.approx(70, rel=0.2)
    caller.calls(120)
    assert caller.gauge.standing(caller.now).rate is None


def test_what_a_provider_asks_to_be_waited_for_is_waited_for_by_all() -> None:
    caller = Caller()
    caller.come(caller.taken(), Came.LIMITED, pause=20)
    caller.has_to_wait(20, Why.PAUSED)
    caller.now += 20
    caller.taken()


def test_failures_in_a_row_end_asking_and_one_alone_asks_again() -> None:
    caller = Caller()
    caller.fail()
    caller.has_to_wait(FIRST_REST, Why.BROKEN)
    caller.now += FIRST_REST
    probe = caller.taken()
    assert caller.waits()[1] is Why.BROKEN
    caller.come(probe, Came.ANSWERED)
    caller.taken()
    assert caller.gauge.standing(caller.now).state == "closed"


def test_a_probe_that_fails_doubles_the_rest_up_to_a_quarter_of_a_minute() -> None:
    caller, rests = Caller(), []
    caller.fail()
    for _ in range(6):
        seconds, _ = caller.waits()
        rests.append(round(seconds))
        caller.now += seconds
        caller.come(caller.taken(), Came.FAILED)
    assert rests == [5, 10, LONGEST_REST, LONGEST_REST, LONGEST_REST, LONGEST_REST]
    assert caller.gauge.standing(caller.now).broken_for == pytest.approx(sum(rests))


def test_another_asks_when_the_one_who_asked_has_died() -> None:
    caller = Caller()
    caller.fail()
    caller.now += FIRST_REST
    caller.taken()
    caller.now += PERMIT_SECONDS
    caller.taken()


def test_an_answer_between_failures_and_a_late_failure_change_nothing() -> None:
    caller = Caller()
    late = caller.taken()
    for _ in range(3 * FAILURES):
        caller.come(caller.taken(), Came.FAILED)
        caller.come(caller.taken(), Came.ANSWERED)
    caller.fail()
    caller.now += 1
    caller.come(late, Came.FAILED)
    caller.has_to_wait(FIRST_REST - 1, Why.BROKEN)


Refuses = Callable[[float, random.Random], bool]


def by_chance(share: float) -> Refuses:
    """A provider that refuses some, however seldom it is asked."""
    return lambda _, lot: lot.random() < share


def above(rate: float) -> Refuses:
    """A provider that answers so many a second, and what was not asked for a second before."""
    kept = {"level": rate, "at": 0.0}

    def refuses(now: float, _: random.Random) -> bool:
        kept["level"] = min(rate, kept["level"] + (now - kept["at"]) * rate)
        kept["at"] = now
        if kept["level"] < 1:
            return True
        kept["level"] -= 1
        return False

    return refuses


class Ended(NamedTuple):
    """What a call came to, and when."""

    at: float
    is_refused: bool


def simulated(
    refuses: Refuses, *, callers: int, latency: float, seed: int, seconds: float = 240
) -> list[Ended]:
    """So many callers that wait, ask, and ask again as the gateway does, on a virtual clock."""
    gauge, lot, ended = Gauge(), random.Random(seed), list[Ended]()
    numbers = itertools.count()
    turns: list[tuple[float, int, str, int]] = [(1000.0, next(numbers), "", 0)] * callers
    heapq.heapify(turns)
    while turns[0][0] < 1000 + seconds:
        now, _, permit, refusals = heapq.heappop(turns)
        if not permit:
            permit = str(next(numbers))
            wait = gauge.take(permit, FREE, now)
            later = (
                wait.seconds * (1 + lot.random() / 4) if wait else latency * (0.7 + lot.random())
            )
            following = (now + later + 1e-6, next(numbers), "" if wait else permit, refusals)
        else:
            is_refused = refuses(now, lot)
            gauge.give_back(permit, FREE, Came.LIMITED if is_refused else Came.ANSWERED, 0.0, now)
            ended.append(Ended(now - 1000, is_refused))
            backs_off = 0.5 * 2 ** min(refusals, 3) * (1 + lot.random() / 4) if is_refused else 0.0
            following = (now + backs_off, next(numbers), "", refusals + 1 if is_refused else 0)
        heapq.heappush(turns, following)
    return ended


def answered(ended: list[Ended], *, since: float = 60) -> tuple[float, float]:
    """Answers a second, and the share of refusals, after the first minute."""
    late = [one for one in ended if one.at > since]
    refused = sum(one.is_refused for one in late)
    return (len(late) - refused) / (late[-1].at - since), refused / len(late)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("limit", [5, 10, 30])
def test_a_providers_limit_is_found_and_used_up_with_few_refusals(limit: float, seed: int) -> None:
    rate, refused = answered(simulated(above(limit), callers=32, latency=0.3, seed=seed))
    assert rate > 0.9 * limit
    assert refused < 0.12


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("callers", "latency"), [(32, 0.3), (16, 1.0)])
def test_refusals_by_chance_leave_most_of_what_the_callers_could_do(
    callers: int, latency: float, seed: int
) -> None:
    """0.7 a second, whatever the callers could do, when each refusal counted."""
    refuses = by_chance(0.3)
    rate, _ = answered(simulated(refuses, callers=callers, latency=latency, seed=seed))
    # Each answer takes 1.43 calls and the waits after 0.43 refusals.
    could = callers / (1.43 * 1.2 * latency + 0.43 * 0.65)
    assert rate > 0.4 * could


def test_a_limit_beside_chance_is_found_as_well() -> None:
    limit, chance = above(20), by_chance(0.1)
    both = simulated(lambda now, lot: chance(now, lot) or limit(now, lot),
                     callers=32, latency=0.3, seed=1)  # fmt: skip
    rate, refused = answered(both)
    assert rate > 15
    assert refused < 0.25


def test_what_refuses_everything_for_minutes_is_asked_seldom_and_then_used_again() -> None:
    ended = simulated(lambda now, _: now < 1120, callers=16, latency=0.3, seed=1)
    away = [one for one in ended if 60 < one.at < 120]
    assert len(away) < 120
    assert answered(ended, since=200)[0] > 10


def test_a_setting_that_is_raised_or_lowered_holds_from_then_on() -> None:
    caller = Caller(Allowance(per_minute=60))
    assert caller.calls(60) == pytest.approx(60, abs=2)
    caller.allowance = Allowance(per_minute=600)
    assert caller.calls(60) == pytest.approx(600, rel=0.05)
    caller.allowance = Allowance(per_minute=60)
    assert caller.calls(120) == pytest.approx(120, rel=0.1)
