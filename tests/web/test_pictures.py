"""Every page as people see it: nothing fails while it is shown, and the docs hold its picture.

`pytest tests/web/test_pictures.py --write-docs` takes the pictures anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab
from sqlalchemy import text

from tdsys.core.people import Role
from tdsys.web.app import SERVED
from tdsys.web.pages import Page
from tests.web.conftest import SignedIn
from tests.web.site import Site
from tests.web.world import build

FOLDER = Path(__file__).parents[2] / "docs" / "pages"
# Where a path names one thing, which; pages that only lead on have no picture.
LEADING = {"/", "/imports/{id:uuid}", "/operations/{id:int}"}
ONE = {
    "/people/{name}": "SELECT name FROM users ORDER BY id LIMIT 1",
    "/examples/{id:int}": "SELECT min(id) FROM examples WHERE state = 'admitted'",
    "/datasets/{id:int}": "SELECT max(id) FROM dataset_versions",
    "/batches/{id:uuid}": "SELECT id FROM batches",
    "/runs/{id:uuid}": "SELECT id FROM runs ORDER BY created_at LIMIT 1",
}
QUERY = {
    "/captures/batch": "?id=pictures",
    "/effectiveness": "?domain=arithmetic",
    "/batches/new": "?domain=arithmetic&count=24",
}
NARROW = {"/review", "/examples", "/reports"}
DARK = {"/review", "/reports"}


def pages() -> list[str]:
    return sorted({one.path for one in SERVED if isinstance(one, Page)} - LEADING)


def pictures() -> set[str]:
    return {
        *(f"{named(path)}.png" for path in pages()),
        *(f"{named(path)}-narrow.png" for path in NARROW),
        *(f"{named(path)}-dark.png" for path in DARK),
    }


def named(path: str) -> str:
    return re.sub(r"\W+", "-", re.sub(r"\{(\w+).*?\}", "one", path)).strip("-")


def test_the_docs_hold_a_picture_of_every_page() -> None:
    assert {one.name for one in FOLDER.glob("*.png")} == pictures()


def test_every_page_shows_a_world_without_a_complaint(
    site: Site, signed_in: SignedIn, pytestconfig: pytest.Config
) -> None:
    build(site.store)
    write = pytestconfig.getoption("write_docs")
    for kind, width, paths, options in (
        ("", 1280, pages(), {}),
        ("-narrow", 390, sorted(NARROW), {}),
        ("-dark", 1280, sorted(DARK), {"color_scheme": "dark"}),
    ):
        page = signed_in(Role.ADMIN, name="ann", width=width, reduced_motion="reduce", **options)
        complaints = heard(page)
        for path in paths:
            shown(page, site, path)
            if write:
                page.screenshot(path=FOLDER / f"{named(path)}{kind}.png")
        assert complaints == []


def shown(page: Tab, site: Site, path: str) -> None:
    answer = page.goto(filled(site, path))
    assert answer, path
    assert answer.ok, f"{path}: {answer.status}"
    page.wait_for_load_state("networkidle")
    # What a template shows of an object when it means one of its values.
    assert not re.search(r"built-in method|object at 0x", page.locator("main").inner_text()), path


def filled(site: Site, path: str) -> str:
    if path not in ONE:
        return path + QUERY.get(path, "")
    with site.store.begin() as tx:
        value = tx.execute(text(ONE[path])).scalar_one()
    return re.sub(r"\{.*?\}", str(value), path)


def heard(page: Tab) -> list[str]:
    """What the browser complains about from now on."""
    found: list[str] = []

    def told(message: Any) -> None:
        if message.type in {"error", "warning"}:
            found.append(message.text)

    page.on("console", told)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found
