"""What a worker does with a message that carries data: it ends as rows, whatever happens."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select, text

from tdsys import wire
from tdsys.stages import capture
from tdsys.store import Store
from tdsys.store.schema import capture_refusals, examples
from tdsys.store.values import storable
from tdsys.wire import Task
from tests.desk import UNACKED, Desk, a_worker
from tests.factories import NOW, PROBLEM
from tests.processes import wait_for

TOO_DEEP = "[" * 100_000 + "]" * 100_000


def record(**over: Any) -> dict[str, Any]:
    return {
        "capture_id": str(uuid.uuid4()),
        "domain": "d",
        "captured_at": NOW.isoformat(),
        "inputs": {"topic": "sums"},
        "outputs": {**PROBLEM, "problem": f"What is {uuid.uuid4()}?"},
        **over,
    }


def refusals(store: Store) -> list[tuple[str, int, str, str]]:
    kept = capture_refusals.c
    with store.begin() as tx:
        rows = tx.execute(select(kept.batch_id, kept.position, kept.code, kept.raw))
        return sorted((row.batch_id, row.position, row.code, row.raw) for row in rows)


def stored(store: Store) -> int:
    with store.begin() as tx:
        return len(tx.execute(select(examples.c.id)).all())


@pytest.mark.parametrize(
    "records", ["{not JSON", "7", '{"a": 1}', "", "\x00\ud800", TOO_DEEP], ids=range(6)
)
def test_a_batch_that_cannot_be_read_is_one_refusal_with_its_text(
    store: Store, records: str
) -> None:
    outcome = capture.ingest(store, batch_id="b1", records=records, now=NOW)
    assert (outcome.new, outcome.refused) == (0, 1)
    excerpt = storable(records)[: capture.EXCERPT]
    assert refusals(store) == [("b1", 0, "unreadable", excerpt)]
    assert capture.ingest(store, batch_id="b1", records=records, now=NOW).repeated


def test_an_integer_too_long_for_python_sinks_its_record_alone(store: Store) -> None:
    good = json.dumps(record())
    bad = json.dumps(record(metadata={"n": "N"})).replace('"N"', "1" * 5000)
    outcome = capture.ingest(store, batch_id="b1", records=f"[{good}, {bad}]", now=NOW)
    assert (outcome.new, outcome.refused) == (1, 1)


def test_a_batch_that_is_given_up_keeps_the_whole_text_of_each_record(store: Store) -> None:
    records = [record(outputs={"problem": "x" * 5000}) for _ in range(3)]
    outcome = capture.give_up(
        store, batch_id="b1", records=json.dumps(records), reason="a bug", now=NOW
    )
    assert (outcome.new, outcome.refused) == (0, 3)
    assert [json.loads(raw) for _, _, _, raw in refusals(store)] == records


def test_copies_of_a_batch_do_not_multiply_while_postgres_is_away(
    redis_url: str, tmp_path: Path
) -> None:
    Redis.from_url(redis_url).flushdb()
    with a_worker(redis_url, "postgresql://nobody@127.0.0.1:1/none", tmp_path) as desk:
        for _ in range(5):
            desk.put(json.dumps([record()]))
        desk.put(json.dumps([record()]), batch_id="b2")
        wait_for(lambda: desk.unread() == 0 and desk.in_hand() == 2, "one message of each batch")
        tries = desk.log().count("capture.ingest waits")
        wait_for(lambda: desk.log().count("capture.ingest waits") >= tries + 2, "more tries")
        wait_for(lambda: desk.unread() == 0 and desk.in_hand() == 2, "one message of each batch")


@pytest.fixture(scope="module")
def running(
    redis_url: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    with a_worker(redis_url, database_url, tmp_path_factory.mktemp("worker")) as desk:
        yield desk


@pytest.fixture
def desk(running: Desk, store: Store) -> Desk:  # noqa: ARG001  # the worker finds it empty
    running.broker.flushdb()
    return running


@contextmanager
def a_bug(store: Store, *, seconds: float = 0) -> Iterator[None]:
    """Postgres refuses every new body, for a reason nobody has thought of."""
    with store.begin() as tx:
        tx.execute(
            text(
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN PERFORM pg_sleep({seconds}); RAISE EXCEPTION 'a bug'; END $$"
            )
        )
        tx.execute(
            text(
                "CREATE TRIGGER bug BEFORE INSERT ON example_bodies "
                "FOR EACH ROW EXECUTE FUNCTION bug()"
            )
        )
    try:
        yield
    finally:
        with store.begin() as tx:
            tx.execute(text("DROP FUNCTION bug CASCADE"))


def test_a_batch_that_cannot_be_read_is_acknowledged_like_any_other(
    desk: Desk, store: Store
) -> None:
    desk.put(TOO_DEEP)
    wait_for(desk.acknowledged, "the client is told")
    assert [code for _, _, code, _ in refusals(store)] == ["unreadable"]


def waiting(desk: Desk) -> bytes:
    """The messages the worker holds, their bodies in base64."""
    held: Any = desk.broker.hvals(UNACKED)
    return b"".join(held)


def test_an_unexpected_failure_is_tried_again_until_it_is_mended(desk: Desk, store: Store) -> None:
    with a_bug(store):
        desk.put(json.dumps([record()]))
        wait_for(lambda: desk.broker.exists(wire.waiting_key("b1")), "the batch waits")
        assert not desk.acknowledged()
        wait_for(lambda: b'"retries": 1' in waiting(desk), "the next try is in hand")
        # as plain text it would be in what Flower and the log show
        assert b"What is" not in waiting(desk)
    wait_for(desk.acknowledged, "the client is told")
    assert stored(store) == 1
    wait_for(lambda: not desk.in_hand(), "the message is gone")


def test_what_fails_time_and_again_is_kept_as_refusals_and_acknowledged(
    desk: Desk, store: Store
) -> None:
    records = [record(), record()]
    with a_bug(store):
        desk.put(json.dumps(records), unexpected=8)
        wait_for(desk.acknowledged, "the client is told")
    assert [json.loads(raw) for _, _, _, raw in refusals(store)] == records
    assert stored(store) == 0


def test_how_often_it_failed_unexpectedly_travels_with_the_message(
    desk: Desk, store: Store
) -> None:
    with a_bug(store):
        desk.put(json.dumps([record()]), unexpected=6)
        wait_for(desk.acknowledged, "the client is told")
    assert "capture.ingest failed, time 9" in desk.log()


def test_a_broker_too_full_for_the_next_try_does_not_lose_the_batch(
    desk: Desk, store: Store
) -> None:
    with a_bug(store, seconds=1):
        desk.put(json.dumps([record()]))
        wait_for(lambda: not desk.unread() and desk.in_hand(), "the worker is at it")
        limit: Any = desk.broker.config_get("maxmemory")
        desk.broker.config_set("maxmemory", "1")
        try:
            wait_for(
                lambda: "broker does not take" in desk.log() or not desk.in_hand(), "it failed"
            )
        finally:
            desk.broker.config_set("maxmemory", limit["maxmemory"])
    wait_for(desk.acknowledged, "the client is told")
    assert stored(store) == 1


def test_what_beat_sent_too_long_ago_is_dropped_unread(desk: Desk) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for _ in range(20):
        desk.send(Task.FRESHNESS, {}, expires=past)
    desk.send(Task.FRESHNESS, {})
    wait_for(lambda: "reports.freshness: " in desk.log(), "the one that is in time is worked off")
    assert desk.log().count("Discarding revoked task: reports.freshness") == 20
    assert desk.log().count("reports.freshness: ") == 1
