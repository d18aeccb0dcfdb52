"""How varied examples are, and how real and synthetic ones are mixed: counted and shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tdsys.core.arrival import from_capture
from tdsys.core.example import Source
from tdsys.core.policy import Policy
from tdsys.errors import InvalidInput
from tdsys.stages import clustering, composition, trending, variety
from tdsys.stages.variety import Ratio
from tdsys.store import Store, examples, policies
from tests.commanding import Shell
from tests.factories import NOW, PROBLEM, make_capture
from tests.stored import admit, claim, decide, freeze

HOSTILE = "<script>alert(1)</script>"
TALES = (
    "A bakery sells three trays of twelve warm buns. How many buns is that?",
    "The night train leaves Berlin at noon and is as fast as ever. How far does it come?",
    "Seven green frogs jump over quiet ponds all day long. How many jumps are left?",
)


def admitted(store: Store, problems: Sequence[str], *, topic: str = "sums") -> list[int]:
    with store.begin() as tx:
        return admit(
            tx,
            [
                make_capture(
                    domain="sums",
                    inputs={"topic": topic, "difficulty": "easy", "n": str(n)},
                    outputs={**PROBLEM, "problem": problem},
                )
                for n, problem in enumerate(problems)
            ],
        )


def place(store: Store) -> None:
    with store.begin() as tx:
        held = examples.admitted(tx, domain="sums")
    clustering.place(store, domain="sums", examples=held)


@pytest.fixture
def mixed(store: Store) -> Store:
    """Two captured, one imported, one synthetic that is admitted, and one that waits."""
    admitted(store, TALES[:2])
    for days, (source, topic) in enumerate(
        ((Source.IMPORTED, "sums"), (Source.SYNTHETIC, "angles"), (Source.BOOTSTRAPPED, "angles"))
    ):
        inputs = {"topic": topic, "difficulty": "hard", "from": source}
        one = from_capture(make_capture(domain="sums", inputs=inputs))
        at = NOW + timedelta(days=days)
        with store.begin() as tx:
            examples.add(tx, arrivals=[one], source=source, due_at=NOW, now=at)
            if source is not Source.BOOTSTRAPPED:
                assert decide(tx, claim(tx)[0])
    return store


@pytest.mark.criterion("10.2")
def test_the_admitted_set_and_a_version_are_measured(store: Store) -> None:
    admitted(store, TALES)
    place(store)
    with store.begin() as tx:
        freeze(tx, domain="sums")
    admitted(store, TALES[:1], topic="angles")
    place(store)
    now, frozen = variety.diversity(store, domain="sums")
    assert (now.name, now.diversity.examples, now.unplaced) == ("admitted", 4, 0)
    assert (frozen.name, frozen.diversity.examples) == ("version 1.0", 3)
    assert now.diversity.clusters == frozen.diversity.clusters == 3
    assert now.diversity.largest_cluster == 2
    assert now.diversity.vendi == pytest.approx(2.67, abs=0.1)
    assert (now.diversity.cells, frozen.diversity.entropy) == (2, None)
    with pytest.raises(InvalidInput, match=r"no dataset version 9\.9"):
        variety.diversity(store, domain="sums", version="9.9")


def test_who_is_in_no_cluster_yet_is_counted_and_stands_alone(store: Store) -> None:
    admitted(store, TALES)
    (found,) = variety.diversity(store, domain="sums")
    assert (found.unplaced, found.diversity.clusters) == (3, 3)


@pytest.mark.criterion("10.5")
def test_synthetic_real_and_imported_are_counted_by_cell_time_and_source(mixed: Store) -> None:
    found = variety.mix(mixed, domain="sums")
    assert found.arrived == Ratio(synthetic=1, real=3, imported=1)
    assert found.admitted == Ratio(synthetic=1, real=2, imported=1)
    cells = {(one.topic, one.difficulty): one.admitted for one in found.cells}
    assert cells == {
        ("sums", "easy"): Ratio(0, 2, 0),
        ("sums", "hard"): Ratio(0, 0, 1),
        ("angles", "hard"): Ratio(1, 0, 0),
    }
    days = [(one.day, one.arrived) for one in found.periods]
    first = NOW.date()
    assert days == [
        (first, Ratio(0, 2, 1)),
        (first + timedelta(days=1), Ratio(1, 0, 0)),
        (first + timedelta(days=2), Ratio(0, 1, 0)),
    ]
    sources = {one.source: one for one in found.sources}
    assert (sources["bootstrapped"].scored, sources["bootstrapped"].quality) == (0, None)
    assert sources["captured"].scored == 2
    assert sources["captured"].quality == pytest.approx(0.75)
    assert variety.mix(mixed).arrived == found.arrived


@pytest.mark.criterion("10.5")
def test_the_quick_mix_tells_what_the_counted_one_tells_and_each_day_that_was_written(
    mixed: Store,
) -> None:
    today = NOW + timedelta(days=3)
    trending.write_days(mixed, now=NOW + timedelta(days=1))
    with mixed.begin() as tx:
        policies.put(tx, domain="sums", policy=Policy(synthetic_share=0.4), author="a", now=NOW)
    counted = variety.mix(mixed, domain="sums")
    quick = composition.composition(mixed, domain="sums", now=today)
    assert (quick.arrived, quick.admitted) == (counted.arrived, counted.admitted)
    assert [one[:4] for one in quick.cells] == [one[1:] for one in counted.cells]
    assert quick.sources == counted.sources
    assert (quick.allowed, quick.measured_at) == (0.4, today)
    assert [day for day, _ in quick.days] == [(NOW + timedelta(days=n)).date() for n in (1, 3)]
    assert {ratio for _, ratio in quick.days} == {counted.admitted}


def test_of_many_examples_quality_is_told_as_it_was_written_last(
    mixed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "FEW", 3)
    later = NOW + timedelta(hours=5)
    fresh = composition.composition(mixed, domain="sums", now=later)
    assert fresh.measured_at == later, "nothing was written yet"
    trending.write_days(mixed, now=NOW)
    with mixed.begin() as tx:
        tx.execute(text("UPDATE examples SET quality = 0 WHERE source = 'captured'"))
    told = composition.composition(mixed, domain="sums", now=later)
    assert (told.measured_at, told.sources) == (NOW, fresh.sources)


def test_a_long_time_is_told_in_weeks(store: Store) -> None:
    admitted(store, TALES[:1])
    late = from_capture(make_capture(domain="sums"))
    with store.begin() as tx:
        at = NOW + timedelta(days=40)
        examples.add(tx, arrivals=[late], source=Source.IMPORTED, due_at=at, now=at)
    first, last = variety.mix(store).periods
    assert (first.days, first.day, last.day) == (7, NOW.date(), NOW.date() + timedelta(days=35))
    assert last.day == date(2026, 12, 27)


def test_the_reports_are_shown_told_and_written(tdsys: Shell, mixed: Store, tmp_path: Path) -> None:
    place(mixed)
    shown = tdsys("report", "diversity", "--domain", "sums")
    assert (shown.code, "admitted" in shown.out, "Vendi" in shown.out) == (0, True, True)
    (one,) = tdsys("report", "diversity", "--domain", "sums", "--json").document["sets"]
    assert (one["name"], one["diversity"]["examples"]) == ("admitted", 4)
    assert "arrived 1 : 3 : 1, admitted 1 : 2 : 1" in tdsys("report", "mix").out
    told = tdsys("report", "mix", "--domain", "sums", "--json").document
    assert told["admitted"] == {"synthetic": 1, "real": 2, "imported": 1}
    assert told["periods"][0]["day"] == "2026-11-22"
    path = tmp_path / "page.html"
    for words in (("diversity", "--domain", "sums"), ("mix",)):
        assert tdsys("report", *words, "--html", path).out == ""
        assert "<table>" in path.read_text()


@pytest.mark.criterion("6.5")
@pytest.mark.criterion("10.5")
def test_the_page_of_the_mix_draws_shares_over_time_and_tells_them(
    tdsys: Shell, mixed: Store, tmp_path: Path
) -> None:
    with mixed.begin() as tx:
        admit(tx, [make_capture(domain="sums", inputs={"topic": HOSTILE, "difficulty": "easy"})])
    path = tmp_path / "page.html"
    tdsys("report", "mix", "--html", path)
    drawn = path.read_text()
    assert drawn.count("<svg") == 2
    first = "2026-11-22: synthetic 0%, real 75%, imported 25% of 4"
    last = "2026-11-24: synthetic 0%, real 100%, imported 0% of 1"
    assert f'aria-label="Mix of what arrived: {first}; {last}"' in drawn
    assert f"<p>{first}; {last}.</p>" in drawn
    assert "<td>2026-11-23</td><td>1</td><td>1 : 0 : 0</td>" in drawn
    assert ("&lt;script&gt;" in drawn, "<script" in drawn, "http:" in drawn) == (True, False, False)


def test_a_report_on_an_unknown_domain_names_the_known_ones(tdsys: Shell, mixed: Store) -> None:
    assert mixed
    for kind in ("diversity", "mix"):
        said = tdsys("report", kind, "--domain", "summs")
        assert (said.code, "sums" in said.err) == (2, True)


def test_nothing_at_all_is_a_report_too(tdsys: Shell) -> None:
    said = tdsys("report", "mix")
    assert (said.code, "arrived 0 : 0 : 0" in said.out) == (0, True)
