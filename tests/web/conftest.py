"""Fixtures of the tests in a browser: Chromium, the application, and people signed in to it.

    def test_something(site: Site, signed_in: SignedIn) -> None:
        page = signed_in(Role.REVIEWER)            # a playwright Page of somebody's own context
        page.goto("/review")

`site` starts with an empty database (site.store); `site.ask(path, token=site.person(Role.VIEWER))`
is a request without a browser. Under the policy `wait_for_function` takes `() => ...` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tdsys.core.people import Role
from tdsys.store import Store
from tests.databases import emptied
from tests.web import chromium
from tests.web.site import Clock, Site, served


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Debian's Chromium; installed if it may be, a skip with the reason elsewhere."""
    reason = "chromium is not installed"
    if not chromium.path() and chromium.may_install():
        reason = chromium.install() or reason
    found = chromium.path()
    if found is None and chromium.must_be_here():
        pytest.fail(f"tests in the browser have to run here, but {reason}")
    if found is None:
        pytest.skip(f"{reason}, and installing it needs root and apt")
    return found


# For a file, not for the session: playwright's event loop would be in the way of others' own.
@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as started:
        made = started.chromium.launch(executable_path=chromium_path, args=chromium.ARGUMENTS)
        yield made
        made.close()


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def site_address(database_url: str, redis_url: str, clock: Clock) -> Iterator[str]:
    """The application, once for all tests of this process."""
    with served(database_url, clock=clock, redis_url=redis_url) as url:
        yield url


@pytest.fixture
def site(site_address: str, database_url: str, clock: Clock) -> Iterator[Site]:
    """The application on an empty database."""
    store = Store(database_url)
    emptied(store)
    clock.ahead = timedelta()
    yield Site(site_address, store)
    store.close()


class InBrowser(Protocol):
    def __call__(self, *, token: str = ..., width: int = ..., **options: Any) -> BrowserContext: ...


class SignedIn(Protocol):
    def __call__(
        self, role: Role = ..., *, name: str = ..., width: int = ..., **options: Any
    ) -> Page: ...


@pytest.fixture
def in_browser(browser: Browser, site: Site) -> Iterator[InBrowser]:
    """New browser contexts on the site; closed in the end."""
    made: list[BrowserContext] = []

    def new(*, token: str = "", width: int = 1280, **options: Any) -> BrowserContext:
        size: Any = {"width": width, "height": 900}
        context = browser.new_context(base_url=site.url, viewport=size, **options)
        context.set_default_timeout(10_000)
        if token:
            cookie: Any = {"name": "tdsys", "value": token, "url": site.url, "httpOnly": True}
            context.add_cookies([cookie])
        made.append(context)
        return context

    yield new
    for context in made:
        context.close()


@pytest.fixture
def signed_in(site: Site, in_browser: InBrowser) -> SignedIn:
    """A page of somebody who is signed in."""

    def open_(
        role: Role = Role.REVIEWER, *, name: str = "", width: int = 1280, **options: Any
    ) -> Page:
        domains = options.pop("domains", None)
        token = site.person(role, name=name, domains=domains)
        return in_browser(token=token, width=width, **options).new_page()

    return open_
