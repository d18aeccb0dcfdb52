"""`tdsys spool`: a person finds what dead generators left, ships it, and hears of the living."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from redis import Redis

from tdsys import runtime, wire
from tdsys.client import CaptureClient, FileSpool
from tdsys.client.folders import writers_in
from tests.commanding import Shell
from tests.ingesting import Worker
from tests.processes import wait_for

NOWHERE = "redis://127.0.0.1:1"
EVIL = "\x1b]0;owned\x07"


@pytest.fixture
def tdsys(shell: Shell) -> Shell:
    return shell


def abandoned(root: Path, count: int) -> str:
    """The folder of a generator that was killed after so many captures."""
    if (child := os.fork()) == 0:
        client = CaptureClient(NOWHERE, spool_dir=root)
        for n in range(count):
            client.capture(domain="d", inputs={"n": n}, outputs={})
        os._exit(0)
    os.waitpid(child, 0)
    (folder,) = [root / name for name in writers_in(str(root)) if name.startswith(f"{child}-")]
    return str(folder)


def test_what_waits_is_listed_with_its_age_and_whether_its_process_lives(
    tdsys: Shell, tmp_path: Path
) -> None:
    root = tmp_path / "spool"
    dead = abandoned(root, 3)
    living = FileSpool(root)
    living.append(b'{"captured_at": "2026-01-02T03:04:05.000+00:00"}')
    found = {one["path"]: one for one in tdsys("spool", "list", str(root), "--json").document}
    mine = found.pop(str(root / living._folders[0].name))
    assert (mine["alive"], mine["records"]) == (True, 1)
    assert mine["oldest"] == "2026-01-02T03:04:05.000+00:00"
    (other,) = found.values()
    assert (other["path"], other["alive"], other["records"]) == (dead, False, 3)
    assert other["bytes"] > 300
    # from one level above, and one folder by itself
    assert dead in tdsys("spool", "list", str(tmp_path)).out
    assert len(tdsys("spool", "list", dead, "--json").document) == 1


def test_an_empty_folder_has_nothing_to_list_or_to_ship(tdsys: Shell, tmp_path: Path) -> None:
    assert "nothing waits" in tdsys("spool", "list", str(tmp_path)).out
    said = tdsys("spool", "ship", str(tmp_path), "--json")
    assert said.code == 0
    assert said.document == {"committed": 0, "dropped": 0, "waiting": 0, "living": 0}


def test_a_folder_that_is_not_there_is_wrong_usage(tdsys: Shell, tmp_path: Path) -> None:
    assert tdsys("spool", "ship", str(tmp_path / "none")).code == 2


def test_an_abandoned_spool_is_shipped_and_removed(
    tdsys: Shell, tmp_path: Path, worker: Worker
) -> None:
    root = tmp_path / "spool"
    abandoned(root, 700)
    abandoned(root, 30)
    said = tdsys("spool", "ship", str(root), "--json")
    assert said.code == 0
    assert said.document == {"committed": 730, "dropped": 0, "waiting": 0, "living": 0}
    assert len(worker.records) == 730
    assert not writers_in(str(root))


def test_what_the_service_does_not_take_of_an_abandoned_spool_is_said(
    tdsys: Shell, tmp_path: Path, worker: Worker
) -> None:
    worker.answer = wire.acknowledgement(stored=1, conflicting=0)
    said = tdsys("spool", "ship", abandoned(tmp_path, 3))
    assert (said.code, said.out) == (0, "1 records of 1 dead processes are committed\n")
    assert "2 are not: refused, by the service; `tdsys quarantine captures` shows" in said.err
    worker.answer = wire.acknowledgement(stored=2, conflicting=1)
    said = tdsys("spool", "ship", abandoned(tmp_path, 3))
    assert "1 are not: conflicting, the service has another one under its id" in said.err
    assert "quarantine" not in said.err
    worker.answer = wire.acknowledgement(stored=3, conflicting=0)
    assert tdsys("spool", "ship", abandoned(tmp_path, 3)).err == ""


def test_what_was_captured_without_an_address_is_found_by_a_client_that_has_one(
    tdsys: Shell,
    redis_url: str,
    tmp_path: Path,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("TDSYS_SPOOL_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    nowhere = tmp_path / "tdsys" / "spool" / "nowhere"
    living = FileSpool(nowhere)
    living.append(b"{}")
    CaptureClient(redis_url).close()
    assert "nowhere" not in caplog.text
    abandoned(nowhere, 3)
    CaptureClient(redis_url).close()
    assert caplog.text.count(f"tdsys spool ship {nowhere}") == 1
    assert "3 records of 1 dead" in tdsys("spool", "ship", str(nowhere)).out
    assert len(worker.records) == 3
    caplog.clear()
    CaptureClient(redis_url).close()
    assert "nowhere" not in caplog.text


def test_the_spool_of_a_living_process_is_refused(
    tdsys: Shell, tmp_path: Path, broker: Redis
) -> None:
    living = FileSpool(tmp_path)
    living.append(b"{}")
    said = tdsys("spool", "ship", str(tmp_path))
    assert said.code == 3
    assert "lives" in said.err
    assert broker.xlen(wire.CAPTURES) == 0
    assert living.take()


def test_beside_a_living_process_only_the_dead_ones_captures_are_shipped(
    tdsys: Shell, tmp_path: Path, worker: Worker
) -> None:
    living = FileSpool(tmp_path)
    living.append(b"{}")
    abandoned(tmp_path, 2)
    said = tdsys("spool", "ship", str(tmp_path))
    assert said.code == 0
    assert "2 records of 1 dead" in said.out
    assert "left alone" in said.err
    assert len(worker.records) == 2
    assert living.waiting() == 1


def test_without_a_worker_nothing_is_lost_and_the_exit_code_says_so(
    tdsys: Shell, tmp_path: Path, broker: Redis
) -> None:
    folder = abandoned(tmp_path, 5)
    said = tdsys("spool", "ship", folder, "--patience", "0.3")
    assert said.code == 3
    assert "5 records wait" in said.err
    assert broker.xlen(wire.CAPTURES) == 1
    late = Worker(broker)
    late.start()
    assert tdsys("spool", "ship", folder).code == 0
    late.stop()
    assert len(late.records) == 5


def test_a_broker_that_is_away_is_said_and_nothing_is_lost(
    tdsys: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = abandoned(tmp_path, 5)
    monkeypatch.setenv("TDSYS_REDIS_URL", NOWHERE)
    runtime.close()
    said = tdsys("spool", "ship", folder)
    assert said.code == 1
    assert "TDSYS_REDIS_URL" in said.err
    assert len(tdsys("spool", "list", folder, "--json").document) == 1


def test_what_clients_count_is_told_to_the_service(
    tdsys: Shell, redis_url: str, worker: Worker
) -> None:
    with CaptureClient(redis_url) as client:
        client.capture(domain="d", inputs={}, outputs={})
        client.capture(domain="d", inputs={}, outputs={"x": float("nan")})
        client.capture(domain="d", inputs={}, outputs={}, ok=False)
    (told,) = tdsys("spool", "producers", "--json").document
    assert told["pid"] == os.getpid()
    assert told["host"] == wire.host()
    assert (told["committed"], told["pending"], told["recovered"]) == (1, 0, 0)
    assert told["dropped"] == {"not_finite": 1}
    assert told["skipped"] == {"failed": 1}
    said = tdsys("spool", "producers")
    assert "not_finite 1" in said.out
    assert len(worker.records) == 1


def test_a_client_that_drops_everything_is_heard_of_too(
    tdsys: Shell, redis_url: str, broker: Redis
) -> None:
    client = CaptureClient(redis_url)
    client.capture(domain="d", inputs={}, outputs={"x": object()})
    wait_for(lambda: list(broker.scan_iter(wire.producer_key("*"))), "the client told its counts")
    client.close()
    (told,) = tdsys("spool", "producers", "--json").document
    assert told["dropped"] == {"not_json": 1}


def test_a_producers_word_is_not_trusted(tdsys: Shell, broker: Redis) -> None:
    honest = {"pid": 1, "committed": 2, "pending": 0, "recovered": 0, "dropped": {}, "skipped": {}}
    honest |= {"host": EVIL, "at": 1.0, "started_at": 0.0}
    broker.set(wire.producer_key("a"), json.dumps(honest))
    broker.set(wire.producer_key("b"), b"\xff")
    broker.set(wire.producer_key("c"), json.dumps({**honest, "committed": "many"}))
    broker.set(wire.producer_key("d"), json.dumps([honest]))
    broker.set(wire.producer_key("e"), json.dumps({**honest, "dropped": {"x": EVIL}}))
    broker.lpush(wire.producer_key("f"), "a list")
    said = tdsys("spool", "producers")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert len(tdsys("spool", "producers", "--json").document) == 1


def test_nothing_told_is_said(tdsys: Shell, broker: Redis) -> None:
    assert "no capture client" in tdsys("spool", "producers").out
    assert tdsys("spool", "producers", "--json").document == []
    assert broker.ping()
