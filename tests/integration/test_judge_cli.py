"""`tdsys judge calibrate`, typed: what it says, what it keeps, what it refuses."""

from __future__ import annotations

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tdsys.core.policy import Policy
from tdsys.reference import Fault, ReferenceGenerator
from tdsys.stages import policies
from tdsys.store import Store, calibrations
from tests.commanding import Shell
from tests.factories import NOW
from tests.opinions import ALL, people
from tests.stored import count

KNOWN_NODES = set(
    "html head meta title style body main h1 h2 p div table thead tr th td"  # noqa: SIM905
    " svg g text rect line circle polyline".split()
)


@pytest.fixture
def reviewed(store: Store) -> Store:
    """200 scored examples: of those with accuracy 0.9, 19 of 20 are good; of 0.7, 3 of 5."""
    policies.put(store, domain="sums", policy=ALL, author="ann", now=NOW)
    words = [(0.9, n % 20 > 0) for n in range(120)] + [(0.7, n % 5 > 1) for n in range(50)]
    people(store, *words, *[(0.2, False)] * 30)
    return store


def kept(store: Store) -> int:
    with store.begin() as tx:
        return count(tx, "calibrations")


@pytest.mark.criterion("4.5")
def test_the_command_it_recommends_can_be_run_and_is_what_was_wanted(
    tdsys: Shell, reviewed: Store
) -> None:
    said = tdsys("judge", "calibrate", "--domain", "sums", "--precision", "0.9")
    assert (said.code, kept(reviewed)) == (0, 1)
    assert "200 labels from reviews, 144 good" in said.out
    assert "kappa 0." in said.out
    assert (
        "accepted at the present thresholds: 170 of them; precision 0.85 [0.79, 0.89]" in said.out
    )
    assert "of 200 that scores alone decided, people decided 200" in said.out
    (line,) = [line for line in said.out.splitlines() if "tdsys policy set" in line]
    assert "by the lower bound" not in line
    assert tdsys(*shlex.split(line.partition("tdsys ")[2])).code == 0
    told = tdsys("judge", "calibrate", "--domain", "sums", "--precision", "0.9", "--json").document
    assert told["findings"]["accepted"]["precision"]["value"] == pytest.approx(0.95)
    assert (told["kept"], kept(reviewed)) == (True, 2)


@pytest.mark.usefixtures("reviewed")
def test_a_lower_wish_is_reached_by_the_lower_bound(tdsys: Shell) -> None:
    told = tdsys("judge", "calibrate", "--domain", "sums", "--precision", "0.85", "--json").document
    bases = {one["knob"]: one["basis"] for one in told["findings"]["thresholds"]}
    assert bases["quality"] == "lower bound"
    assert shlex.split(told["recommended"])[:5] == ["tdsys", "policy", "set", "--domain", "sums"]


def test_a_dry_run_says_the_same_and_keeps_nothing(tdsys: Shell, reviewed: Store) -> None:
    dry = tdsys("judge", "calibrate", "--domain", "sums", "--dry-run", "--json").document
    assert (dry["kept"], kept(reviewed)) == (False, 0)
    wet = tdsys("judge", "calibrate", "--domain", "sums", "--json").document
    assert {**wet, "kept": False} == dry


class Nodes(HTMLParser):
    """The names and the attributes of all elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.links += [name for name, _ in attrs if name in {"href", "src", "onload"}]


def test_the_page_draws_each_score_and_tells_every_number_in_a_table(
    tdsys: Shell, reviewed: Store, tmp_path: Path
) -> None:
    assert reviewed
    path = tmp_path / "page.html"
    said = tdsys("judge", "calibrate", "--domain", "sums", "--html", path)
    assert (said.code, said.out, str(path) in said.err) == (0, "", True)
    nodes = Nodes()
    nodes.feed(path.read_text())
    assert set(nodes.found) <= KNOWN_NODES
    assert nodes.links == []
    assert nodes.found.count("svg") == 1
    assert nodes.found.count("circle") == 3 * 5 + 1  # and one in the legend
    assert "<td>accuracy</td><td>0.9</td><td>1.0</td><td>120</td>" in path.read_text()


def test_too_few_labels_are_not_ready_and_say_what_is_needed(tdsys: Shell, store: Store) -> None:
    policies.put(store, domain="sums", policy=ALL, author="ann", now=NOW)
    people(store, *[(0.9, True)] * 12)
    said = tdsys("judge", "calibrate", "--domain", "sums")
    assert said.code == 3
    assert "5 more bad, 13 more of either kind needed" in said.err
    assert kept(store) == 0


def labels(path: Path, *, number: int = 150, domain: str = "algebra") -> list[dict[str, Any]]:
    """Generated problems whose faults are known, as a labelled file."""
    made = ReferenceGenerator(seed=5, fault_rate=0.4).stream((domain,), number)
    lines = [
        {"inputs": p.inputs, "outputs": p.outputs, "label": "bad" if p.fault else "good"}
        for p in made
        if p.fault is not Fault.DUPLICATE
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return lines


def test_a_labelled_file_with_a_wrong_line_calibrates_by_the_others(
    tdsys: Shell, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "labels.jsonl"
    lines = labels(path)
    with path.open("a") as file:
        file.write('\n{"inputs": {}, "label": "fine"}\n{broken\n')
    policies.put(store, domain="algebra", policy=Policy(), author="ann", now=NOW)
    command = ("judge", "calibrate", "--domain", "algebra", "--labelled", path)
    dry = tdsys(*command, "--dry-run", "--json")
    assert (dry.code, dry.document["labelled"], kept(store)) == (4, len(lines), 0)
    said = tdsys(*command, "--json")
    assert said.code == 4
    number = len(lines) + 1
    assert f"line {number}, field outputs: it is missing" in said.err
    assert f"line {number}, field label: neither good nor bad" in said.err
    assert f"line {number + 1}: " in said.err
    told = json.loads(said.out)
    assert told["refused"] == 2
    assert told["simulated"] is True
    # Hard faults are caught by evidence, and say nothing about the scores.
    assert told["left_out"]["decided by evidence"] > 10
    assert told["findings"]["n"] + told["left_out"]["decided by evidence"] == len(lines)
    assert told["findings"]["accepted"]["recall"]["value"] == 1
    with store.begin() as tx:
        assert count(tx, "examples") == 0
        found = calibrations.latest(tx, domain="algebra")
    assert found
    assert (found.source, found.simulated) == ("file", True)
    shown = tdsys(*command)
    assert "SIMULATED" in shown.out


def test_a_file_with_too_few_labels_is_refused_before_the_judge_is_asked(
    store: Store, tdsys: Shell, tmp_path: Path
) -> None:
    policies.put(store, domain="algebra", policy=Policy(), author="ann", now=NOW)
    path = tmp_path / "labels.jsonl"
    labels(path, number=20)
    said = tdsys("judge", "calibrate", "--domain", "algebra", "--labelled", path)
    assert said.code == 3
    assert "more of either kind needed" in said.err


def test_no_domain_and_no_file_are_told_as_such(store: Store, tdsys: Shell, tmp_path: Path) -> None:
    policies.put(store, domain="x", policy=Policy(), author="ann", now=NOW)
    assert tdsys("judge", "calibrate", "--domain", "nowhere").code == 2
    missing = tdsys("judge", "calibrate", "--domain", "x", "--labelled", tmp_path / "none")
    assert (missing.code, "cannot be read" in missing.err) == (2, True)
    assert tdsys("judge", "calibrate", "--domain", "x", "--precision", "2").code == 2
