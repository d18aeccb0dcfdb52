"""What a new example is made of, and what it is held against before anybody believes it."""

from __future__ import annotations

import pytest

from tdsys.core.batch import Draft, Kin, Parent, Refused
from tdsys.core.contamination import marks
from tdsys.core.example import Cell
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.stages import clustering, material
from tdsys.stages.novelty import compared
from tdsys.store import Store, benchmarks, examples
from tdsys.store.benchmarks import Benchmark
from tests.factories import NOW, PROBLEM, make_capture
from tests.making import ScriptedMaker
from tests.stored import admit

CELL = Cell("sums", "medium")
FAMILY = "A bakery in {} sells {} trays of {} warm buns each morning. How many buns is that?"
TOWNS = ("Ulm", "Kiel", "Bonn", "Graz", "Linz", "Bern")
STRANGERS = (
    "The night train leaves at noon and is as fast as ever. How far does it come?",
    "Seven green frogs jump over quiet ponds all day long. How many jumps are left?",
    "What is the area of a garden whose fence was painted twice by the same man?",
    "Each pupil of the choir learned some songs by heart. Who knows the fewest of them?",
)


def stored(store: Store, problems: list[str], *, difficulty: str = "medium") -> list[int]:
    captures = [
        make_capture(
            domain="d",
            inputs={"topic": "sums", "difficulty": difficulty},
            outputs={**PROBLEM, "problem": problem},
        )
        for problem in problems
    ]
    with store.begin() as tx:
        ids = admit(tx, captures)
        held = examples.admitted(tx, domain="d")
    clustering.place(store, domain="d", examples=held)
    return ids


def pool_of(store: Store, kin: Kin, cell: Cell, policy: Policy | None = None) -> list[Parent]:
    with store.begin() as tx:
        return material.drawn(tx, domain="d", cell=cell, policy=policy or Policy(), kin=kin, turn=3)


def drafts(*problems: str) -> list[Draft | Refused]:
    return [Draft({}, {**PROBLEM, "problem": problem}, {}, calls=1) for problem in problems]


@pytest.mark.criterion("10.1")
def test_who_fills_a_gap_is_shown_an_example_and_the_four_of_its_cell_nearest_to_it(
    store: Store,
) -> None:
    family = stored(store, [FAMILY.format(town, n + 2, n + 5) for n, town in enumerate(TOWNS)])
    stored(store, list(STRANGERS))
    stored(store, [FAMILY.format("Rome", 40, 50)], difficulty="hard")
    maker = ScriptedMaker(calls=1, parents=5, kin=Kin.CROWD)
    pool = pool_of(store, Kin.CROWD, CELL)
    assert len(pool) == 10
    for turn, seed in enumerate(pool):
        with store.begin() as tx:
            shown = material.shown(tx, pool, maker, domain="d", cell=CELL, turn=turn)
        ids = [one.id for one in shown]
        assert (ids[0], len(set(ids))) == (seed.id, 5)
        if seed.id in family:
            assert set(ids) <= set(family)


@pytest.mark.criterion("10.1")
def test_what_should_be_unlike_all_that_is_there_is_refused_if_it_is_not_shown_or_shown(
    store: Store,
) -> None:
    ids = stored(store, [FAMILY.format("Ulm", 3, 12), *STRANGERS])
    near, new = FAMILY.format("Oslo", 8, 9), "Two clocks strike at once. When do they again?"
    gap = ScriptedMaker(calls=1, parents=5, kin=Kin.CROWD)
    refused, made, twin = compared(store, drafts(near, new, new + " Say when."), gap, domain="d")
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.calls) == ("near_duplicate", 1)
    assert f"example {ids[0]} is 100% like it: a near-duplicate" in refused.detail
    assert refused.content == {**PROBLEM, "problem": near}
    assert isinstance(made, Draft)
    assert made.checks[-1].evidence == "nothing that is there is 55% like it"
    assert isinstance(twin, Refused)
    assert "another that was made with it" in twin.detail
    # whoever did not promise to be unlike anything only says what it is like
    (other,) = compared(store, drafts(near), ScriptedMaker(calls=1), domain="d")
    assert isinstance(other, Draft)
    assert (other.checks[-1].name, other.checks[-1].outcome) == ("near_duplicate", "passed")
    assert "a near-duplicate" in other.checks[-1].evidence


def test_what_was_rejected_is_nothing_to_keep_away_from(store: Store) -> None:
    (gone,) = stored(store, [FAMILY.format("Ulm", 3, 12)])
    with store.begin() as tx:
        examples.move(
            tx, example_id=gone, move=Move.RETIRE, reason="r", detail="", actor="ann",
            policy_version=1, now=NOW,
        )  # fmt: skip
    gap = ScriptedMaker(calls=1, parents=5, kin=Kin.CROWD)
    (made,) = compared(store, drafts(FAMILY.format("Oslo", 8, 9)), gap, domain="d")
    assert isinstance(made, Draft)


def test_that_a_problem_is_in_no_benchmark_is_evidence_too(store: Store) -> None:
    with store.begin() as tx:
        found = [one for one in marks(STRANGERS[0]) if one is not None]
        benchmark = Benchmark("exam", "f", "", 1, "ann", NOW)
        benchmarks.register(tx, benchmark=benchmark, marks=found)
    known, new = compared(store, drafts(STRANGERS[0], STRANGERS[1]), ScriptedMaker(), domain="d")
    assert isinstance(known, Refused)
    assert known.reason == "contaminated"
    assert known.content
    assert [(one.name, one.outcome.value) for one in known.checks] == [("contamination", "failed")]
    assert isinstance(new, Draft)
    assert new.checks[-1].evidence == "in none of 1 registered benchmark"


@pytest.mark.criterion("10.1")
def test_a_harder_relative_is_made_of_the_nearest_easier_ones_and_of_nothing_else(
    store: Store,
) -> None:
    held = {
        difficulty: stored(store, [f"{difficulty} {one}" for one in STRANGERS[:2]],
                           difficulty=difficulty)
        for difficulty in ("easy", "medium", "very hard")
    }  # fmt: skip

    def seen(kin: Kin, difficulty: str) -> set[int]:
        return {one.id for one in pool_of(store, kin, Cell("sums", difficulty))}

    assert seen(Kin.EASIER, "hard") == seen(Kin.EASIER, "very hard") == set(held["medium"])
    assert seen(Kin.EASIER, "medium") == set(held["easy"])
    assert seen(Kin.HARDER, "hard") == set(held["very hard"])
    assert seen(Kin.HARDER, "easy") == set(held["medium"])
    assert seen(Kin.EASIER, "easy") == seen(Kin.HARDER, "very hard") == set()
    assert seen(Kin.EASIER, "odd") == set(), "nobody knows how hard that is"
