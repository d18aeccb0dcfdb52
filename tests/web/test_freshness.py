"""A page of many domains stays quick: a little of each, and all of the one that is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tdsys.core.people import Role
from tdsys.store import days
from tests.factories import make_captures
from tests.stored import ingest
from tests.web.site import Site

WRITTEN = 40


@pytest.fixture
def domains(site: Site) -> list[str]:
    """Four domains with forty days each."""
    names, now = [f"domain {n}" for n in range(4)], datetime.now(UTC)
    with site.store.begin() as tx:
        for name in names:
            ingest(tx, make_captures(1, domain=name), batch=name)
        for name, day in days.present(tx, today=now.date(), scored_today={}).items():
            for back in range(WRITTEN):
                earlier = day._replace(day=day.day - timedelta(days=back))
                days.write(tx, domain=name, day=earlier, now=now)
    return names


def test_many_domains_are_shown_for_two_weeks_and_one_for_as_long_as_it_is_written(
    site: Site, domains: list[str]
) -> None:
    token = site.person(Role.VIEWER)
    all_ = site.ask("/reports/freshness.json", token=token).document
    assert all_["brief"]
    assert [(one["domain"], len(one["points"])) for one in all_["trends"]] == [
        (name, 15) for name in domains
    ]
    page = site.ask("/reports/freshness", token=token).body
    assert 'href="/reports/freshness?domain=domain%203"' in page
    one = site.ask("/reports/freshness.json?domain=domain+3", token=token).document
    assert not one["brief"]
    assert [(each["domain"], len(each["points"])) for each in one["trends"]] == [
        ("domain 3", WRITTEN)
    ]


def test_a_domain_of_others_is_not_shown_by_its_name(site: Site, domains: list[str]) -> None:
    token = site.person(Role.VIEWER, name="guest", domains=domains[:1])
    assert site.ask("/reports/freshness.json?domain=domain+3", token=token).status == 404
