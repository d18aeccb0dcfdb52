"""Asking for examples in the browser: the plan first, then how far it is, and stopping it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from playwright.sync_api import expect

from tdsys.core.people import Role
from tdsys.errors import NotReady
from tdsys.stages import filling, scoring, synthesizing
from tdsys.stages.scoring import Limits
from tdsys.stages.synthesizing import Means
from tdsys.store import Store
from tests.making import ScriptedMaker, ScriptedSolver, ScriptedWorkshop, drafted
from tests.scripted import Clock, ScriptedJudge, ScriptedVerifier
from tests.stored import LEASE, count
from tests.web.conftest import SignedIn
from tests.web.site import Answer, Site

HOSTILE = '<img src=x onerror="window.owned = 1">'
FORM = {"kind": "bootstrap", "generator": "reference", "domain": "algebra", "count": "6",
        "topics": "ages, rates", "difficulties": "easy"}  # fmt: skip


def ask(site: Site, token: str, **over: str) -> Answer:
    return site.ask("/batches", token=token, form={**FORM, **over})


def asked(site: Site, token: str, **over: str) -> UUID:
    answer = ask(site, token, **over)
    assert answer.status == 303, answer.body
    return UUID(answer.leads_to.rpartition("/")[2])


def work(store: Store) -> None:
    """What workers do: make what is due, and judge it."""
    clock = Clock()
    clock.at = datetime.now(UTC) + timedelta(seconds=60)
    means = Means(ScriptedWorkshop(ScriptedMaker(drafted)), ScriptedVerifier(), ScriptedSolver())
    for _ in range(3):
        synthesizing.make_due(store, means=means, clock=clock, lease=LEASE, block=16)
        scoring.score_due(
            store, judge=ScriptedJudge(), verifier=ScriptedVerifier(), clock=clock,
            limits=Limits(block=50, lease=LEASE, max_attempts=3),
        )  # fmt: skip
        clock.forward(seconds=20)


def test_a_plan_is_shown_before_it_is_begun_and_then_followed(
    site: Site, signed_in: SignedIn
) -> None:
    page = signed_in(Role.OPERATOR, name="olaf")
    page.goto("/batches")
    page.get_by_role("link", name="Ask for examples").click()
    page.get_by_label("Made by").select_option("bootstrap")
    page.get_by_label("Domain").fill("algebra")
    page.get_by_label("How many").fill("6")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator(".notice")).to_contain_text("algebra is new")
    expect(page.get_by_role("heading", name="The plan")).to_be_visible()
    assert page.get_by_role("region", name="Heat map").get_by_text("0 plus").count() > 1
    with site.store.begin() as tx:
        assert count(tx, "batches") == 0
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("The batch is begun.")).to_be_visible()
    expect(page.locator("main [role=status]").last).to_contain_text("0 of 6 admitted")
    work(site.store)
    expect(page.locator("main [role=status]").last).to_contain_text("finished 6 of 6 admitted")
    expect(page.get_by_role("button", name="Stop it")).to_have_count(0)
    told = site.ask(f"{page.url.removeprefix(site.url)}.json", token=site.person(Role.VIEWER))
    assert (told.document["batch"]["actor"], told.document["whole"]["admitted"]) == ("olaf", 6)


def test_a_form_that_is_sent_twice_begins_one_batch(site: Site) -> None:
    token = site.person(Role.OPERATOR)
    plan = site.ask("/batches/new.json?domain=algebra&kind=bootstrap&generator=reference&count=6",
                    token=token).document  # fmt: skip
    key = plan["key"]
    assert {asked(site, token, key=key) for _ in range(2)} == {UUID(key)}
    assert asked(site, token) != UUID(key)
    assert ask(site, token, key="no key").status == 400
    with site.store.begin() as tx:
        assert count(tx, "batches") == 2


def test_an_operator_stops_a_batch_and_goes_on_with_it(site: Site, signed_in: SignedIn) -> None:
    page = signed_in(Role.OPERATOR, name="olaf", domains=["algebra"])
    batch = asked(site, site.person(Role.ADMIN))
    page.goto(f"/batches/{batch}")
    page.on("dialog", lambda asks: asks.accept())
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_text("It is stopped; what was made stays.")).to_be_visible()
    page.get_by_label("Calls from now on, at most").fill("20")
    page.get_by_role("button", name="Go on where it fell short").click()
    expect(page.get_by_text("2 portions are due again.")).to_be_visible()
    found = filling.report(site.store, batch_id=batch).batch
    assert (found.state, found.max_calls) == ("open", 20)


def test_who_may_not_act_sees_no_button_and_of_another_domain_nothing(site: Site) -> None:
    batch = asked(site, site.person(Role.ADMIN))
    page = site.ask(f"/batches/{batch}", token=site.person(Role.CURATOR)).body
    assert "Stop it" not in page
    other = site.person(Role.OPERATOR, name="other", domains=["geometry"])
    for path in (f"/batches/{batch}", "/batches/new?domain=algebra"):
        assert site.ask(path, token=other).status == 404
    for path in (f"/batches/{batch}/cancel", f"/batches/{batch}/resume"):
        assert site.ask(path, token=other, form={}).status == 404
    assert ask(site, other).status == 404
    assert site.ask("/batches.json", token=other).document["batches"] == []
    assert filling.report(site.store, batch_id=batch).batch.state == "open"


def test_what_cannot_be_planned_is_said_beside_the_form(site: Site) -> None:
    token = site.person(Role.OPERATOR)
    for over, told in (
        ("count=0", "0&#39; is not usable"),
        ("topics=ages&strategies=nonsense", "nonsense"),
        ("kind=other", "no such kind"),
        ("kind=bootstrap&generator=theirs", "no generator"),
        ("max_calls=-1", "is not usable"),
    ):
        answer = site.ask(f"/batches/new?domain=algebra&{over}", token=token)
        assert told in answer.body.partition('role="alert"')[2][:300], over
        assert 'name="domain"' in answer.body
        assert "Begin</button>" not in answer.body
    assert ask(site, token, count="0").status == 400
    assert ask(site, token, count="1000000").status == 400


def test_names_of_strangers_are_text(site: Site, signed_in: SignedIn) -> None:
    page = signed_in(Role.OPERATOR)
    batch = asked(site, site.person(Role.ADMIN), topics=HOSTILE, domain=f"a {HOSTILE}"[:40])
    for path in (f"/batches/{batch}", "/batches"):
        page.goto(path)
        assert page.locator("main img").count() == 0
    page.goto(f"/batches/{batch}")
    expect(page.get_by_role("region", name="Heat map")).to_contain_text("<img src=x")


def test_how_long_it_takes_is_told_by_the_pace_of_late(site: Site) -> None:
    batch = asked(site, site.person(Role.ADMIN), count="200")
    now = datetime.now(UTC) + timedelta(seconds=60)
    before = filling.report(site.store, batch_id=batch)
    assert filling.seconds_left(site.store, before, now=now) is None
    means = Means(ScriptedWorkshop(ScriptedMaker(drafted)), ScriptedVerifier(), ScriptedSolver())
    synthesizing.make_due(site.store, means=means, clock=lambda: now, lease=LEASE, block=1)
    told = filling.report(site.store, batch_id=batch)
    assert 0 < told.whole.held < 200
    left = filling.seconds_left(site.store, told, now=now + timedelta(seconds=10))
    assert left is not None
    assert left == 10 * (200 - told.whole.held) / told.whole.made
    assert filling.seconds_left(site.store, told, now=now + timedelta(hours=1)) is None


def test_what_is_over_is_stopped_no_second_time(site: Site) -> None:
    token = site.person(Role.OPERATOR)
    batch = asked(site, token)
    assert site.ask(f"/batches/{batch}/cancel", token=token, form={}).status == 303
    again = site.ask(f"/batches/{batch}/cancel", token=token, form={})
    assert again.status == 409
    assert NotReady.__name__ in site.ask(
        f"/batches/{batch}/cancel", token=token, document={}
    ).body  # fmt: skip
