"""Dealing out new examples: exact, level, by need first, by what strategies have yielded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.batch import Kin
from tdsys.core.example import Cell
from tdsys.core.filling import Experience, Offer, calls_per_example, plan, quotas
from tdsys.core.policy import Policy
from tdsys.core.sections import CellException, Cells
from tdsys.errors import InvalidInput

ANY = Policy()
CELLS = [Cell(topic, difficulty) for topic in "abc" for difficulty in ("easy", "hard")]
held = st.dictionaries(st.sampled_from(CELLS), st.integers(0, 50))
OFFERS = [Offer("rephrase", 4), Offer("persona", 4), Offer("compose", 4)]


@given(held, st.integers(1, 300))
def test_quotas_sum_to_what_was_asked_for(has: dict[Cell, int], count: int) -> None:
    assert sum(quotas(CELLS, has, count, ANY).values()) == count


@given(held, st.integers(1, 300))
def test_no_cell_gets_more_while_another_has_less(has: dict[Cell, int], count: int) -> None:
    given_ = quotas(CELLS, has, count, ANY)
    after = {cell: has.get(cell, 0) + given_.get(cell, 0) for cell in CELLS}
    fed = [after[cell] for cell in given_]
    assert max(fed) <= min(after.values()) + 1


@given(held, st.integers(1, 60))
def test_a_minimum_is_met_before_anything_is_levelled(has: dict[Cell, int], count: int) -> None:
    needy = CellException(topic="c", difficulty="hard", min=60, max=None)
    policy = Policy(cells=Cells(exceptions=(needy,)))
    lacks = max(0, 60 - has.get(needy.cell, 0))
    assert quotas(CELLS, has, count, policy).get(needy.cell, 0) >= min(count, lacks)


def test_a_maximum_is_never_passed_and_too_little_room_is_said() -> None:
    policy = Policy(cells=Cells(max=5))
    assert set(quotas(CELLS, {}, 30, policy).values()) == {5}
    with pytest.raises(InvalidInput, match="room for 30 more"):
        quotas(CELLS, {}, 31, policy)


@given(held, st.integers(1, 200), st.integers())
def test_every_cell_of_a_plan_has_its_quota_dealt_to_strategies(
    has: dict[Cell, int], count: int, seed: int
) -> None:
    wanted = quotas(CELLS, has, count, ANY)
    made = plan(wanted, OFFERS, [], before=has, seed=seed)
    assert made == plan(wanted, OFFERS, [], before=has, seed=seed)
    for cell, n in wanted.items():
        assert sum(one.wanted for one in made.cells if one.cell == cell) == n
    assert made.wanted == count
    assert made.calls == 4 * count


def known(strategy: str, cell: Cell, admitted: int) -> Experience:
    return Experience(strategy, cell, 100, admitted, calls=400, tokens=80_000, seconds=50.0)


def test_what_yields_more_gets_more_and_the_rest_is_still_tried() -> None:
    past = [known("rephrase", CELLS[0], 90), known("persona", CELLS[0], 9),
            known("compose", CELLS[0], 9)]  # fmt: skip
    made = plan({CELLS[0]: 100}, OFFERS, past, before={})
    dealt = {one.strategy: one.wanted for one in made.cells}
    assert dealt["rephrase"] > 50
    assert min(dealt.values()) >= 10


def test_a_yield_elsewhere_counts_until_the_cell_has_its_own() -> None:
    elsewhere = [known("rephrase", CELLS[1], 90)]
    both = [*elsewhere, known("rephrase", CELLS[0], 10)]
    new = calls_per_example(OFFERS[0], CELLS[0], [])
    assert new == 4
    assert calls_per_example(OFFERS[0], CELLS[0], elsewhere) == pytest.approx(4.44, abs=0.1)
    assert calls_per_example(OFFERS[0], CELLS[0], both) > 20


def test_cost_and_time_are_told_only_where_they_are_known() -> None:
    wanted = {CELLS[0]: 10}
    unknown = plan(wanted, OFFERS[:1], [], before={})
    assert (unknown.cost, unknown.seconds) == (None, None)
    past = [known("rephrase", CELLS[0], 100)]
    priced = plan(wanted, OFFERS[:1], past, before={}, price=2.0)
    assert priced.seconds == pytest.approx(5.0)
    assert priced.cost == pytest.approx(priced.calls * 200 * 2.0 / 1e6)
    assert plan(wanted, [Offer("templates", 0)], [], before={}).cost == 0
    many = plan(wanted | {CELLS[1]: 70}, OFFERS[:1], past, before={})
    assert many.seconds == pytest.approx(80 * 0.5 / 4), "four portions are made side by side"


def test_a_strategy_is_planned_where_there_is_material_for_it_and_anywhere_if_for_none() -> None:
    up, down = (Offer(kin, 4, 1, kin) for kin in (Kin.EASIER, Kin.HARDER))
    two = Offer("compose", 4, 2)
    wanted = {Cell("a", "easy"): 9, Cell("a", "hard"): 9, Cell("b", "easy"): 9}
    there = {Cell("a", "easy"): 1, Cell("b", "medium"): 2}
    made = plan(wanted, [up, down, two], [], before={},
                able=lambda offer, cell: offer.can_begin(cell, there, ()))  # fmt: skip
    told = {cell: {one.strategy for one in made.cells if one.cell == cell} for cell in wanted}
    assert told == {
        Cell("a", "easy"): {"easier", "harder", "compose"},
        Cell("a", "hard"): {"easier"},
        Cell("b", "easy"): {"harder", "compose"},
    }
