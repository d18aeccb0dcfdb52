"""The page of contributions and recommendations, as people and machines use it."""

from __future__ import annotations

from http import HTTPStatus

from tdsys.core.people import Role
from tdsys.stages import impact
from tdsys.stages.following import OFFLINE
from tdsys.store import recommendations
from tests.advised import WORSE, measured_worse
from tests.attributed import DOMAIN, World
from tests.web.site import Site

PAGE = f"/effectiveness?domain={DOMAIN}"
JSON = f"/effectiveness.json?domain={DOMAIN}"


def test_what_is_recommended_is_worked_out_followed_and_taken_back_in_the_browser(
    site: Site,
) -> None:
    world = World(site.store)
    world.begin(budget=400)
    world.work()
    operator = site.person(Role.OPERATOR)
    page = site.ask(PAGE, token=operator)
    assert page.status == HTTPStatus.OK
    assert 'class="chart forest"' in page.body
    assert "1 harmful" in page.body
    assert "simulated" in page.body

    form = {"domain": DOMAIN}
    assert site.ask("/effectiveness/recommend", token=operator, form=form).leads_to == PAGE
    found = site.ask(JSON, token=operator).document
    worst = found["contributions"][-1]
    assert worst["ci_low"] < worst["value"] < worst["ci_high"] < 0
    one = next(r for r in found["recommendations"] if r["kind"] == "retire")
    assert one["can_apply"]
    where = f"/recommendations/{one['id']}"
    plan = impact.planned(site.store, id=one["id"], model=OFFLINE, seeds=1)
    impact.begin(site.store, plan, clock=world.clock)
    assert "Stop measuring" in site.ask(PAGE, token=operator).body
    unproven = site.ask(f"{where}/cancel", token=operator, form={}, proof=False)
    assert unproven.status == HTTPStatus.FORBIDDEN
    assert site.ask(f"{where}/cancel", token=operator, form={}).leads_to == PAGE
    stopped = site.ask(JSON, token=operator).document["recommendations"]
    assert next(r for r in stopped if r["id"] == one["id"])["impact"]["state"] == "cancelled"
    assert "Stop measuring" not in site.ask(PAGE, token=operator).body
    with site.store.begin() as tx:
        retire = recommendations.find(tx, id=one["id"])
    measured_worse(site.store, retire, world.clock)
    worse = site.ask(PAGE, token=operator).body
    assert WORSE in worse
    assert 'name="despite_impact" value="1" required' in worse
    refused = site.ask(f"{where}/apply", token=operator, form={})
    assert refused.status == HTTPStatus.CONFLICT
    assert WORSE in refused.body
    despite = {"despite_impact": "1"}
    assert site.ask(f"{where}/apply", token=operator, form=despite).leads_to == PAGE
    assert site.ask(f"{where}/apply", token=operator, document={}).status == HTTPStatus.CONFLICT
    after = site.ask(JSON, token=operator).document
    assert after["version"] == found["version"] + 1
    assert after["attribution"]["stale"] is True
    assert "was measured before the data changed" in after["unmeasured"]
    applied = next(r for r in after["recommendations"] if r["id"] == one["id"])
    assert (applied["is_worse"], applied["impact"]["outcome"]["with"]) == (True, 0.9)
    assert site.ask(f"{where}/revert", token=operator, form={}).leads_to == PAGE
    assert site.ask(JSON, token=operator).document["version"] == found["version"]
    world.begin(budget=60)
    assert "Another is under way: 0 of at most 60 calls" in site.ask(PAGE, token=operator).body
    viewer = site.ask(PAGE, token=site.person(Role.VIEWER)).body
    assert f"{where}/" not in viewer


def test_a_domain_somebody_may_not_see_has_no_page_and_no_recommendations(site: Site) -> None:
    world = World(site.store)
    world.begin(budget=60)
    world.work()
    stranger = site.person(Role.OPERATOR, domains=("geometry",))
    assert site.ask(JSON, token=stranger).status == HTTPStatus.NOT_FOUND
    assert site.ask("/effectiveness.json", token=stranger).document["newest"] == []
    form = {"domain": DOMAIN}
    refused = site.ask("/effectiveness/recommend", token=stranger, document=form)
    assert refused.status == HTTPStatus.NOT_FOUND
