"""Looking around in a real browser: lists, an example, bulk actions, imports, versions, reports."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tdsys.core.alerting import Severity
from tdsys.core.dataset import Split
from tdsys.core.people import Role
from tdsys.core.policy import Policy
from tdsys.core.program import ItemScore
from tdsys.core.sections import CellException, Cells
from tdsys.intake import GuardedIntake
from tdsys.stages import activating, browsing, importing, operating
from tdsys.store import Store, alerts, datasets, measurements, policies, runs
from tests.factories import NOW, make_captures
from tests.many import fill
from tests.stored import LEASE, admit, enqueue, freeze, ingest, keep
from tests.web.accessibility import assert_accessible
from tests.web.conftest import SignedIn
from tests.web.site import Site

HOSTILE = '<img src=x onerror="window.owned = 1">\u202e'
PAGES = (
    "/reports",
    "/reports/quality?domain=domain 0",
    "/reports/coverage?domain=domain 0",
    "/reports/mix?domain=domain 0",
    "/reports/freshness",
    "/examples",
    "/examples?text=bakery&order=best",
    "/examples?topic=none",
    "/examples/{example}",
    "/operations",
    "/operations/{operation}",
    "/imports",
    "/imports/{import}",
    "/captures",
    "/captures/batch?id=first",
    "/batches",
    "/batches/new?domain=domain 0&count=6",
    "/batches/{batch}",
    "/datasets",
    "/datasets/{version}",
    "/runs",
    "/runs/{run}",
    "/alerts?all=1",
)
# Who may see one domain only must not be shown these of another.
HIDDEN = (
    "/examples/{example}",
    "/batches/{batch}",
    "/operations/{operation}",
    "/imports/{import}",
    "/imports/{import}/repair",
    "/captures/batch?id=first",
    "/datasets/{version}",
    "/datasets/{version}/export/csv",
    "/datasets?domain=domain 0",
    "/runs/{run}",
    "/programs/{program}/download",
    "/programs/{program}/envelope",
    "/reports/quality?domain=domain 0",
    "/reports/coverage?domain=domain 0",
    "/reports/mix?domain=domain 0",
)


@pytest.fixture
def ids(site: Site) -> dict[str, Any]:
    """A bit of everything, and where each of it is."""
    store = site.store
    fill(store, 40, domains=2)
    with store.begin() as tx:
        admitted = admit(tx, make_captures(9, domain="domain 0"))
        freeze(tx, domain="domain 0")
        admit(tx, make_captures(12, domain="domain 0")[9:])
        version = freeze(tx, domain="domain 0", now=NOW + timedelta(days=1))
        envelope = {"demos": [{"uid": "x", "role": "labeled"}], "simulated": True}
        program = keep(tx, version, envelope=envelope)
        run = tx.scalars(text("SELECT id FROM runs")).one()
        ingest(tx, make_captures(1, domain="domain 0", inputs={"topic": HOSTILE}), batch="first")
    token = site.person(Role.ADMIN)
    sent = site.ask("/operations", token=token, form={"move": "retire", "because": "old",
                                                      "domain": "domain 0"})  # fmt: skip
    batch = begun(site, token)
    import_id = imported(site, b'{"problem": "p"}\n{"x": 1}\n{\n')
    return {
        "example": admitted[-1],
        "version": version.id,
        "program": program,
        "run": run,
        "operation": sent.leads_to.rpartition("/")[2],
        "import": import_id,
        "batch": batch,
    }


def begun(site: Site, token: str, **over: str) -> str:
    """A batch of the reference generator that was asked for; its id."""
    form = {"kind": "bootstrap", "generator": "reference", "domain": "domain 0", "count": "12",
            "topics": "ages, rates", **over}  # fmt: skip
    answer = site.ask("/batches", token=token, form=form)
    assert answer.status == 303, answer.body
    return answer.leads_to.rpartition("/")[2]


def imported(site: Site, content: bytes) -> str:
    """A file that was sent and read; its import's id."""
    token = site.person(Role.ADMIN)
    page = site.ask("/imports", token=token)
    proof = page.body.split('name="csrf-token" content="')[1].split('"')[0]
    sent = site.ask(
        "/imports/file?filename=f.jsonl&domain=domain+0",
        token=token,
        body=content,
        headers={"X-CSRF-Token": proof, "Accept": "application/json"},
    )
    assert sent.status == 200, sent.body
    read(site.store)
    return str(sent.document["import"])


def read(store: Store) -> None:
    """Read what was sent, as a worker does."""
    later = datetime.now(UTC) + timedelta(minutes=1)
    importing.read_due(store, intake=GuardedIntake(), clock=lambda: later, lease=LEASE)


def test_every_page_is_accessible_fits_a_telephone_and_is_there_for_machines(
    site: Site, ids: dict[str, Any], signed_in: SignedIn
) -> None:
    page = signed_in(Role.ADMIN, reduced_motion="reduce")
    small = signed_in(Role.ADMIN, width=390)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    for pattern in PAGES:
        path = pattern.format(**ids)
        assert page.goto(path).status == 200, path  # type: ignore[union-attr]
        assert_accessible(page)
        small.goto(path)
        wide = small.evaluate("() => document.scrollingElement.scrollWidth")
        assert wide <= 390, (path, wide)
        told, _, query = path.partition("?")
        said = site.ask(f"{told}.json?{query.replace(' ', '+')}", token=site.person(Role.ADMIN))
        assert isinstance(said.document, dict), path
    assert not wrong
    assert page.evaluate("() => window.owned === undefined")


def test_an_example_is_found_by_filter_search_and_pages(site: Site, signed_in: SignedIn) -> None:
    fill(site.store, 260, domains=1)
    page = signed_in(Role.VIEWER)
    page.goto("/examples")
    page.get_by_label("Words of the problem").fill("bakery regat")
    page.get_by_label("State").select_option("admitted")
    page.get_by_role("button", name="Show").click()
    assert "text=bakery+regat" in page.url
    assert "state=admitted" in page.url
    # What was not asked for is not in it, so that it can be read and sent to somebody.
    assert "domain=" not in page.url
    assert "quality_from" not in page.url
    shown = page.locator("tbody th a").all_inner_texts()
    assert shown
    assert all("bakery" in one and "regatta" in one for one in shown)
    page.goto("/examples?order=worst")
    first = page.locator("tbody th a").all_inner_texts()
    page.get_by_role("link", name="Next").click()
    second = page.locator("tbody th a").all_inner_texts()
    assert not set(first) & set(second)
    page.get_by_role("link", name="Previous").click()
    assert page.locator("tbody th a").all_inner_texts() == first
    page.locator("tbody th a").first.click()
    page.get_by_role("heading", name="History").wait_for()
    assert page.get_by_text("stored as candidate").count() == 1
    assert page.get_by_role("button", name="Flag").count() == 0


def test_a_curator_moves_one_example_with_a_reason(site: Site, signed_in: SignedIn) -> None:
    with site.store.begin() as tx:
        (one,) = admit(tx, make_captures(1, domain="sums"))
    page = signed_in(Role.CURATOR, name="cleo")
    page.goto(f"/examples/{one}")
    page.get_by_label("Why").fill("an odd story")
    page.get_by_role("button", name="Flag").click()
    page.get_by_text("It is in_review now.").wait_for()
    history = page.locator(".timeline").inner_text()
    assert "flag: admitted → in review by cleo an odd story" in history


def test_return_in_the_reason_presses_no_move(site: Site, signed_in: SignedIn) -> None:
    with site.store.begin() as tx:
        (example,) = admit(tx, make_captures(1))
    page = signed_in(Role.CURATOR)
    page.goto(f"/examples/{example}")
    page.get_by_label("Why").fill("old")
    page.get_by_label("Why").press("Enter")
    page.get_by_role("button", name="Retire").click()
    page.get_by_text("It is retired now.").wait_for()
    assert page.locator(".timeline").get_by_text("retire", exact=True).count() == 1
    assert "flag" not in page.locator(".timeline").inner_text()


def test_a_filter_by_a_hostile_word_means_that_word_again_in_the_form(
    site: Site, signed_in: SignedIn
) -> None:
    inputs = {"topic": HOSTILE, "difficulty": "easy"}
    with site.store.begin() as tx:
        admit(tx, make_captures(2, domain="d", inputs=inputs))
    page = signed_in(Role.CURATOR)
    page.goto("/examples?domain=d&difficulty=easy")
    shown = page.get_by_label("Topic").locator("option").all_inner_texts()
    assert "\u202e" not in "".join(shown)
    page.get_by_label("Topic").select_option(HOSTILE)
    page.get_by_role("button", name="Show").click()
    assert page.locator(".amount").inner_text() == "2 examples"
    page.get_by_text("Move all that this filter means").click()
    page.get_by_label("Move", exact=True).select_option("retire")
    page.get_by_label("Why").fill("hostile")
    page.get_by_role("button", name="Look at what").click()
    page.get_by_role("button", name="Retire 2 examples").wait_for()


def test_many_are_moved_after_a_look_and_moved_back(site: Site, signed_in: SignedIn) -> None:
    with site.store.begin() as tx:
        admit(tx, make_captures(30, domain="sums"))
        ingest(tx, make_captures(34, domain="sums")[30:])
    page = signed_in(Role.CURATOR, name="cleo")
    page.goto("/examples?domain=sums")
    page.get_by_text("Move all that this filter means").click()
    page.locator("#b-move").select_option("retire")
    page.get_by_label("Why").fill("an old generator")
    page.get_by_role("button", name="Look at what it would come to").click()
    page.get_by_text("Nothing is moved yet").wait_for()
    counts = page.locator("table.counts").inner_text()
    assert "30\tto be moved" in counts
    assert "4\tleft alone: the lifecycle has no such move from candidate" in counts
    assert states(site.store) == {"admitted": 30, "candidate": 4}
    page.get_by_role("button", name="Retire 30 examples").click()
    page.get_by_text("Done", exact=True).wait_for()
    assert states(site.store) == {"retired": 30, "candidate": 4}
    page.get_by_role("button", name="Take it back").click()
    page.get_by_text("Taken back").wait_for()
    assert states(site.store) == {"admitted": 30, "candidate": 4}


def states(store: Store) -> dict[str, int]:
    with store.begin() as tx:
        rows = tx.execute(text("SELECT state, count(*) FROM examples GROUP BY 1")).all()
    return {state: n for state, n in rows}  # noqa: C416


def test_what_takes_longer_is_left_to_a_worker_and_followed(
    site: Site, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdsys.web.browse.bulk.PATIENCE_SECONDS", 0)
    monkeypatch.setattr("tdsys.store.operations.WINDOW", 10)
    with site.store.begin() as tx:
        admit(tx, make_captures(30, domain="sums"))
    page = signed_in(Role.CURATOR)
    page.goto("/examples")
    page.get_by_text("Move all that this filter means").click()
    page.get_by_label("Why").fill("so")
    page.get_by_role("button", name="Look at what it would come to").click()
    page.get_by_text("Being listed").wait_for()
    operating.work(site.store, clock=lambda: NOW)
    page.get_by_text("Nothing is moved yet").wait_for()


def test_a_file_is_sent_its_errors_shown_and_its_repair_file_had(
    site: Site, signed_in: SignedIn, tmp_path: Path
) -> None:
    good = {"q": "What is 3*12?", "solution": "<<3*12=36>>36", "answer": "36"}
    lines = [json.dumps(good), json.dumps({**good, "answer": ""}), f'{{"q": "{HOSTILE}', "[1]"]
    path = tmp_path / "problems.jsonl"
    path.write_text("\n".join(lines))
    page = signed_in(Role.OPERATOR, name="olaf")
    page.goto("/imports")
    page.get_by_label("File (JSON").set_input_files(path)
    page.get_by_label("Domain").fill("sums")
    page.get_by_label("Licence").select_option("MIT")
    page.get_by_text("Names of fields, format").click()
    page.get_by_label("Fields, one a line").fill("q = problem")
    page.get_by_role("button", name="Import").click()
    page.get_by_role("heading", name="problems.jsonl").wait_for()
    assert page.locator("progress").count() == 1
    read(site.store)
    page.get_by_role("heading", name="What was wrong").wait_for()
    told = page.locator("main").inner_text()
    assert "licence MIT. Read so:" in told
    assert "fill it in, or leave the record out" in told
    assert "olaf" in page.locator("main").inner_text()
    rows = page.locator("table.cards tbody tr")
    assert rows.count() == 3
    assert "malformed" in rows.nth(1).inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the refused records").click()
    kept = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert len(kept) == 3
    assert all(
        {"line", "column", "code", "message", "remedy"} <= set(one["_rejected"]) for one in kept
    )
    assert page.evaluate("() => window.owned === undefined")


def test_a_file_that_cannot_be_taken_says_so_and_keeps_the_form(
    site: Site, signed_in: SignedIn, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{}")
    page = signed_in(Role.OPERATOR)
    page.goto("/imports")
    page.get_by_label("File (JSON").set_input_files(path)
    page.get_by_label("Domain").fill("sums")
    page.get_by_text("Names of fields, format").click()
    page.get_by_label("Fields, one a line").fill("q = nonsense")
    page.get_by_role("button", name="Import").click()
    page.get_by_text("an example has no field 'nonsense'").wait_for()
    assert page.get_by_label("Domain").input_value() == "sums"
    with site.store.begin() as tx:
        assert tx.scalar(text("SELECT count(*) FROM imports")) == 0


def test_nothing_of_another_domain_is_shown_moved_or_downloaded(
    site: Site, ids: dict[str, Any]
) -> None:
    limited = site.person(Role.CURATOR, name="limited", domains=["domain 1"])
    for pattern in HIDDEN:
        path = pattern.format(**ids).replace(" ", "+")
        assert site.ask(path, token=limited).status == 404, path
    before = states(site.store)
    moves = [f"/operations/{ids['operation']}/{word}" for word in ("confirm", "discard", "undo")]
    for path in (f"/examples/{ids['example']}/move", *moves):
        sent = site.ask(path, token=limited, form={"move": "flag", "reason": "r"})
        assert sent.status == 404, path
    sent = site.ask("/operations", token=limited, form={"move": "retire", "because": "mine"})
    mine = site.ask(f"{sent.leads_to}.json", token=limited).document
    assert {one["domain"] for one in mine["sample"]} == {"domain 1"}
    site.ask(f"{sent.leads_to}/confirm", token=limited, form={})
    with site.store.begin() as tx:
        touched = tx.scalars(text("SELECT DISTINCT domain FROM transitions JOIN examples e"
                                  " ON e.id = example_id WHERE move = 'retire'")).all()  # fmt: skip
    assert touched == ["domain 1"]
    assert states(site.store) != before
    lists = "alerts examples operations reports imports datasets runs reports/freshness batches"
    for name in lists.split():
        assert "domain 0" not in site.ask(f"/{name}.json", token=limited).body, name


@pytest.mark.parametrize(
    "path",
    ["/examples?state=gone", "/examples?after=1", "/examples?quality_from=a", "/examples?order=x",
     "/examples?after=1~1&before=1~1", "/examples?what=1", "/imports?before=nan", "/runs?before=x",
     "/examples?text=%00"],
)  # fmt: skip
def test_an_address_that_means_nothing_is_refused_with_a_remedy(site: Site, path: str) -> None:
    said = site.ask(path, token=site.person(Role.VIEWER), headers={"Accept": "application/json"})
    assert (said.status, bool(said.document["remedy"])) == (400, True)


@pytest.mark.parametrize(
    "path",
    [f"/examples/{2**63}", "/examples/x", "/operations/77", "/datasets/77", "/programs/77/download",
     "/imports/00000000-0000-0000-0000-000000000000", "/runs/x", "/captures/batch?id=none"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert site.ask(path, token=site.person(Role.VIEWER)).status == 404


def test_an_alert_is_looked_after_by_whoever_may_see_it(site: Site, signed_in: SignedIn) -> None:
    with site.store.begin() as tx:
        policies.ensure_domains(tx, names=["sums", "angles"], now=NOW)
        for domain in ("sums", "angles"):
            alerts.fire(tx, key=f"{domain} old", severity=Severity.WARNING, title=f"{domain} age",
                        detail="d", remedy="capture", now=NOW, domain=domain)  # fmt: skip
    page = signed_in(Role.OPERATOR, name="olaf", domains=["sums"])
    page.goto("/alerts")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("button", name="I do").click()
    page.get_by_text("It is yours now.").wait_for()
    assert "olaf" in page.locator("tbody tr").inner_text()
    other = site.ask(
        "/alerts/2/acknowledge", token=site.person(Role.OPERATOR, name="olaf"), form={}
    )
    assert other.status == 404


def test_an_operator_silences_a_domain_and_ends_it_and_says_what_is_over(
    site: Site, signed_in: SignedIn
) -> None:
    with site.store.begin() as tx:
        policies.ensure_domains(tx, names=["sums", "angles"], now=NOW)
        alerts.fire(tx, key="parked: sums", severity=Severity.WARNING, title="many are parked",
                    detail="d", remedy="unpark", now=NOW, domain="sums")  # fmt: skip
    page = signed_in(Role.OPERATOR, name="olaf", domains=["sums"])
    page.goto("/alerts")
    page.get_by_text("Tell nobody for a time").click()
    page.get_by_label("Domain", exact=True).fill("sums")
    page.get_by_label("Why").fill("<b>moving")
    page.get_by_role("button", name="Tell nobody").click()
    page.get_by_text("<b>moving").wait_for()
    token = site.person(Role.OPERATOR, name="olaf")
    for domain in ("angles", ""):
        form = {"hours": "8", "reason": "r", "domain": domain}
        assert site.ask("/silences", token=token, form=form).status == 404
    page.get_by_role("button", name="End it").click()
    page.get_by_text("Who should be told is told again.").wait_for()
    page.get_by_role("button", name="It is over").click()
    page.get_by_text("Nothing fires").wait_for()


@pytest.mark.criterion("7.4")
def test_a_run_tells_how_the_programs_of_its_domain_did_and_who_made_them_active(
    site: Site, ids: dict[str, Any]
) -> None:
    with site.store.begin() as tx:
        later = enqueue(tx, datasets.version(tx, id=ids["version"]), now=NOW + timedelta(days=2))
        assert later
        runs.finish(tx, run_id=later, state="finished", reason="", outcome={}, now=NOW)
        keep(tx, datasets.version(tx, id=ids["version"]), run_id=later, activate=False,
             envelope={"forgotten": [{"at": NOW.isoformat(), "demos": 1}]})  # fmt: skip
        asked = [m.example.fingerprint for m in datasets.members(tx, version_id=ids["version"])
                 if m.split is Split.TEST]  # fmt: skip
        sides = [[ItemScore(uid=uid, value=value) for uid in asked] for value in (None, 0.5)]
        measurements.keep(tx, run_id=later, before=sides[0], after=sides[1])
    activating.activate(site.store, domain="domain 0", program_id=None, actor="ann",
                        reason=HOSTILE, now=NOW)  # fmt: skip
    token = site.person(Role.ADMIN)
    told = site.ask(f"/runs/{later}.json", token=token).document
    assert [(one["active"], one["simulated"]) for one in told["history"]] == [
        (True, None),
        (False, True),
    ]
    assert [one["as_measured"] for one in told["history"]] == [False, True]
    assert [one["actor"] for one in told["history"][0]["activations"]] == ["ann"]
    assert told["trend"].count("<circle") == 2
    page = site.ask(f"/runs/{later}", token=token).body
    assert "by ann: &lt;img" in page
    assert page.count("no longer the one that was measured") == 1
    assert page.count("0.700, before some of it was forgotten") == 1
    assert {(one["before"], one["after"]) for one in told["slices"]} == {(None, 0.5)}
    assert '<td data-label="Before">unscored</td><td data-label="After">0.500</td>' in page
    assert HOSTILE not in page
    assert 'aria-label="Scores on the test split of 2 programs' in page


def test_a_run_is_stopped_by_an_operator(site: Site, signed_in: SignedIn) -> None:
    with site.store.begin() as tx:
        admit(tx, make_captures(9, domain="sums"))
        run_id = enqueue(tx, freeze(tx, domain="sums"))
    page = signed_in(Role.OPERATOR)
    page.goto(f"/runs/{run_id}")
    page.get_by_role("button", name="Stop it").click()
    page.get_by_text("asked to stop").first.wait_for()
    with site.store.begin() as tx:
        assert tx.scalar(text("SELECT cancel_requested FROM runs"))


def test_the_pages_of_an_empty_house_say_what_to_do(signed_in: SignedIn) -> None:
    page = signed_in(Role.ADMIN)
    for path in ("/reports", "/examples", "/operations", "/imports", "/captures", "/batches",
                 "/datasets", "/runs", "/reports/freshness"):  # fmt: skip
        assert page.goto(path).status == 200  # type: ignore[union-attr]
        assert page.locator(".empty").count() >= 1, path


@pytest.mark.criterion("4.5")
def test_a_cell_shows_its_floor_its_cap_and_how_full_it_is(site: Site, signed_in: SignedIn) -> None:
    bounds = CellException(topic="angles", difficulty="easy", min=2, max=8)
    policy = Policy(cells=Cells(min=1, max=3, exceptions=(bounds,)))
    with site.store.begin() as tx:
        for topic, many in (("sums", 4), ("angles", 1)):
            inputs = {"topic": topic, "difficulty": "easy"}
            admit(tx, make_captures(many, domain="d", inputs=inputs))
        policies.put(tx, domain="d", policy=policy, author="a", now=NOW)
    page = signed_in(Role.VIEWER)
    page.goto("/reports/coverage?domain=d")
    squares = page.get_by_role("region", name="Heat map").locator("td")
    told = sorted(" ".join(text.split()) for text in squares.all_inner_texts())
    assert told == [
        "1 of 8, 12 % at least 2 missed, at most 8",
        "4 of 3, 133 % at least 1, at most 3 1 beyond",
    ]


def test_the_pages_show_the_numbers_of_the_reports(site: Site) -> None:
    fill(site.store, 400, domains=1)
    browsing.catch_up(site.store, clock=lambda: NOW)
    token = site.person(Role.VIEWER)
    told = site.ask("/reports/quality.json?domain=domain+0", token=token).document
    assert sum(told["states"].values()) == 400
    assert sum(told["spreads"][0]["all"]) == told["scored"]
    cells = site.ask("/reports/coverage.json?domain=domain+0", token=token).document["cells"]
    assert sum(one["admitted"] for one in cells) == told["states"]["admitted"]
    mix = site.ask("/reports/mix.json?domain=domain+0", token=token).document
    assert sum(mix["arrived"][kind] for kind in mix["kinds"]) == 400
    assert sum(one["admitted"] for one in mix["sources"]) == told["states"]["admitted"]
    assert {**mix["admitted"], "day": mix["days"][-1]["day"]} == mix["days"][-1]
