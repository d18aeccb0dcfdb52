"""Limits of pace: one account may not take what all need, and nobody at work meets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tdsys.core.pacing import RATES, Pace, rate
from tdsys.core.people import ROLES, Person, Role
from tdsys.stages import pacing
from tdsys.store import Store, paces
from tests.factories import NOW
from tests.web.site import Clock, Site, served

TIGHT = 0.05  # ten changes, five searches and one costly act at once
ANN = Person(1, "ann", Role.REVIEWER, ROLES[Role.REVIEWER])


@pytest.fixture(scope="module")
def clock_here() -> Clock:
    return Clock(stands_at=datetime.now(UTC))  # however slow the machine, nothing is refilled


@pytest.fixture(scope="module")
def tight_address(database_url: str, redis_url: str, clock_here: Clock) -> Iterator[str]:
    with served(database_url, clock=clock_here, redis_url=redis_url, web_pace=TIGHT) as url:
        yield url


@pytest.fixture
def tight(tight_address: str, site: Site) -> Site:
    return Site(tight_address, site.store)


def test_what_comes_too_soon_is_refused_with_the_time_to_wait(
    tight: Site, clock_here: Clock
) -> None:
    token = tight.person(Role.REVIEWER)
    asked = [tight.ask("/review/next", token=token, document={}) for _ in range(11)]
    assert [one.status for one in asked] == [200] * 10 + [429]
    told = asked[-1].document
    assert (told["error"], told["remedy"]) == ("TooSoon", "wait 1 seconds, then try again")
    assert asked[-1].headers["retry-after"] == "1"
    assert tight.ask("/review", token=token).status == 200, "looking is not limited"
    clock_here.ahead += timedelta(seconds=1)
    assert tight.ask("/review/next", token=token, document={}).status == 200


def test_people_get_their_form_back_and_programs_have_an_allowance_of_their_own(
    tight: Site,
) -> None:
    token = tight.person(Role.VIEWER)
    form = {"name": "nightly", "role": "viewer", "days": "9"}
    made = tight.ask("/account/tokens", token=token, document=form).document["token"]
    refused = tight.ask("/account/tokens", token=token, form=form)
    assert refused.status == 429
    assert 'role="alert"' in refused.body
    assert 'value="nightly"' in refused.body
    spoken = {"Authorization": f"Bearer {made}"}
    asked = [tight.ask("/examples.json", headers=spoken).status for _ in range(6)]
    assert asked == [200] * 5 + [429]
    assert tight.ask("/examples", token=token).status == 200, "the person goes on"
    assert tight.ask("/examples", token=tight.person(Role.ADMIN)).status == 200


def test_a_minute_of_four_decisions_a_second_is_never_too_fast(store: Store) -> None:
    usual = rate(Pace.CHANGE, factor=1)
    assert usual
    with store.begin() as tx:
        for n in range(12 * 60):
            at = NOW + timedelta(seconds=n / 12)
            assert not paces.step(tx, who="account:1", pace=Pace.CHANGE, rate=usual, now=at)


def test_at_the_same_moment_exactly_so_many_pass(store: Store) -> None:
    tightest = RATES[Pace.COSTLY]

    def waits(_: int) -> int:
        try:
            pacing.keep(store, ANN, pace=Pace.COSTLY, rate=tightest, by_token=False, now=NOW)
        except pacing.TooSoon as wrong:
            return wrong.wait
        return 0

    with ThreadPoolExecutor(8) as threads:
        assert Counter(threads.map(waits, range(40))) == {0: 20, tightest.every: 20}


def test_no_limit_is_a_pace_of_nothing() -> None:
    assert rate(Pace.CHANGE, factor=0) is None
