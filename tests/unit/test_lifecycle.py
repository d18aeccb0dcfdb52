"""The state machine of an example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.lifecycle import MOVES, Move, State, after
from tdsys.errors import Conflict


@given(st.lists(st.sampled_from(Move), max_size=30))
def test_any_sequence_of_moves_stays_in_the_table(moves: list[Move]) -> None:
    state = State.CANDIDATE
    for move in moves:
        if (state, move) in MOVES:
            state = after(state, move)
        else:
            with pytest.raises(Conflict):
                after(state, move)
    assert state in State


@given(st.lists(st.sampled_from(Move), max_size=30))
def test_nothing_is_admitted_without_an_admit_or_an_approval(moves: list[Move]) -> None:
    state, deciding = State.CANDIDATE, None
    for move in moves:
        if (state, move) in MOVES:
            state, deciding = after(state, move), move
    if state is State.ADMITTED:
        assert deciding in {Move.ADMIT, Move.APPROVE}


def test_every_state_can_be_reached_and_left() -> None:
    reachable = {State.CANDIDATE} | set(MOVES.values())
    assert reachable == set(State)
    assert {state for state, _ in MOVES} == set(State)


def test_a_refused_move_says_what_is_possible() -> None:
    with pytest.raises(Conflict, match="retired cannot approve — from retired it can: restore"):
        after(State.RETIRED, Move.APPROVE)
