"""How pages look and feel: accessible, no shift, keys on buttons, themes, formulas."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jinja2 import ChoiceLoader, DictLoader
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from tdsys.core.people import Right, Role
from tdsys.web.pages import Action, Done, Page
from tdsys.web.rendering import STATIC, environment, plain, shown
from tdsys.web.visit import Visit
from tests.web.accessibility import assert_accessible, violations
from tests.web.conftest import InBrowser, SignedIn
from tests.web.site import Site, served

ADMIN_PAGES = ("/account", "/people", "/people/bo", "/nowhere")
WIDTHS = (1280, 390)
MATH = r"A \(x^2\) costs $5 and $6. \[\frac{1}{2}\] then $$\int_0^1 x\,dx$$ and \(\frac{ is broken"
EVERYTHING = """{% extends "base.html" %}{% set has_math = true %}
{% block title %}Pieces{% endblock %}
{% block main %}<h1>Pieces</h1>{{ ui.math_switch() }}
<p>{% for word in words %}{{ ui.badge(word) }} {% endfor %}{{ ui.simulated() }}</p>
<div id="text">{{ ui.untrusted(text) }}</div><p id="below">below</p>
{% call ui.table("Cells", ["topic", {"title": "n", "number": true}, ""]) %}
<tr><th scope="row">sums</th><td class="number">1,234,567</td><td></td></tr>{% endcall %}
{{ ui.empty("Nothing waits", "Come back later.") }}
<form method="post" action="/press">{{ ui.proof(here) }}
<label>Note<textarea name="note"></textarea></label>
{{ ui.key_button("Approve", "a", "primary", "move", "approve") }}
{{ ui.key_button("Reject", "r", "danger", "move", "reject") }}</form>
<dl class="figures">{{ ui.figure(7, "waiting") }}</dl>
{{ ui.select("state", "State", words, "admitted", "any") }}{% endblock %}"""
WORDS = ["admitted", "in_review", "rejected", "parked", "candidate", "retired", "unscored", "admin",
         "operator", "failed"]  # fmt: skip
SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((e) => { sum += e.value; }))
    .observe({ type: "layout-shift", buffered: true });
  document.fonts.ready.then(() => requestAnimationFrame(() => setTimeout(() => done(sum), 50)));
})"""


class Counted(NamedTuple):
    title: str
    times: int


def pieces(visit: Visit) -> dict[str, Any]:
    return {"text": visit.text("text") or MATH, "words": WORDS}


def press(visit: Visit) -> Done:
    return Done("/pieces", f"move: {visit.field('move')}")


PAGES = (
    Page("/pieces", Right.LOOK, pieces, "pieces.html"),
    Action("/press", Right.LOOK, press),
)


@pytest.fixture(scope="module")
def pieces_address(database_url: str) -> Iterator[str]:
    jinja = environment()
    ours = jinja.loader
    assert ours
    jinja.loader = ChoiceLoader([ours, DictLoader({"pieces.html": EVERYTHING})])
    with served(database_url, pages=PAGES) as url:
        yield url
    jinja.loader = ours


@pytest.fixture
def pieces_page(pieces_address: str, site: Site, in_browser: InBrowser) -> Tab:
    """A page with every macro on it."""
    page = in_browser(token=site.person()).new_page()
    page.goto(pieces_address + "/pieces")
    return page


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_accessible_in_both_themes_and_fits(
    site: Site, signed_in: SignedIn, in_browser: InBrowser, width: int
) -> None:
    site.person(Role.REVIEWER, name="bo", domains=["algebra"])
    page = signed_in(Role.ADMIN, width=width)
    for path in ADMIN_PAGES:
        page.goto(path)
        assert_accessible(page)
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0, path
    out = in_browser(width=width).new_page()
    out.goto("/sign-in")
    assert_accessible(out)


def test_the_places_are_one_row_and_the_one_we_are_at_is_in_sight(
    site: Site, signed_in: SignedIn
) -> None:
    assert site
    page = signed_in(Role.ADMIN, width=1280)
    page.goto("/alerts")
    top = page.locator("header.top").bounding_box()
    assert top
    assert top["height"] < 72
    here = page.locator(".top nav [aria-current]")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.reload()
        place = here.bounding_box()
        assert place
        assert 0 <= place["x"] < width - place["width"]


def test_every_piece_is_accessible(pieces_page: Tab) -> None:
    assert_accessible(pieces_page)


def test_axe_does_find_what_is_wrong(pieces_page: Tab) -> None:
    pieces_page.evaluate(
        "() => document.querySelector('#text').append(document.createElement('img'))"
    )
    pieces_page.evaluate("() => { document.querySelector('#below').style.color = '#999' }")
    assert {"image-alt", "color-contrast"} <= {one["id"] for one in violations(pieces_page)}


def test_formulas_are_set_money_is_not_and_what_is_broken_stays_text(pieces_page: Tab) -> None:
    box = pieces_page.locator("#text .untrusted")
    expect(box.locator(".katex")).to_have_count(3)
    expect(box.locator(".katex-display")).to_have_count(2)
    expect(box).to_contain_text("costs $5 and $6.")
    expect(box).to_contain_text(r"\(\frac{ is broken")
    assert box.locator("math").count() == 3, "what screen readers read"


def test_the_raw_text_is_one_press_away_and_comes_back(pieces_page: Tab) -> None:
    box = pieces_page.locator("#text .untrusted")
    pieces_page.get_by_role("button", name="Show raw text").click()
    assert box.inner_text() == MATH
    pieces_page.get_by_role("button", name="Show raw text").click()
    expect(box.locator(".katex")).to_have_count(3)


def test_a_formula_that_cannot_be_read_and_a_text_without_end_are_shown_as_they_are(
    pieces_page: Tab, pieces_address: str
) -> None:
    broken = r"\(\frac{1\) and \(y\)"
    pieces_page.goto(f"{pieces_address}/pieces?text=%5C(%5Cfrac%7B1%5C)%20and%20%5C(y%5C)")
    box = pieces_page.locator("#text .untrusted")
    expect(box.locator(".unset")).to_have_text(r"\(\frac{1\)")
    expect(box.locator(".katex")).to_have_count(1)
    long = pieces_page.evaluate(
        """(text) => {
          const box = document.createElement("div");
          box.textContent = text.repeat(3000);
          tdsysMath.render(box);
          return box.children.length;
        }""",
        broken,
    )
    assert long == 0


def test_nothing_moves_when_formulas_are_set(pieces_page: Tab) -> None:
    assert pieces_page.evaluate(SHIFTS) < 0.01


def test_a_key_presses_its_button_but_not_while_somebody_types(pieces_page: Tab) -> None:
    note = pieces_page.get_by_label("Note")
    note.press("a")
    assert note.input_value() == "a"
    pieces_page.locator("h1").click()
    pieces_page.keyboard.press("r")
    expect(pieces_page.locator(".notice")).to_have_text("move: reject")
    button = pieces_page.get_by_role("button", name="Approve")
    assert button.get_attribute("aria-keyshortcuts") == "a"
    expect(button.locator("kbd")).to_have_text("A")


def test_a_chosen_theme_stays(signed_in: SignedIn) -> None:
    page = signed_in(Role.VIEWER, color_scheme="light")
    page.goto("/account")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    switch = page.locator("[data-theme-switch]")
    switch.click()
    switch.click()
    expect(switch).to_contain_text("dark")
    assert page.evaluate(ground) != light
    page.goto("/account")
    assert page.evaluate(ground) != light


def test_what_hides_in_text_is_written_out() -> None:
    assert shown("a\u202eb\n\tc\x00") == "a\\u202eb\n    c\\x00"


def test_named_tuples_keep_their_names_for_machines() -> None:
    wanted = plain({"x": [Counted("t", 1)], 1: {"b", "a"}})
    assert wanted == {"x": [{"title": "t", "times": 1}], "1": ["a", "b"]}


def test_katex_is_what_was_published() -> None:
    folder = STATIC / "katex"
    lines = Path(__file__).with_name("katex.sha256").read_text().splitlines()
    listed = {name: mark for mark, _, name in (line.partition("  ") for line in lines)}
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == listed
    assert len(found) == 23
    assert {Path(name).suffix for name in found} == {".js", ".css", ".woff2", ""}


def test_pages_hold_no_script_or_style_of_their_own(site: Site) -> None:
    templates = STATIC.parent / "templates"
    paths = list(templates.rglob("*.html"))
    assert len(paths) > 25
    for path in paths:
        text = path.read_text()
        assert "<style" not in text, path.name
        assert "<script>" not in text, path.name
        assert not re.search(r"\bon[a-z]+=\"", text), path.name
        # what is not escaped was drawn by charts.py, which escapes
        unescaped = re.findall(r"\{\{\s*([^}|]+?)\s*\|\s*safe", text)
        assert all(re.fullmatch(r"(?:\w+\.)?(?:\w+_)?chart|trend", name) for name in unescaped), (
            path.name
        )
        assert len(unescaped) == len(re.findall(r"\bsafe\b", text)), path.name
    assert site.ask("/sign-in").body.count("<script") == 2
