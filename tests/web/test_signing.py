"""Signing in: who gets in, and what nobody learns who does not."""

from __future__ import annotations

from playwright.sync_api import expect

from tdsys.core.people import Role
from tests.web.conftest import InBrowser
from tests.web.site import PASSWORD, Site


def test_somebody_signs_in_and_out(site: Site, in_browser: InBrowser) -> None:
    site.person(Role.REVIEWER, name="ann")
    page = in_browser().new_page()
    page.goto("/account")
    page.get_by_label("Name").fill("Ann ")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("ann")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("you are signed out")
    page.goto("/account")
    assert "/sign-in" in page.url
