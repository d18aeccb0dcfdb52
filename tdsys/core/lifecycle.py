"""The states of an example and the moves between them: one table, checked in one place."""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from tdsys.errors import Conflict


class State(StrEnum):
    """Where an example stands."""

    CANDIDATE = "candidate"
    ADMITTED = "admitted"
    IN_REVIEW = "in_review"
    REJECTED = "rejected"
    PARKED = "parked"
    RETIRED = "retired"


class Move(StrEnum):
    """What can happen to an example."""

    ADMIT = "admit"
    REVIEW = "review"
    REJECT = "reject"
    PARK = "park"
    UNPARK = "unpark"
    APPROVE = "approve"
    FLAG = "flag"
    RETIRE = "retire"
    RESTORE = "restore"
    REPLAY = "replay"
    EDIT = "edit"
    UNDO = "undo"


MOVES: dict[tuple[State, Move], State] = {
    (State.CANDIDATE, Move.ADMIT): State.ADMITTED,
    (State.CANDIDATE, Move.REVIEW): State.IN_REVIEW,
    (State.CANDIDATE, Move.REJECT): State.REJECTED,
    (State.CANDIDATE, Move.PARK): State.PARKED,
    (State.PARKED, Move.UNPARK): State.CANDIDATE,
    (State.IN_REVIEW, Move.APPROVE): State.ADMITTED,
    (State.IN_REVIEW, Move.REJECT): State.REJECTED,
    # New content is no known content: it is verified, judged and decided like any other.
    (State.IN_REVIEW, Move.EDIT): State.CANDIDATE,
    (State.ADMITTED, Move.FLAG): State.IN_REVIEW,
    (State.ADMITTED, Move.RETIRE): State.RETIRED,
    (State.RETIRED, Move.RESTORE): State.CANDIDATE,
    **{
        (decided, Move.REPLAY): State.CANDIDATE
        for decided in (State.ADMITTED, State.IN_REVIEW, State.REJECTED)
    },
    # A reviewer takes back what was decided a moment ago; the store checks whose it was.
    **{
        (decided, Move.UNDO): State.IN_REVIEW
        for decided in (State.ADMITTED, State.REJECTED, State.CANDIDATE)
    },
}

# What a person may do; the other moves are the pipeline's.
BY_PEOPLE = (
    Move.APPROVE,
    Move.REJECT,
    Move.UNPARK,
    Move.RETIRE,
    Move.RESTORE,
    Move.FLAG,
    Move.REPLAY,
)


def open_to_people(state: State) -> list[Move]:
    """What a person may do with an example in this state."""
    return [move for move in BY_PEOPLE if (state, move) in MOVES]


def way(start: State, end: State) -> tuple[Move, ...]:
    """The fewest moves that lead from one state to another; Conflict when none do."""
    ways: dict[State, tuple[Move, ...]] = {start: ()}
    ahead = deque([start])
    while ahead and end not in ways:
        here = ahead.popleft()
        for (state, move), to in MOVES.items():
            if state is here and to not in ways:
                ways[to] = (*ways[here], move)
                ahead.append(to)
    if end not in ways:
        raise Conflict(f"no moves lead from {start} to {end}")
    return ways[end]


def after(state: State, move: Move) -> State:
    """The state `move` leads to; Conflict when the table has no such move."""
    try:
        return MOVES[state, move]
    except KeyError:
        legal = sorted(m.value for s, m in MOVES if s is state)
        raise Conflict(
            f"an example that is {state} cannot {move}",
            remedy=f"from {state} it can: {', '.join(legal) or 'nothing'}",
        ) from None
