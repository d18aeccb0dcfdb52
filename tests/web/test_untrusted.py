"""Six thousand texts that want to be more, shown as every page shows text: they stay text.

Each detector has a control in which it does detect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from jinja2 import ChoiceLoader, DictLoader
from playwright.sync_api import BrowserContext, Dialog, Route

from tdsys.core.people import Right
from tdsys.web.pages import Page
from tdsys.web.rendering import environment
from tdsys.web.visit import Visit
from tests.web.conftest import InBrowser
from tests.web.corpus import payloads
from tests.web.site import Site, served

TEXTS = sorted(set(payloads()))
AT_ONCE = 800
LONGEST_LOAD = 60_000  # milliseconds, for hundreds of formulas on a busy machine
TAGS = """
DIV SPAN math semantics annotation mrow mi mo mn ms mtext mspace msup msub msubsup mfrac msqrt mroot
mover munder munderover mtable mtr mtd mstyle mpadded mphantom menclose svg path line
"""
ATTRIBUTES = """
class style title dir data-math data-set aria-hidden xmlns encoding d viewBox width height
preserveAspectRatio display mathvariant stretchy fence separator lspace rspace accent accentunder
scriptlevel displaystyle columnalign columnspacing rowspacing linethickness mathcolor mathbackground
mathsize minsize maxsize voffset depth notation form symmetric movablelimits x1 y1 x2 y2
stroke-width columnlines rowlines side
"""
LOOK = """([tags, attributes]) => {
  const wrong = new Set();
  for (const box of document.querySelectorAll(".payload")) {
    for (const node of box.querySelectorAll("*")) {
      if (!tags.includes(node.tagName)) wrong.add(`<${node.tagName}>`);
      for (const { name, value } of node.attributes) {
        if (!attributes.includes(name)) wrong.add(`${node.tagName} ${name}="${value}"`);
        if (name === "style" && /url|expression|fixed|absolute/i.test(value)) wrong.add(value);
      }
    }
  }
  return { wrong: [...wrong], boxes: document.querySelectorAll(".payload").length,
    owned: window.owned === 1, reports: window.reports,
    formulas: document.querySelectorAll(".payload .katex").length,
    wide: document.documentElement.scrollWidth - window.innerWidth };
}"""
FRAME = (
    '{% extends "base.html" %}{% set has_math = true %}{% block main %}<h1>Texts</h1>'
    '{% for text in texts %}<div class="payload">TEXT</div>{% endfor %}{% endblock %}'
)
TEMPLATES = {
    "texts.html": FRAME.replace("TEXT", "{{ ui.untrusted(text) }}"),
    "unescaped.html": FRAME.replace("TEXT", "{{ text|safe }}"),
}


def texts(visit: Visit) -> dict[str, Any]:
    start, step = visit.number("from", 0, most=10**6), visit.number("step", 1, most=100, least=1)
    return {"texts": TEXTS[start : start + AT_ONCE * step : step]}


PAGES = (
    Page("/texts", Right.LOOK, texts, "texts.html"),
    Page("/unescaped", Right.LOOK, texts, "unescaped.html"),
)


@pytest.fixture(scope="module")
def texts_address(database_url: str) -> Iterator[str]:
    """The application with two pages of this file, their templates beside ours."""
    jinja = environment()
    ours = jinja.loader
    assert ours
    jinja.loader = ChoiceLoader([ours, DictLoader(TEMPLATES)])
    with served(database_url, pages=PAGES) as url:
        yield url
    jinja.loader = ours


@pytest.fixture
def texts_site(texts_address: str, site: Site) -> Site:
    return Site(texts_address, site.store)


class Seen(NamedTuple):
    """What a browser met on a page."""

    wrong: list[str]
    boxes: int
    owned: bool
    reports: list[str]
    away: list[str]
    dialogs: list[str]
    formulas: int
    wide: int


def visited(context: BrowserContext, url: str, path: str) -> Seen:
    away: list[str] = []
    dialogs: list[str] = []
    context.add_init_script(
        "window.reports = []; document.addEventListener('securitypolicyviolation', "
        "(e) => window.reports.push(e.violatedDirective + ' ' + e.blockedURI))"
    )
    page = context.new_page()
    page.on("request", lambda request: away.append(request.url))

    def told(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", told)
    page.goto(url + path, wait_until="load", timeout=LONGEST_LOAD)
    found = page.evaluate(LOOK, [TAGS.split(), ATTRIBUTES.split()])
    page.close()
    elsewhere = [one for one in away if not one.startswith(url)]
    return Seen(away=elsewhere, dialogs=dialogs, **found)


def test_the_corpus_is_large_and_varied() -> None:
    assert len(TEXTS) >= 5000
    assert len({text[:12] for text in TEXTS}) > 500


def test_no_text_runs_or_asks_elsewhere_or_makes_a_node_even_without_the_policy(
    texts_site: Site, in_browser: InBrowser
) -> None:
    context = in_browser(token=texts_site.person(), bypass_csp=True)
    boxes = formulas = 0
    for start in range(0, len(TEXTS), AT_ONCE):
        seen = visited(context, texts_site.url, f"/texts?from={start}")
        assert not seen.owned
        assert (seen.wrong, seen.away, seen.dialogs) == ([], [], [])
        assert seen.wide <= 0
        boxes, formulas = boxes + seen.boxes, formulas + seen.formulas
    assert boxes == len(TEXTS)
    assert formulas > 500, "the formulas among them were set"


def test_the_policy_has_nothing_to_report(texts_site: Site, in_browser: InBrowser) -> None:
    seen = visited(
        in_browser(token=texts_site.person(), width=390), texts_site.url, "/texts?step=9"
    )
    assert not seen.owned
    assert (seen.wrong, seen.away, seen.dialogs, seen.reports) == ([], [], [], [])
    assert seen.wide <= 0
    assert seen.boxes > 500


def test_unescaped_text_is_detected_without_the_policy_and_stopped_by_it(
    texts_site: Site, in_browser: InBrowser
) -> None:
    token = texts_site.person()
    path = "/unescaped?from=2500&step=97"
    bare = visited(in_browser(token=token, bypass_csp=True), texts_site.url, path)
    assert bare.owned
    assert any("evil.invalid" in url for url in bare.away)
    assert len(bare.wrong) > 10
    guarded = visited(in_browser(token=token), texts_site.url, path)
    assert not guarded.owned
    assert guarded.reports


def test_a_katex_that_trusts_is_detected(texts_site: Site, in_browser: InBrowser) -> None:
    context = in_browser(token=texts_site.person(), bypass_csp=True)

    def trusting(route: Route) -> None:
        answer = route.fetch()
        text = answer.text().replace("trust: false", "trust: true")
        assert "trust: true" in text
        route.fulfill(response=answer, body=text)

    context.route("**/static/math.js*", trusting)
    found: list[str] = []
    for start in range(0, len(TEXTS), AT_ONCE):
        found += visited(context, texts_site.url, f"/texts?from={start}").wrong
        if found:
            break
    assert any("href" in one for one in found)
