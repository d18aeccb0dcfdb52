"""What a worker does with a message that carries data: it ends as rows, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, event, select, text

from tdsys import wire
from tdsys.client import MemorySpool, Shipper
from tdsys.core.policy import Policy
from tdsys.core.sections import AlertRules
from tdsys.errors import StoreUnavailable
from tdsys.inbox import LAST_ENTRY, Inbox
from tdsys.stages import capture, policies
from tdsys.store import Store, alerts
from tdsys.store.schema import capture_refusals, examples
from tdsys.store.values import storable
from tdsys.wire import Task
from tests.desk import Desk, a_worker
from tests.factories import NOW
from tests.factories import make_record as record
from tests.processes import wait_for

TOO_DEEP = "[" * 100_000 + "]" * 100_000


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
def a_bug(store: Store, *, seconds: float = 0, domain: str = "") -> Iterator[None]:
    """Postgres refuses new examples (of one domain), for a reason nobody has thought of."""
    with store.begin() as tx:
        tx.execute(
            text(
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN PERFORM pg_sleep({seconds}); RAISE EXCEPTION 'a bug'; END $$"
            )
        )
        tx.execute(
            text(
                "CREATE TRIGGER bug BEFORE INSERT ON examples FOR EACH ROW "
                f"WHEN ('{domain}' IN ('', NEW.domain)) EXECUTE FUNCTION bug()"
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
    wait_for(lambda: not desk.waiting(), "nothing waits")


@pytest.mark.parametrize(
    "fields",
    [{"x": "y"}, {"batch": b"\xff\x00", "records": b"\xff"}, {"batch": "b1", "records": ""}],
    ids=["foreign", "binary", "empty"],
)
def test_an_entry_that_no_client_wrote_is_kept_as_a_refusal_and_the_next_is_read(
    desk: Desk, store: Store, fields: dict[str, Any]
) -> None:
    desk.add(fields)
    desk.put(json.dumps([record()]), batch_id="b2")
    wait_for(lambda: desk.acknowledged("b2"), "the next is read")
    assert [code for _, _, code, _ in refusals(store)] == ["unreadable"]
    assert (stored(store), desk.waiting()) == (1, 0)


def test_one_bell_brings_everything_in_that_waits(desk: Desk, store: Store) -> None:
    for n in range(300):
        desk.add({"batch": f"b{n}", "records": json.dumps([record()])})
    desk.send(Task.INGEST)
    wait_for(lambda: not desk.waiting(), "nothing waits")
    assert stored(store) == 300


def test_an_unexpected_failure_is_tried_again_until_it_is_mended(desk: Desk, store: Store) -> None:
    with a_bug(store):
        desk.put(json.dumps([record()]))
        wait_for(lambda: "batch 'b1' failed, time 1" in desk.log(), "it fails")
        assert not desk.acknowledged()
    wait_for(lambda: desk.rings() and desk.acknowledged(), "the client is told")
    assert stored(store) == 1


def test_a_worker_killed_at_a_batch_leaves_it_to_the_next(desk: Desk, store: Store) -> None:
    with a_bug(store, seconds=5):
        desk.put(json.dumps([record()]))
        wait_for(lambda: _sleeps(store), "the worker is at it")
        desk.kill_pool()
    wait_for(lambda: desk.rings() and desk.acknowledged(), "the client is told")
    assert (stored(store), refusals(store)) == (1, [])


def _sleeps(store: Store) -> bool:
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with store.begin() as tx:
        return bool(tx.scalar(text(asleep)))


def test_what_beat_sent_too_long_ago_is_dropped_unread(desk: Desk) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for _ in range(20):
        desk.send(Task.FRESHNESS, expires=past)
    desk.send(Task.FRESHNESS)
    wait_for(lambda: "reports.freshness: " in desk.log(), "the one that is in time is worked off")
    assert desk.log().count("Discarding revoked task: reports.freshness") == 20
    assert desk.log().count("reports.freshness: ") == 1


@pytest.fixture
def inbox(redis_url: str) -> Inbox:
    broker: Redis = Redis.from_url(redis_url)
    broker.flushdb()
    return Inbox(broker, lease=timedelta(minutes=1))


def leases_end(inbox: Inbox) -> None:
    """A minute passes for every batch that was taken."""
    broker = inbox._broker
    taken: Any = broker.xpending_range(wire.CAPTURES, wire.INGESTING, "-", "+", 100)
    for each in taken:
        ids = [each["message_id"]]
        broker.xclaim(wire.CAPTURES, wire.INGESTING, "worker", 0, ids, idle=60_000, justid=True)


def handed_out(inbox: Inbox) -> list[tuple[str, int]]:
    """What is due, with how often it was handed out."""
    return [(one.batch_id, one.times) for one in inbox.deliveries()]


def put(inbox: Inbox, batch_id: str, *records: dict[str, Any]) -> None:
    fields: dict[Any, Any] = {"batch": batch_id, "records": json.dumps(records)}
    inbox._broker.xadd(wire.CAPTURES, fields)


def drain(store: Store, inbox: Inbox) -> capture.Drained:
    return capture.drain(store, inbox, clock=lambda: NOW)


def test_while_postgres_is_away_batches_wait_uncounted(store: Store, inbox: Inbox) -> None:
    away = Store("postgresql://nobody@127.0.0.1:1/none")
    put(inbox, "b1", record())
    for _ in range(3 * capture.TRIES):
        with pytest.raises(StoreUnavailable):
            drain(away, inbox)
    assert inbox.waiting() == 1
    assert drain(store, inbox).new == 1
    assert inbox.waiting() == 0


def test_what_fails_time_and_again_is_kept_as_refusals_and_acknowledged(
    store: Store, inbox: Inbox
) -> None:
    records = [record(outputs={"problem": "x" * 5000}), record()]
    put(inbox, "b1", *records)
    with a_bug(store):
        for _ in range(capture.TRIES):
            assert drain(store, inbox)[:3] == (1, 0, 1)
            leases_end(inbox)
        assert drain(store, inbox)[:3] == (1, 0, 0)
    assert [json.loads(raw) for _, _, _, raw in refusals(store)] == records
    assert (stored(store), inbox.waiting()) == (0, 0)


@pytest.mark.criterion("1.5")
def test_what_the_service_does_not_take_is_no_success_to_the_client_that_sent_it(
    desk: Desk, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first = record()
    capture.ingest(store, batch_id="b0", records=json.dumps([first]), now=NOW)
    spool = MemorySpool()
    other = record(capture_id=first["capture_id"])
    for sent in [record(), first, record(domain=" a typo"), other, record(outputs=5)]:
        spool.append(json.dumps(sent).encode())
    client = Shipper("", spool)

    def settled() -> bool:
        client.step(desk.broker)
        return not spool.waiting()

    wait_for(settled, "the worker has answered")
    assert stored(store) == 2
    assert client.stats() == (2, 0, {"refused": 2, "conflicting": 1})
    assert client.counts()["dropped"] == {"refused": 2, "conflicting": 1}
    assert "tdsys quarantine captures" in caplog.text


def test_a_batch_read_ahead_of_an_outage_was_not_tried(store: Store, inbox: Inbox) -> None:
    away = Store("postgresql://nobody@127.0.0.1:1/none")
    put(inbox, "b1", record())
    put(inbox, "b2", record())
    with pytest.raises(StoreUnavailable):
        drain(away, inbox)
    assert handed_out(inbox) == [("b1", 1), ("b2", 1)]
    leases_end(inbox)
    assert drain(store, inbox).new == 2


def test_a_batch_that_ends_whoever_reads_it_is_kept_unread_in_the_end(
    store: Store, inbox: Inbox
) -> None:
    put(inbox, "b1", record())
    for _ in range(2 * capture.TRIES):
        next(inbox.deliveries())
        leases_end(inbox)
    assert drain(store, inbox).new == 0
    ((_, _, code, raw),) = refusals(store)
    assert (code, raw[0]) == ("not_stored", "[")


def test_a_batch_id_writes_no_line_of_the_log(
    store: Store, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(inbox, "b1\nERROR all is lost\x1b[2J", record())
    with a_bug(store):
        drain(store, inbox)
    (said,) = [each.getMessage() for each in caplog.records if each.name == "tdsys.capture"]
    assert said.isprintable()


def test_a_failing_batch_does_not_stand_in_the_way_of_the_next(store: Store, inbox: Inbox) -> None:
    put(inbox, "b1", record(domain="bad"))
    put(inbox, "b2", record())
    with a_bug(store, domain="bad"):
        found = drain(store, inbox)
    assert (found.new, found.failed, inbox.waiting()) == (1, 1, 1)


def test_a_batch_that_was_taken_is_not_handed_out_again_before_its_lease_is_over(
    inbox: Inbox,
) -> None:
    put(inbox, "b1", record())
    assert handed_out(inbox) == [("b1", 1)]
    assert handed_out(inbox) == []
    leases_end(inbox)
    again = next(inbox.deliveries())
    assert (again.batch_id, again.times) == ("b1", 2)
    inbox.give_back(again)
    assert handed_out(inbox) == [("b1", 2)]


def test_overdue_batches_are_found_behind_many_that_are_not(inbox: Inbox) -> None:
    for n in range(60):
        put(inbox, f"b{n}")
    taken = list(inbox.deliveries())
    inbox.give_back(taken[-1])
    assert handed_out(inbox) == [("b59", 1)]


def test_an_emptied_redis_is_an_empty_inbox(inbox: Inbox) -> None:
    put(inbox, "b1", record())
    inbox._broker.flushdb()
    assert list(inbox.deliveries()) == []


def test_a_stream_whose_last_id_a_producer_used_up_takes_captures_again(
    store: Store, inbox: Inbox
) -> None:
    inbox._broker.xadd(wire.CAPTURES, {"batch": "b1", "records": "[]"}, id=LAST_ENTRY)
    with pytest.raises(ResponseError):
        put(inbox, "b2", record())
    drain(store, inbox)
    drain(store, inbox)
    put(inbox, "b2", record())
    assert drain(store, inbox).new == 1


def test_a_batch_is_one_statement_in_a_transaction_of_its_own(store: Store) -> None:
    sent: list[str] = []

    def watch(_: Any, __: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", watch)
    try:
        bad = record(outputs="no")
        outcome = capture.ingest(store, batch_id="b1", records=json.dumps([record(), bad]), now=NOW)
    finally:
        event.remove(Engine, "before_cursor_execute", watch)
    assert (outcome.new, outcome.refused) == (1, 1)
    assert len(sent) == 1
    assert stored(store) == 1


def test_a_bell_for_alerts_has_every_policy_looked_at(desk: Desk, store: Store) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    rules = Policy(alerts=AlertRules(no_capture_hours=24))
    policies.put(store, domain="sums", policy=rules, author="ann", now=long_ago)
    desk.send(Task.ALERTS)

    def fired() -> list[str]:
        with store.begin() as tx:
            return alerts.firing(tx)

    assert wait_for(fired, "the alert fires") == ["no_capture: sums"]
