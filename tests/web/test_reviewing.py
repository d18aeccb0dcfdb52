"""Reviewing in a browser: by keyboard, side by side with others, and when things go wrong."""

from __future__ import annotations

import os
import statistics
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from tdsys.core.panel import together
from tdsys.core.people import Role
from tdsys.core.policy import Policy
from tdsys.core.reviewing import Act
from tdsys.core.rubric import Answer, Dimension, Juror
from tdsys.llm.rubrics import RUBRIC, criteria
from tdsys.store import policies
from tests.factories import NOW, make_assessment, make_judgement, make_verdict
from tests.reviewing import make_waiting, say, taken
from tests.web.accessibility import assert_accessible
from tests.web.conftest import SignedIn
from tests.web.site import Clock, Site

REVIEWERS, EACH = 3, 60


def opened(page: Page, path: str = "/review") -> Page:
    page.goto(path)
    page.wait_for_selector("#example[data-example], #state[data-state]", state="attached")
    return page


def example(page: Page) -> str:
    return page.locator("#example").get_attribute("data-example") or ""


def press(page: Page, *keys: str) -> None:
    """Press keys that decide, and wait until another example is shown, or that there is none."""
    before = example(page)
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_function(
        "(before) => document.getElementById('example').dataset.example !== before", arg=before
    )


def states(site: Site) -> dict[int, str]:
    with site.store.begin() as tx:
        return {row.id: row.state for row in tx.execute(text("SELECT id, state FROM examples"))}


def test_what_did_not_hold_is_shown_criterion_by_criterion(site: Site, signed_in: SignedIn) -> None:
    juror = Juror(model="m", rubric=RUBRIC, prompt="plain")
    answers = {d: (Answer.YES,) * len(asked) for d, asked in criteria().items()}
    answers[Dimension.RELEVANCE] = (Answer.NO, Answer.UNSURE, *answers[Dimension.RELEVANCE][2:])
    said = make_judgement(juror, make_assessment(0.55)).model_copy(update={"answers": answers})
    make_waiting(site.store, 1, answer=together([said], make_verdict()))
    page = opened(signed_in(name="ann"))
    asked = criteria()[Dimension.RELEVANCE]
    expect(page.locator(".review-doubts li")).to_have_text(
        [f"no: {asked[0]}", f"unsure: {asked[1]}"]
    )


def test_of_many_doubts_the_first_are_shown_and_the_rest_unfold(
    site: Site, signed_in: SignedIn
) -> None:
    juror = Juror(model="m", rubric="of_twenty_criteria", prompt="plain")
    said = make_judgement(juror, make_assessment(0.55))
    make_waiting(site.store, 1, answer=together([said], make_verdict()))
    page = opened(signed_in(name="ann"))
    rows = page.locator(".review-score").first.locator("li")
    assert [one.is_visible() for one in rows.all()] == [True] * 5 + [False] * 4
    page.get_by_text("and 4 more").first.click()
    assert all(one.is_visible() for one in rows.all())


def test_the_next_one_begins_at_its_top_and_nothing_is_said_of_the_last(
    site: Site, signed_in: SignedIn
) -> None:
    make_waiting(site.store, 2)
    page = opened(signed_in(name="ann"))
    page.set_viewport_size({"width": 1280, "height": 320})
    page.evaluate("() => { tdsys.say('about this one', 'bad'); scrollTo(0, 400); }")
    expect(page.locator("#said")).to_contain_text("about this one")
    press(page, "a")
    assert page.locator("#place").evaluate("(node) => node.getBoundingClientRect().top") >= 0
    expect(page.locator("#said")).to_be_empty()


@pytest.mark.criterion("4.4")
def test_a_whole_review_needs_no_mouse(site: Site, signed_in: SignedIn) -> None:
    make_waiting(site.store, 5)
    page = opened(signed_in(name="ann"))
    first = example(page)
    expect(page.get_by_role("button", name="Approve")).to_contain_text("A")
    press(page, "a")
    rejected = example(page)
    press(page, "r", "4")
    skipped = example(page)
    press(page, "s")
    flagged = example(page)
    press(page, "f")
    assert len({first, rejected, skipped, flagged}) == 4
    assert (states(site)[int(first)], states(site)[int(rejected)]) == ("admitted", "rejected")
    page.keyboard.press("u")
    expect(page.locator("#said")).to_contain_text("taken back")
    assert example(page) == flagged
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    with site.store.begin() as tx:
        said = list(tx.scalars(text("SELECT act || ':' || reason FROM review_events ORDER BY id")))
    assert said == ["approve:", "reject:off_topic", "skip:", "flag:", "undo:"]


@pytest.mark.criterion("4.4")
def test_three_browsers_review_sixty_each_and_never_meet(
    site: Site, signed_in: SignedIn, capsys: pytest.CaptureFixture[str]
) -> None:
    make_waiting(site.store, REVIEWERS * EACH + REVIEWERS)  # each holds one more in the end
    pages = [opened(signed_in(name=f"person{n}")) for n in range(REVIEWERS)]
    # One thread drives all three; the browsers themselves work at the same time.
    for page in pages:
        page.evaluate(MARATHON, EACH)
    for page in pages:
        page.wait_for_selector("body[data-took]", timeout=90_000)
    took = [float(t) for p in pages
            for t in (p.locator("body").get_attribute("data-took") or "").split()]  # fmt: skip
    with site.store.begin() as tx:
        decided = tx.execute(text(
            "SELECT count(*), count(DISTINCT example_id), count(DISTINCT person)"
            " FROM review_events")).one()  # fmt: skip
    with capsys.disabled():
        middle = statistics.median(took)
        print(f"\n{len(took)} decisions by {REVIEWERS} browsers: median {middle:.0f} ms")
    assert tuple(decided) == (REVIEWERS * EACH, REVIEWERS * EACH, REVIEWERS)
    assert list(states(site).values()).count("admitted") == REVIEWERS * EACH
    assert all("conflict" not in (p.locator("#state").inner_html()) for p in pages)
    # On a machine that others use as well, a share of it is what this test gets.
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert statistics.median(took) < 250 * crowd


# Presses A as often as it is told, and notes how long each time until the next one is shown.
MARATHON = """(times) => {
  const shown = () => document.getElementById("example").dataset.example;
  const took = [];
  const press = (left) => {
    const before = shown();
    const since = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
    const look = () => {
      const busy = document.getElementById("review").hasAttribute("aria-busy");
      if (shown() === before || busy) return requestAnimationFrame(look);
      took.push(performance.now() - since);
      if (left > 1 && shown()) return press(left - 1);
      document.body.dataset.took = took.map((t) => t.toFixed(1)).join(" ");
    };
    look();
  };
  press(times);
}"""


def test_a_draft_survives_a_reload(site: Site, signed_in: SignedIn) -> None:
    make_waiting(site.store, 2)
    page = opened(signed_in())
    before = example(page)
    page.keyboard.press("e")
    page.get_by_label("answer").fill("6 buns")
    page.get_by_label("Note").fill("was s a f e here")
    page.wait_for_selector("#note[data-saved]")
    opened(page)
    assert example(page) == before
    expect(page.get_by_label("Note")).to_have_value("was s a f e here")
    expect(page.get_by_label("answer")).to_have_value("6 buns")
    assert set(states(site).values()) == {"in_review"}


def test_an_edit_is_checked_before_it_is_saved(site: Site, signed_in: SignedIn) -> None:
    make_waiting(site.store)
    page = opened(signed_in())
    page.keyboard.press("e")
    solution = page.get_by_label("solution")
    solution.fill("3*2=<<3*2=7>>7 buns.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#editing").get_by_role("alert")).to_contain_text("a check failed")
    assert set(states(site).values()) == {"in_review"}
    solution.fill("Three trays of two: 3*2=<<3*2=6>>6 buns.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#state[data-state]")
    assert set(states(site).values()) == {"candidate"}


def test_an_edit_that_is_not_saved_is_not_decided_over(site: Site, signed_in: SignedIn) -> None:
    make_waiting(site.store, 2)
    page = opened(signed_in(name="ann"))
    first = example(page)
    page.keyboard.press("e")
    page.locator("#editing textarea").first.fill("How many buns are 3 trays?")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    expect(page.locator("#said")).to_contain_text("your edit is not saved")
    assert states(site)[int(first)] == "in_review"
    page.get_by_role("button", name="Leave").click()
    press(page, "a")
    assert states(site)[int(first)] == "admitted"


def test_who_comes_too_late_is_told_so_and_nothing_changes(
    site: Site, signed_in: SignedIn, clock: Clock
) -> None:
    make_waiting(site.store, 2)
    page = opened(signed_in())
    clock.ahead = timedelta(minutes=11)
    page.keyboard.press("a")
    expect(page.locator("#state")).to_contain_text("Your time with this example ran out")
    assert set(states(site).values()) == {"in_review"}
    press_look(page)
    assert example(page)


def press_look(page: Page) -> None:
    page.keyboard.press("l")
    page.wait_for_selector("#example[data-example]")


def test_an_empty_queue_says_so_and_looks_again(site: Site, signed_in: SignedIn) -> None:
    page = opened(signed_in(reduced_motion="reduce"))
    expect(page.locator("#state")).to_contain_text("Nothing waits for you")
    assert_accessible(page)
    make_waiting(site.store)
    press_look(page)


def test_who_gets_no_first_example_is_told_why_and_can_look_again(
    site: Site, signed_in: SignedIn
) -> None:
    make_waiting(site.store)
    page = signed_in()
    page.route("**/review/next", lambda asked: asked.abort(), times=1)
    opened(page)
    expect(page.locator("#state")).to_contain_text("The server did not answer")
    press_look(page)


def test_scores_are_hidden_when_the_policy_says_so(site: Site) -> None:
    make_waiting(site.store)
    token = site.person(Role.REVIEWER, name="eve")
    wish = {"domain": "", "topic": "", "desk": ""}
    item = site.ask("/review/next", token=token, document=wish).document["item"]
    assert item["score"]["dimensions"][0]["value"] == pytest.approx(0.55)
    with site.store.begin() as tx:
        policies.put(
            tx, domain="arithmetic", policy=Policy(blind_reviews=True), author="t", now=NOW
        )
    answer = site.ask("/review/next", token=token, document=wish)
    assert (answer.document["item"]["score"], answer.document["item"]["hidden"]) == (None, True)
    assert "because" not in answer.body


def test_nobody_reviews_without_the_right_or_in_anothers_domain(site: Site) -> None:
    (one,) = make_waiting(site.store)
    wish = {"domain": "", "topic": "", "desk": ""}
    viewer = site.person(Role.VIEWER)
    stranger = site.person(Role.REVIEWER, name="sam", domains=["algebra"])
    reviewer = site.person(Role.REVIEWER, name="ann")
    assert site.ask("/review/next", token=viewer, document=wish).status == 403
    assert site.ask("/review/next", token=stranger, document=wish).document["item"] is None
    asked = {**wish, "domain": "arithmetic"}
    assert site.ask("/review/next", token=stranger, document=asked).status == 404
    assert site.ask(f"/review/{one}/similar", token=stranger, document={}).status == 404
    curated = {**wish, "desk": "curator"}
    assert site.ask("/review/next", token=reviewer, document=curated).status == 403
    held = site.ask("/review/next", token=reviewer, document=wish).document["item"]
    form = {"id": one, "token": held["token"], "version": 0, "act": "approve"}
    assert site.ask("/review/decide", token=stranger, document=form).status == 404
    assert states(site)[one] == "in_review"


def test_a_curator_finds_what_was_flagged(site: Site, signed_in: SignedIn) -> None:
    make_waiting(site.store)
    say(site.store, taken(site.store), Act.FLAG, detail="is this true?")
    page = opened(signed_in(Role.CURATOR), "/review?desk=curator")
    expect(page.locator("#history")).to_contain_text("is this true?")
    press(page, "a")
    assert set(states(site).values()) == {"admitted"}


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_accessible_and_fits(site: Site, signed_in: SignedIn, width: int) -> None:
    make_waiting(site.store, 2, verdict=make_verdict(steps="suspicious", answer="passed"))
    page = opened(signed_in(width=width, reduced_motion="reduce"))
    page.wait_for_function("() => !document.getElementById('similar').textContent.includes('…')")
    assert_accessible(page)
    wide: Any = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_accessible(page)


def test_text_from_outside_stays_text(site: Site, signed_in: SignedIn) -> None:
    make_waiting(site.store, topic="<img src=x onerror=document.title='run'>")
    page = opened(signed_in())
    expect(page.locator("#place")).to_contain_text("<img src=x")
    assert page.locator("#review img").count() == 0
    assert page.title() == "Review · tdsys"
