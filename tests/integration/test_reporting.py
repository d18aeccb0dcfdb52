"""What a domain's examples are worth and cover, counted and shown."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.reviewing import Act, Why
from tdsys.core.rubric import Decision, Unscored, decide
from tdsys.core.sections import CellException, Cells
from tdsys.stages import policies, reporting
from tdsys.store import Store, Tx
from tests.commanding import Shell
from tests.factories import NOW, PROBLEM, make_assessment, make_capture, make_verdict
from tests.opinions import people
from tests.reviewing import make_waiting, say, taken
from tests.stored import claim, count, ingest
from tests.stored import decide as recorded


def scored(tx: Tx, *values: float, topic: str = "sums", **over: Any) -> None:
    """Examples with these scores, decided by the default policy."""
    first = count(tx, "examples")
    inputs = {"topic": topic, "difficulty": "easy"}
    ingest(tx, [make_capture(domain="sums", inputs=inputs, outputs={**PROBLEM, "answer": str(n)})
                for n in range(first, first + len(values))])  # fmt: skip
    for candidate, value in zip(claim(tx), values, strict=True):
        answer = make_assessment(value, **over)
        assert recorded(tx, candidate, decide(make_verdict(), answer, Policy()), answer=answer)


@pytest.fixture
def judged(store: Store) -> Store:
    """Four scores in two topics, a parked example without one, and a candidate."""
    with store.begin() as tx:
        scored(tx, 1.0, 0.9, accuracy=0.7)
        scored(tx, 0.3, topic="angles")
        scored(tx, 0.55, topic="angles")
        ingest(tx, [make_capture(domain="sums", outputs={**PROBLEM, "answer": "none"})])
        parked = Decision(move=Move.PARK, reason="unreadable")
        assert recorded(tx, claim(tx)[0], parked, answer=Unscored(reason="unreadable"))
        ingest(tx, [make_capture(domain="sums", outputs={**PROBLEM, "answer": "new"})])
        ingest(tx, [make_capture(domain="another")])
    return store


@pytest.mark.criterion("4.5")
def test_scores_are_spread_by_tenths_and_no_score_is_in_no_tenth(judged: Store) -> None:
    found = reporting.quality(judged, domain="sums")
    assert found.states == {"admitted": 2, "in_review": 2, "parked": 1, "candidate": 1}
    assert found.sources == {"captured": 6}
    spreads = {one.dimension: one for one in found.spreads}
    assert spreads["accuracy"].all == [0, 0, 0, 1, 0, 1, 0, 2, 0, 0]
    assert spreads["coherence"].all == [0, 0, 0, 1, 0, 1, 0, 0, 0, 2]
    assert spreads["coherence"].admitted == [0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (spreads["accuracy"].reject_below, spreads["accuracy"].admit_from) == (0.3, 0.7)
    assert (found.scored, found.simulated) == (4, 0)
    assert ("parked", "unreadable", 1) in found.reasons


def test_only_the_newest_score_of_an_example_counts(store: Store) -> None:
    with store.begin() as tx:
        scored(tx, 0.2)
        tx.exec_driver_sql("UPDATE examples SET state = 'candidate', due_at = moved_at")
        answer = make_assessment(0.9)
        decision = decide(make_verdict(), answer, Policy())
        assert recorded(tx, claim(tx)[0], decision, answer=answer)
    (accuracy, *_) = reporting.quality(store, domain="sums").spreads
    assert accuracy.all == [0] * 9 + [1]


@pytest.mark.criterion("4.5")
def test_judge_and_people_are_compared_where_both_said_something(
    store: Store, tdsys: Shell
) -> None:
    policies.put(store, domain="sums", policy=Policy(), author="a", now=NOW)
    assert reporting.agreement(store, domain="sums") is None
    with store.begin() as tx:
        scored(tx, 0.2)
    found = reporting.agreement(store, domain="sums")
    assert found
    assert (found.n, found.kappa, found.accepted.precision) == (0, None, None)
    assert "judge and people" not in tdsys("report", "quality", "--domain", "sums").out
    people(store, *[(0.9, n > 1) for n in range(10)], *[(0.1, False)] * 10)
    found = reporting.agreement(store, domain="sums")
    assert found
    assert found.accepted.precision
    assert found.accepted.precision.value == pytest.approx(0.8)
    said = tdsys("report", "quality", "--domain", "sums").out
    assert "judge and people over 20 examples: kappa 0.80 [0.54, 1.00]" in said
    assert "good of what it accepts: 80% [49%, 94%]" in said
    told = tdsys("report", "quality", "--domain", "sums", "--json").document["agreement"]
    assert (told["n"], told["accepted"]["accepted"]) == (20, 10)


@pytest.mark.criterion("4.5")
def test_coverage_lists_the_emptiest_cell_first(judged: Store) -> None:
    policies.put(
        judged, domain="sums", policy=Policy(min_examples=50, max_examples=100), author="a", now=NOW
    )
    found = reporting.coverage(judged, domain="sums")
    assert [(c.topic, c.admitted, c.waiting, c.rejected, c.lacking) for c in found.cells] == [
        ("angles", 0, 2, 0, 34),
        ("multiplication", 0, 2, 0, 34),
        ("sums", 2, 0, 0, 32),
    ]
    assert (found.share, found.max_examples, found.policy_version) == (34, 100, 2)


@pytest.mark.criterion("3.1")
@pytest.mark.criterion("4.5")
def test_coverage_lists_wanted_cells_that_hold_nothing_and_held_ones_that_are_not_wanted(
    judged: Store, tdsys: Shell
) -> None:
    wanted = Policy(
        topics=("Sums", "ratios"),
        difficulties=("easy", "hard"),
        cells=Cells(min=3, max=20, exceptions=(CellException(topic="ratios", difficulty="hard",
                                                             min=30),)),
    )  # fmt: skip
    policies.put(judged, domain="sums", policy=wanted, author="a", now=NOW)
    found = reporting.coverage(judged, domain="sums")
    assert found.share == 100
    assert [(c.topic, c.difficulty, c.wanted, c.least, c.lacking) for c in found.cells] == [
        ("ratios", "hard", True, 30, 100),
        ("ratios", "easy", True, 3, 20),
        ("sums", "hard", True, 3, 20),
        ("sums", "easy", True, 3, 18),
        ("angles", "easy", False, 0, 0),
        ("multiplication", "easy", False, 0, 0),
    ]
    bounds = {c.topic: (c.most, c.goal) for c in found.cells if c.difficulty == "easy"}
    assert bounds == {"ratios": (20, 20), "sums": (20, 20), "angles": (None, 0),
                      "multiplication": (None, 0)}  # fmt: skip
    shown = tdsys("report", "coverage", "--domain", "sums").out
    assert shown.count("not wanted") == 2


def test_a_cell_with_more_than_its_cap_says_how_many_go_into_no_version(
    judged: Store, tdsys: Shell
) -> None:
    policies.put(judged, domain="sums", policy=Policy(cells=Cells(max=1)), author="a", now=NOW)
    full = next(c for c in reporting.coverage(judged, domain="sums").cells if c.topic == "sums")
    assert (full.admitted, full.most, full.beyond, full.lacking) == (2, 1, 1, 0)
    assert "1 (full)" in tdsys("report", "coverage", "--domain", "sums").out


def test_a_label_that_only_rejected_examples_have_makes_no_wanted_cell(store: Store) -> None:
    with store.begin() as tx:
        scored(tx, 0.9)
        scored(tx, 0.1, topic="angles")
    first = reporting.coverage(store, domain="sums")
    assert [(c.topic, c.wanted, c.lacking) for c in first.cells] == [
        ("angles", True, 200), ("sums", True, 199),
    ]  # fmt: skip
    only = Policy(difficulties=("easy", "hard"))
    policies.put(store, domain="sums", policy=only, author="a", now=NOW)
    found = reporting.coverage(store, domain="sums")
    assert [(c.topic, c.difficulty, c.lacking) for c in found.cells] == [
        ("sums", "hard", 200), ("sums", "easy", 199), ("angles", "easy", 0),
    ]  # fmt: skip


@pytest.mark.usefixtures("judged")
def test_the_reports_are_shown_and_told_as_data(tdsys: Shell) -> None:
    shown = tdsys("report", "quality", "--domain", "sums")
    assert shown.code == 0
    assert "4 scored" in shown.out
    assert "   ▄ ▄ █  " in shown.out
    told = tdsys("report", "quality", "--domain", "sums", "--json").document
    assert told["states"]["admitted"] == 2
    assert told["spreads"][0]["all"] == [0, 0, 0, 1, 0, 1, 0, 2, 0, 0]
    covered = tdsys("report", "coverage", "--domain", "sums").out
    assert "3 cells, 134 of max_examples 400" in covered
    # A column in which nothing is said takes no place from the others, and no word is cut off.
    assert "at most" not in covered
    assert "difficulty" in covered
    assert "…" not in covered
    told = tdsys("report", "coverage", "--domain", "sums", "--json").document
    assert [cell["topic"] for cell in told["cells"]] == ["angles", "multiplication", "sums"]


def test_a_report_is_a_page_in_which_no_text_is_markup(
    tdsys: Shell, store: Store, tmp_path: Path
) -> None:
    with store.begin() as tx:
        scored(tx, 0.9, topic="<script>alert(1)</script>&\x1b]0;owned\x07")
    path = tmp_path / "page.html"
    for kind, title in (("quality", "Quality: sums"), ("coverage", "Coverage: sums")):
        said = tdsys("report", kind, "--domain", "sums", "--html", path)
        assert (said.code, said.out, str(path) in said.err) == (0, "", True)
        text = path.read_text()
        assert f"<h1>{title}</h1>" in text
        assert "<script" not in text
        assert "\x1b" not in text
        nodes = Nodes()
        nodes.feed(text)
        assert nodes.found <= KNOWN_NODES
        assert ("&lt;script&gt;" in text) is (kind == "coverage")
        assert "http" not in text.replace("http-equiv", "")
        assert text.count("<svg") == (4 if kind == "quality" else 1)


@pytest.mark.criterion("6.5")
@pytest.mark.usefixtures("judged")
def test_the_pages_draw_scores_by_tenths_and_a_map_of_the_cells(
    tdsys: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    tdsys("report", "quality", "--domain", "sums", "--html", path)
    drawn = path.read_text()
    assert 'aria-label="accuracy, by tenths from 0 to 1: 0, 0, 0, 1, 0, 1, 0, 2, 0, 0"' in drawn
    assert "<td>accuracy</td><td>all</td><td>0</td><td>0</td><td>0</td><td>1</td>" in drawn
    tdsys("report", "coverage", "--domain", "sums", "--html", path)
    drawn = path.read_text()
    assert "Admitted examples by topic and difficulty: 3 topics, 1 difficulties" in drawn
    assert "sums, easy: 2 of 134 admitted</title>" in drawn


KNOWN_NODES = set(
    "html head meta title style body main h1 h2 p div table thead tr th td span"  # noqa: SIM905
    " svg g rect line text".split()
)


class Nodes(HTMLParser):
    """The names of all elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


@pytest.mark.usefixtures("judged")
def test_a_report_on_an_unknown_domain_names_the_known_ones(tdsys: Shell) -> None:
    for kind in ("quality", "coverage"):
        said = tdsys("report", kind, "--domain", "summs")
        assert (said.code, "another, sums" in said.err) == (2, True)


@pytest.mark.criterion("4.5")
def test_people_are_compared_where_two_decided_about_the_same(store: Store) -> None:
    assert reporting.people(store, domain="arithmetic") is None
    policies.apply(
        store,
        domain="arithmetic",
        policy=Policy(second_reviews=1.0),
        author="test",
        now=NOW,
    )
    ids = make_waiting(store, 4)
    for name, acts in (("ann", "aaar"), ("bob", "aarr")):
        for _ in acts:
            held = taken(store, name)
            if acts[ids.index(held.example_id)] == "a":
                say(store, held, Act.APPROVE, name)
            else:
                say(store, held, Act.REJECT, name, reason=Why.WRONG)
    found = reporting.people(store, domain="arithmetic")
    assert found is not None
    assert (found.raters, found.items, found.agreed) == (2, 4, 0.75)
    assert found.kappa == pytest.approx(0.5)
