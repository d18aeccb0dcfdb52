"""Many examples are moved at once: exactly those that were shown, and back again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tdsys.core.browsing import Filter
from tdsys.core.lifecycle import BY_PEOPLE, MOVES, Move, State, way
from tdsys.core.reviewing import Act
from tdsys.core.rubric import Decision, Unscored
from tdsys.errors import Conflict, InvalidInput
from tdsys.stages import auditing, curation, operating
from tdsys.store import Store, Tx, counts, operations
from tdsys.store.browse_schema import OperationState
from tdsys.store.operations import Operation
from tests.commanding import Shell
from tests.factories import NOW, make_captures
from tests.many import fill
from tests.reviewing import make_waiting, say, take
from tests.stored import (
    LEASE,
    admit,
    claim,
    count,
    decide,
    die,
    freeze,
    in_one_transaction,
    ingest,
    keep,
)

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def mixed(store: Store) -> Store:
    """Thirty examples of one domain are admitted, ten wait; five of another are admitted."""
    with store.begin() as tx:
        admit(tx, make_captures(30, domain="sums"))
        admit(tx, make_captures(5, domain="angles"))
        ingest(tx, make_captures(40, domain="sums")[30:])
    return store


def begun(store: Store, move: Move, *, domains: list[str] | None = None, **asked: Any) -> int:
    return operating.begin(
        store,
        asked=Filter(**asked),
        move=move,
        reason="because",
        actor="ann",
        domains=domains,
        now=NOW,
    )


def gone_on(store: Store, operation_id: int) -> Operation:
    return operating.go_on(store, operation_id=operation_id, clock=lambda: LATER)


def listed(store: Store, move: Move, **asked: Any) -> Operation:
    return gone_on(store, begun(store, move, **asked))


def done(store: Store, move: Move, **asked: Any) -> Operation:
    one = listed(store, move, **asked)
    operating.confirm(store, operation_id=one.id, now=LATER)
    return gone_on(store, one.id)


def undone(store: Store, one: Operation) -> Operation:
    operating.undo(store, operation_id=one.id, actor="bo", now=LATER)
    return operating.go_on(store, operation_id=one.id, clock=lambda: LATER + timedelta(hours=1))


def whole(tx: Tx) -> list[tuple[Any, ...]]:
    rows = tx.execute(text("SELECT id, state, reason, quality FROM examples ORDER BY id"))
    return [tuple(row) for row in rows]


def sound(store: Store, *, now: datetime = LATER) -> bool:
    findings = auditing.audit(store, lease=LEASE, now=now)
    return [one for one in findings if not one.holds] == []


@pytest.mark.criterion("4.4")
def test_what_is_shown_before_is_what_is_done_and_the_rest_is_counted_by_reason(
    mixed: Store,
) -> None:
    one = listed(mixed, Move.RETIRE, domain="sums")
    assert one.state is OperationState.LISTED
    assert one.counts == {"waiting": 30, "illegal candidate": 10}
    assert len(operating.sample(mixed, operation_id=one.id)) == operating.SAMPLE
    with mixed.begin() as tx:
        assert count(tx, "transitions WHERE move = 'retire'") == 0
    operating.confirm(mixed, operation_id=one.id, now=LATER)
    one = gone_on(mixed, one.id)
    assert (one.state, one.finished_at) == (OperationState.DONE, LATER)
    assert one.counts == {"moved": 30, "illegal candidate": 10}
    with mixed.begin() as tx:
        assert count(tx, "examples WHERE state = 'retired' AND domain = 'sums'") == 30
        found = tx.execute(text("SELECT DISTINCT actor, reason, detail FROM transitions"
                                " WHERE move = 'retire'")).all()  # fmt: skip
    assert [tuple(row) for row in found] == [("ann", "because", f"operation {one.id}")]
    assert sound(mixed, now=NOW)


@pytest.mark.parametrize(
    ("start", "move"),
    [(start, move) for start, move in MOVES if move in BY_PEOPLE],
)
def test_every_move_is_taken_back_along_legal_moves(store: Store, start: State, move: Move) -> None:
    with store.begin() as tx:
        ids = admit(tx, make_captures(3, domain="sums"))
        if start is State.PARKED:  # an admitted example has a score, one that is parked has none
            ids = _parked(tx)
    for example_id in ids:
        for step in _steps(start):
            curation.move(store, example_id=example_id, move=step, reason="so", actor="x", now=NOW)
    with store.begin() as tx:
        before = whole(tx)
    one = done(store, move, state=start)
    assert one.counts == {"moved": 3}
    one = undone(store, one)
    assert (one.state, one.counts, one.undone_by) == (OperationState.UNDONE, {"undone": 3}, "bo")
    with store.begin() as tx:
        assert whole(tx) == before
    assert sound(store, now=LATER + timedelta(hours=1))


def _parked(tx: Tx) -> list[int]:
    ingest(tx, make_captures(6, domain="sums")[3:])
    claimed = claim(tx)
    for candidate in claimed:
        silent = Unscored(reason="unparseable")
        assert decide(tx, candidate, Decision(move=Move.PARK, reason="unparseable"), answer=silent)
    return [candidate.id for candidate in claimed]


def _steps(start: State) -> tuple[Move, ...]:
    return () if start is State.PARKED else way(State.ADMITTED, start)


def test_what_was_said_of_those_that_wait_is_not_lost_by_moving_there_and_back(
    store: Store,
) -> None:
    flagged, once, differ, untouched = make_waiting(store, 4)
    with store.begin() as tx:
        tx.execute(text("UPDATE reviews SET needs = 2, valued_at = :now"), {"now": NOW})
    words = [(flagged, Act.FLAG, "ann"), (once, Act.APPROVE, "ann"), (differ, Act.APPROVE, "ann"),
             (differ, Act.REJECT, "bob"), (untouched, Act.SKIP, "ann")]  # fmt: skip
    said = {(example_id, name): act for example_id, act, name in words}
    for name in ("ann", "bob"):
        while held := take(store, name):
            act = said.get((held.example_id, name), Act.SKIP)
            say(store, held, act, name, reason="off_topic" if act is Act.REJECT else "")
    with store.begin() as tx:
        before = tx.execute(text(STAYS)).all()
    assert [(row.example_id, row.for_curator) for row in before] == [
        (flagged, True), (once, False), (differ, True), (untouched, False)
    ]  # fmt: skip
    undone(store, done(store, Move.APPROVE, domain="arithmetic"))
    with store.begin() as tx:
        after = tx.execute(text(STAYS)).all()
    assert after[:3] == before[:3]
    assert not after[3].for_curator


STAYS = "SELECT example_id, entry, needs, for_curator FROM reviews ORDER BY example_id"


def test_what_somebody_has_touched_since_is_left_as_it_is(mixed: Store) -> None:
    one = done(mixed, Move.FLAG, domain="sums")
    with mixed.begin() as tx:
        touched = tx.scalars(
            text("SELECT id FROM examples WHERE state = 'in_review' LIMIT 1")
        ).one()
    curation.move(
        mixed, example_id=touched, move=Move.REJECT, reason="wrong", actor="cy", now=LATER
    )
    one = undone(mixed, one)
    assert one.counts == {"undone": 29, "kept": 1, "illegal candidate": 10}
    with mixed.begin() as tx:
        assert count(tx, f"examples WHERE id = {touched} AND state = 'rejected'") == 1


def test_what_has_moved_between_looking_and_doing_is_not_moved(mixed: Store) -> None:
    one = listed(mixed, Move.RETIRE, domain="angles")
    with mixed.begin() as tx:
        first, second = tx.scalars(text("SELECT id FROM examples WHERE domain = 'angles' LIMIT 2"))
        tx.execute(text("DELETE FROM examples WHERE id = :id"), {"id": second})
    curation.move(mixed, example_id=first, move=Move.FLAG, reason="odd", actor="cy", now=NOW)
    operating.confirm(mixed, operation_id=one.id, now=LATER)
    assert gone_on(mixed, one.id).counts == {"moved": 3, "changed": 1, "gone": 1}


def test_nobody_moves_what_he_may_not_see(mixed: Store) -> None:
    assert listed(mixed, Move.RETIRE, domains=["angles"]).counts == {"waiting": 5}
    assert listed(mixed, Move.RETIRE, domains=["angles"], domain="sums").counts == {}
    assert listed(mixed, Move.RETIRE, domains=[]).counts == {}


def test_whoever_dies_in_the_middle_leaves_the_rest_to_be_done_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "BATCH", 7)
    monkeypatch.setattr(operations, "WINDOW", 9)
    with store.begin() as tx:
        admit(tx, make_captures(40))
    one = listed(store, Move.RETIRE)
    assert one.counts == {"waiting": 40}
    operating.confirm(store, operation_id=one.id, now=LATER)
    with pytest.raises(ZeroDivisionError):
        in_one_transaction(store, lambda tx: _move_some(tx, one.id), die)
    some = operating.go_on(store, operation_id=one.id, clock=lambda: LATER, seconds=0)
    assert (some.state, some.counts) == (OperationState.MOVING, {"moved": 7, "waiting": 33})
    (rest,) = operating.work(store, clock=lambda: LATER)
    assert rest.counts == {"moved": 40}
    with store.begin() as tx:
        assert count(tx, "transitions WHERE move = 'retire'") == 40
    assert operating.work(store, clock=lambda: LATER) == []


def _move_some(tx: Tx, operation_id: int) -> None:
    held = operations.operation(tx, operation_id=operation_id, hold=True)
    assert held
    operations.move_next(tx, held, now=LATER)


def test_two_who_look_at_once_take_turns(mixed: Store) -> None:
    one = listed(mixed, Move.RETIRE)
    operating.confirm(mixed, operation_id=one.id, now=LATER)
    with mixed.begin() as tx:
        assert operations.operation(tx, operation_id=one.id, hold=True)
        found = gone_on(mixed, one.id)
        assert (found.state, found.counts["waiting"]) == (OperationState.MOVING, 35)
    assert gone_on(mixed, one.id).state is OperationState.DONE


def test_an_operation_is_begun_confirmed_and_undone_only_when_that_makes_sense(
    mixed: Store,
) -> None:
    one = listed(mixed, Move.RETIRE, domain="angles")
    with pytest.raises(Conflict, match=f"operation {one.id} is listed"):
        operating.undo(mixed, operation_id=one.id, actor="bo", now=LATER)
    operating.discard(mixed, operation_id=one.id)
    with pytest.raises(Conflict, match="is discarded"):
        operating.confirm(mixed, operation_id=one.id, now=LATER)
    with pytest.raises(InvalidInput, match="no operation 99"):
        operating.operation(mixed, operation_id=99)
    with pytest.raises(InvalidInput, match="is the pipeline's move"):
        begun(mixed, Move.ADMIT)
    with pytest.raises(InvalidInput, match="needs a reason"):
        operating.begin(mixed, asked=Filter(), move=Move.FLAG, reason=" ", actor="a",
                        domains=None, now=NOW)  # fmt: skip


def test_what_is_not_scored_is_not_approved(store: Store) -> None:
    with store.begin() as tx:
        ids = admit(tx, make_captures(2))
        tx.execute(text("UPDATE examples SET state = 'in_review', quality = NULL WHERE id = :id"),
                   {"id": ids[0]})  # fmt: skip
        tx.execute(text("INSERT INTO transitions (example_id, from_state, to_state, move, reason,"
                        " detail, actor, policy_version, at) SELECT id, 'admitted', 'in_review',"
                        " 'flag', '', '', 'x', 1, moved_at FROM examples"))  # fmt: skip
    assert listed(store, Move.APPROVE).counts == {"unscored": 1, "illegal admitted": 1}


def test_programs_that_learned_from_what_leaves_are_stale(store: Store) -> None:
    with store.begin() as tx:
        admit(tx, make_captures(9))
        keep(tx, freeze(tx))
    done(store, Move.RETIRE)
    with store.begin() as tx:
        assert count(tx, "programs WHERE stale") == 1


def test_the_counts_are_right_after_thousands_were_moved_there_and_back(store: Store) -> None:
    fill(store, 3000, domains=3)
    before = _told(store)
    one = done(store, Move.REPLAY, state="rejected")
    assert one.counts == {"moved": 450}
    assert _told(store) != before
    with store.begin() as tx:
        counts.fold(tx)
    undone(store, one)
    assert _told(store) == before


def _told(store: Store) -> list[Any]:
    with store.begin() as tx:
        return sorted(counts.cells(tx, asked=Filter(), domains=None, limit=10_000))


@pytest.mark.usefixtures("mixed")
def test_the_command_shows_moves_and_takes_back(tdsys: Shell) -> None:
    words = ("examples", "bulk", "--domain", "sums", "--move", "retire", "--because", "old")
    said = tdsys(*words, "--dry-run")
    assert "30 would move, 10 left alone (illegal candidate)" in said.out
    assert tdsys(*words).code == 2
    told = tdsys(*words, "--yes", "--json").document
    assert (told["state"], told["counts"]["moved"]) == ("done", 30)
    assert "30 moved back" in tdsys("examples", "undo", str(told["id"])).out
    assert tdsys("examples", "undo", str(told["id"])).code == 1
    assert "domain=sums" in tdsys("examples", "operations").out
    assert len(tdsys("examples", "operations", "--json").document) == 2
    assert tdsys(*words, "--quality-from", "much", "--yes").code == 2
