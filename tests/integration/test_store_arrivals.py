"""Captures arrive exactly once: batches, duplicates, conflicts, and rows Postgres cannot hold."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from tdsys.core.arrival import from_capture
from tdsys.core.example import Capture, Source
from tdsys.core.policy import Policy
from tdsys.store import Store, examples, policies
from tdsys.store.examples import Batch, Ingested, Refusal
from tdsys.store.schema import capture_duplicates, capture_refusals
from tests.factories import NOW, PROBLEM, make_capture, make_captures
from tests.stored import claim, count, ingest


def answer(value: str) -> dict[str, Any]:
    return {**PROBLEM, "answer": value}


@pytest.mark.criterion("1.1")
@pytest.mark.criterion("1.2")
def test_a_capture_becomes_a_candidate_with_its_content_in_order(store: Store) -> None:
    capture = make_capture(outputs={"solution": "z", "problem": "y", "answer": "x"})
    with store.begin() as tx:
        assert ingest(tx, [capture]) == Ingested(new=1)
        (candidate,) = claim(tx)
    assert (candidate.domain, candidate.cell) == (capture.domain, capture.cell)
    assert candidate.source is Source.CAPTURED
    assert candidate.inputs == capture.inputs
    assert list(candidate.outputs.items()) == list(capture.outputs.items())


def test_a_batch_that_is_sent_again_changes_nothing(store: Store) -> None:
    captures = make_captures(5)
    with store.begin() as tx:
        first = ingest(tx, [*captures, captures[0]], batch="b1")
    with store.begin() as tx:
        again = ingest(tx, make_captures(9, domain="another"), batch="b1")
        assert policies.domains(tx) == ["arithmetic"]
        assert count(tx, "examples") == 5
    assert again == first._replace(repeated=True)


def test_the_same_batch_from_two_workers_at_once_is_stored_once(store: Store) -> None:
    captures, barrier = make_captures(50), Barrier(2)

    def work(_: int) -> Ingested:
        with store.begin() as tx:
            barrier.wait()
            return ingest(tx, captures, batch="b1")

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(work, range(2)))
    assert sorted(outcome.repeated for outcome in outcomes) == [False, True]
    assert {outcome.new for outcome in outcomes} == {50}
    with store.begin() as tx:
        assert count(tx, "examples") == 50


def test_overlapping_batches_from_many_workers_neither_deadlock_nor_double(store: Store) -> None:
    captures, barrier = make_captures(80), Barrier(4)

    def work(n: int) -> Ingested:
        order = captures[n * 10 : n * 10 + 50]
        with store.begin() as tx:
            barrier.wait()
            return ingest(tx, order[:: (-1) ** n])

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(work, range(4)))
    assert sum(outcome.new for outcome in outcomes) == 80
    assert sum(outcome.resent for outcome in outcomes) == 120
    with store.begin() as tx:
        assert (count(tx, "examples"), count(tx, "example_bodies")) == (80, 80)
        assert count(tx, "capture_duplicates") == 0


def test_batches_in_opposite_order_wait_for_each_other_but_never_for_ever(store: Store) -> None:
    first, middle, last = make_captures(3)
    with store.begin() as tx:
        ingest(tx, make_captures(4)[3:])  # so that the domain is there

    def work(order: list[Capture]) -> Ingested:
        with store.begin() as tx:
            return ingest(tx, order)

    with ThreadPoolExecutor(2) as threads:
        with store.begin() as holder:  # keeps both from getting past the middle
            ingest(holder, [middle])
            going = [
                threads.submit(work, order)
                for order in ([first, middle, last], [last, middle, first])
            ]
            wait_until_two_wait(store)
            holder.rollback()
        outcomes = [each.result() for each in going]
    assert sorted(outcome.new for outcome in outcomes) == [0, 3]


WAITING = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_until_two_wait(store: Store) -> None:
    deadline = time.monotonic() + 10
    with store.begin() as tx:
        while count(tx, WAITING) < 2:
            assert time.monotonic() < deadline
            tx.execute(text("SELECT pg_stat_clear_snapshot()"))


def test_captures_sent_again_in_another_batch_are_only_counted(store: Store) -> None:
    captures = make_captures(4)
    with store.begin() as tx:
        ingest(tx, captures)
        assert ingest(tx, [*captures, *make_captures(6)[4:]]) == Ingested(new=2, resent=4)
        assert count(tx, "capture_duplicates") == 0


def test_the_same_content_under_another_id_is_a_duplicate_and_keeps_its_label(
    store: Store,
) -> None:
    twin = make_capture(metadata={"fault": "duplicate"})
    with store.begin() as tx:
        ingest(tx, [make_capture()])
        assert ingest(tx, [twin]) == Ingested(duplicate=1)
        assert ingest(tx, [twin]) == Ingested(resent=1)
        (row,) = tx.execute(select(capture_duplicates))
    assert (row.capture_id, row.fingerprint) == (twin.capture_id, twin.fingerprint)
    assert (row.metadata, row.payload) == ({"fault": "duplicate"}, None)


def test_letter_case_and_white_space_make_no_new_content(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(outputs=answer("Thirty  six"))])
        assert ingest(tx, [make_capture(outputs=answer("thirty six "))]).duplicate == 1


def test_within_one_batch_the_first_of_equal_captures_is_the_example(store: Store) -> None:
    first, second = make_capture(), make_capture()
    with store.begin() as tx:
        assert ingest(tx, [first, second, first]) == Ingested(new=1, duplicate=1, resent=1)
        assert tx.scalar(text("SELECT capture_id FROM examples")) == first.capture_id


def test_the_same_id_with_other_content_is_kept_as_a_conflict(store: Store) -> None:
    first = make_capture()
    other = make_capture(capture_id=first.capture_id, outputs=answer("37"))
    with store.begin() as tx:
        ingest(tx, [first])
        assert ingest(tx, [other]) == Ingested(conflicting=1)
        assert ingest(tx, [other, first]) == Ingested(conflicting=1, resent=1)
        (row,) = tx.execute(select(capture_duplicates))
        (candidate,) = claim(tx)
    assert row.conflicting
    assert row.payload == {"inputs": other.inputs, "outputs": other.outputs, "metadata": {}}
    assert candidate.outputs == first.outputs


def test_the_id_of_a_duplicate_is_used_up_too(store: Store) -> None:
    twin = make_capture()
    changed = make_capture(capture_id=twin.capture_id, outputs=answer("37"))
    with store.begin() as tx:
        ingest(tx, [make_capture(), twin])
        assert ingest(tx, [changed]) == Ingested(conflicting=1)
        assert count(tx, "examples") == 1


def test_one_id_with_two_contents_in_one_batch_makes_one_example(store: Store) -> None:
    first = make_capture()
    other = make_capture(capture_id=first.capture_id, outputs=answer("37"))
    with store.begin() as tx:
        assert ingest(tx, [first, other]) == Ingested(new=1, conflicting=1)
        assert (count(tx, "examples"), count(tx, "example_bodies")) == (1, 1)


def test_a_new_domain_gets_the_default_policy(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, [*make_captures(1, domain="algebra"), *make_captures(1, domain="geometry")])
        assert policies.currents(tx) == {"algebra": (1, Policy()), "geometry": (1, Policy())}


@pytest.mark.criterion("3.3")
def test_a_closed_domain_collects_nothing_and_says_so(store: Store) -> None:
    with store.begin() as tx:
        policies.put(tx, domain="algebra", policy=Policy(collection="off"), author="me", now=NOW)
        captures = [*make_captures(2, domain="algebra"), *make_captures(1, domain="geometry")]
        assert ingest(tx, captures) == Ingested(new=1, refused=2)
        assert {row.code for row in tx.execute(select(capture_refusals))} == {"collection_off"}


def test_refusals_are_kept_at_their_place_in_the_batch(store: Store) -> None:
    refused = [Refusal(n, "invalid", "inputs", "why", "raw") for n in (0, 2)]
    with store.begin() as tx:
        policies.put(tx, domain="closed", policy=Policy(collection="off"), author="me", now=NOW)
        captures = [make_capture(), make_capture(domain="closed")]
        arrivals = dict(zip((1, 3), map(from_capture, captures), strict=True))
        outcome = examples.ingest(tx, batch_id="b1", batch=Batch(arrivals, refused), now=NOW)
        found = {r.position: r.code for r in tx.execute(select(capture_refusals))}
    assert outcome == Ingested(new=1, refused=3)
    assert found == {0: "invalid", 2: "invalid", 3: "collection_off"}


@pytest.mark.parametrize("harmless", ["\\u0000", "\\\\u0000", "C:\\u0000\\x", "%s %(x)s :x", "'"])
def test_text_that_only_looks_dangerous_is_kept_as_it_is(store: Store, harmless: str) -> None:
    with store.begin() as tx:
        assert ingest(tx, [make_capture(outputs={"problem": harmless})]).new == 1
        (candidate,) = claim(tx)
    assert candidate.outputs == {"problem": harmless}


def test_an_offset_that_postgres_does_not_know_is_only_another_clock(store: Store) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=20, minutes=1)))
    with store.begin() as tx:
        assert ingest(tx, [make_capture(captured_at=elsewhere)]).new == 1
        assert tx.scalar(text("SELECT captured_at FROM examples")) == NOW


def test_what_the_offline_model_made_is_labelled_simulated(store: Store) -> None:
    with store.begin() as tx:
        ingest(tx, [make_capture(metadata={"simulated": True})])
        (candidate,) = claim(tx)
    assert candidate.simulated


@pytest.mark.criterion("8.4")
def test_other_sources_are_added_the_same_way_without_a_batch(store: Store) -> None:
    captures = make_captures(3)
    later = NOW + timedelta(minutes=1)
    with store.begin() as tx:
        ingest(tx, [make_capture(outputs=captures[0].outputs)])
        arrivals = [from_capture(capture) for capture in captures]
        added = examples.add(tx, arrivals=arrivals, source=Source.IMPORTED, due_at=later, now=NOW)
        assert (added.new, added.duplicate, added.resent) == (2, 1, 0)
        assert {c.source for c in claim(tx)} == {Source.CAPTURED}
        assert {c.source for c in claim(tx, now=later)} == {Source.CAPTURED, Source.IMPORTED}


def test_an_empty_batch_is_a_batch(store: Store) -> None:
    with store.begin() as tx:
        assert ingest(tx, [], batch="b1") == Ingested()
        assert ingest(tx, [], batch="b1") == Ingested(repeated=True)


IDS = [uuid.UUID(int=n) for n in range(4)]
sent = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from("abc")), max_size=8)


@given(st.lists(sent, max_size=4))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_sent_every_capture_is_accounted_for_exactly_once(
    store: Store, batches: Sequence[Sequence[tuple[UUID, str]]]
) -> None:
    with store.begin() as tx:
        outcomes = [
            ingest(tx, [make_capture(capture_id=i, outputs=answer(a)) for i, a in batch])
            for batch in batches
        ]
        stored = {
            tuple(r) for r in tx.execute(text("SELECT capture_id, fingerprint FROM examples"))
        }
        held = {
            tuple(r)
            for r in tx.execute(text("SELECT capture_id, fingerprint FROM capture_duplicates"))
        }
        tx.rollback()
    for batch, found in zip(batches, outcomes, strict=True):
        assert sum(found) == len(batch)
    assert len(stored) + len(held) == len({pair for batch in batches for pair in batch})
    assert not stored & held
    assert len({capture_id for capture_id, _ in stored}) == len(stored)
    assert len({content for _, content in stored}) == len(stored)
