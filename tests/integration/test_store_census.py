"""Counting: what is there, why it is there, and how old it is."""

from __future__ import annotations

import pytest

from tdsys.core.arrival import from_capture
from tdsys.core.example import Source
from tdsys.core.lifecycle import Move
from tdsys.core.rubric import Decision
from tdsys.store import Store, Tx, examples
from tdsys.store.examples import CellCount, Count, Labelled, ReasonCount
from tests.factories import NOW, make_capture, make_captures
from tests.stored import LEASE, admit, claim, decide, ingest


def reject(tx: Tx, reason: str) -> None:
    """Reject whatever is due."""
    for candidate in claim(tx):
        decide(tx, candidate, Decision(move=Move.REJECT, reason=reason, quality=0.1))


def imported(tx: Tx) -> None:
    arrivals = [from_capture(make_capture())]
    examples.add(tx, arrivals=arrivals, source=Source.IMPORTED, due_at=NOW, now=NOW)


def test_an_empty_store_counts_nothing(store: Store) -> None:
    with store.begin() as tx:
        assert not [*examples.counts(tx), *examples.reasons(tx), *examples.labelled(tx)]
        assert not [*examples.cells(tx, domain="algebra")]
        assert examples.pending(tx, domain="algebra") == 0
        assert examples.arrivals(tx, domain="algebra") is None


@pytest.mark.criterion("4.5")
def test_examples_are_counted_by_source_state_cell_and_reason(store: Store) -> None:
    easy, hard = {"topic": "sums", "difficulty": "easy"}, {"topic": "sums", "difficulty": "hard"}
    with store.begin() as tx:
        admit(tx, make_captures(3, domain="algebra", inputs=easy))
        ingest(tx, make_captures(2, domain="algebra", inputs=hard))
        reject(tx, "steps")
        examples.add(
            tx, arrivals=[from_capture(make_capture())], source=Source.IMPORTED, due_at=NOW, now=NOW
        )
        assert examples.counts(tx) == [
            Count("algebra", "captured", "admitted", 3),
            Count("algebra", "captured", "rejected", 2),
            Count("arithmetic", "imported", "candidate", 1),
        ]
        assert examples.cells(tx, domain="algebra") == [
            CellCount("sums", "easy", "admitted", 3),
            CellCount("sums", "hard", "rejected", 2),
        ]
        assert examples.reasons(tx) == [
            ReasonCount("algebra", "admitted", "meets_policy", 3),
            ReasonCount("algebra", "rejected", "steps", 2),
            ReasonCount("arithmetic", "candidate", None, 1),
        ]


def test_pending_are_those_not_decided_and_recent_ones_can_be_told_apart(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, make_captures(5))
        claim(tx, limit=2)
        assert examples.pending(tx, domain="arithmetic") == 5
        assert examples.pending(tx, domain="arithmetic", since=NOW - LEASE) == 5
        assert examples.pending(tx, domain="arithmetic", since=NOW) == 0
        assert examples.arrivals(tx, domain="arithmetic") == (NOW, NOW)


def test_captures_are_counted_by_the_fault_they_are_labelled_with(store: Store) -> None:
    first = make_capture(domain="other")
    with store.begin() as tx:
        admit(tx, make_captures(4))
        ingest(tx, make_captures(2, domain="algebra", metadata={"fault": "wrong_answer"}))
        reject(tx, "answer")
        ingest(tx, make_captures(3, metadata={"fault": "duplicate"}))
        ingest(tx, [first, make_capture(capture_id=first.capture_id)])
        assert examples.labelled(tx) == [
            Labelled("duplicate", "duplicate", "same_content", 3),
            Labelled("wrong_answer", "rejected", "answer", 2),
            Labelled(None, "admitted", "meets_policy", 4),
            Labelled(None, "candidate", None, 1),
            Labelled(None, "duplicate", "same_id_other_content", 1),
        ]


def test_imported_duplicates_are_no_captures(store: Store) -> None:
    with store.begin() as tx:
        for _ in range(2):
            imported(tx)
        assert examples.labelled(tx) == []
