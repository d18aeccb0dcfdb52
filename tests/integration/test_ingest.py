"""What a worker does with a message that carries data: it ends as rows, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, event, select, text

from tdsys import wire
from tdsys.stages import capture
from tdsys.store import Store
from tdsys.store.schema import capture_refusals, examples
from tdsys.store.values import storable
from tdsys.wire import Task
from tests.factories import NOW, PROBLEM
from tests.processes import wait_for

ROOT = Path(__file__).parents[2]
UNACKED = wire.PREFIX + "unacked"
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


class Desk:
    """A real worker for captures and reports, and the queue in front of it."""

    def __init__(self, broker: Redis, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.broker, self._log, self._process = broker, log, process

    def log(self) -> str:
        return self._log.read_text()

    def ends(self) -> None:
        """Kill it with its pool: asked to end it might take its time, with tries to come."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def put(self, records: str, *, batch_id: str = "b1", **headers: Any) -> None:
        self.send(Task.INGEST, {"batch_id": batch_id, "records": records}, **headers)

    def send(self, task: Task, arguments: dict[str, str], **headers: Any) -> None:
        message = json.loads(wire.envelope(task, arguments))
        message["headers"].update(headers)
        self.broker.lpush(wire.queue_key(task.queue), json.dumps(message))

    def acknowledged(self, batch_id: str = "b1") -> bool:
        return bool(self.broker.exists(wire.acknowledgement_key(batch_id)))

    def unread(self) -> int:
        return int(self.broker.llen(wire.queue_key(wire.Queue.CAPTURE)))

    def in_hand(self) -> int:
        return int(self.broker.hlen(UNACKED))


@contextmanager
def a_worker(redis_url: str, database_url: str, folder: Path) -> Iterator[Desk]:
    broker: Redis = Redis.from_url(redis_url)
    log = folder / "worker.log"
    queues = "capture,reports"
    command = ["-m", "celery", "-A", "tdsys.worker.app", "worker", "-n", "desk@%h", "-Q", queues]
    env = {
        **os.environ,
        "TDSYS_HOME": str(folder),
        "TDSYS_REDIS_URL": redis_url,
        "TDSYS_DATABASE_URL": database_url,
    }
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, *command, "-c", "1", "--without-mingle", "--without-gossip", "-lINFO"],
            env=env,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        desk = Desk(broker, log, process)
        try:
            wait_for(lambda: " ready." in desk.log(), "the worker is ready")
            yield desk
        finally:
            desk.ends()
            broker.close()


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


def test_an_unexpected_failure_is_tried_again_until_it_is_mended(desk: Desk, store: Store) -> None:
    with a_bug(store):
        desk.put(json.dumps([record()]))
        wait_for(lambda: desk.broker.exists(wire.waiting_key("b1")), "the batch waits")
        assert not desk.acknowledged()
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


def test_a_batch_is_one_statement_in_a_transaction_of_its_own(store: Store) -> None:
    sent: list[str] = []

    def watch(_: Any, __: Any, statement: str, *rest: Any) -> None:
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
