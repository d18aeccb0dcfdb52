"""`tdsys quarantine`, and what `up` and `status` say about a broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis

from tdsys import broker, quarantine, runtime
from tdsys.embedded import terminal
from tdsys.embedded.ports import LOOPBACK, any_free
from tdsys.embedded.stack import Stack
from tdsys.stages import capture
from tdsys.store import Store
from tests.commanding import Shell
from tests.factories import NOW
from tests.processes import wait_for
from tests.valkeys import answers, valkey


@pytest.fixture
def tdsys(shell: Shell) -> Shell:
    """The command, run on an empty broker."""
    runtime.current().broker.flushdb()
    return shell


def keep(raw: bytes, reason: str = "the message is not JSON") -> int:
    return quarantine.keep(runtime.current().broker, raw, queue="capture", reason=reason)


def test_an_operator_lists_what_is_in_quarantine_newest_first(tdsys: Shell) -> None:
    assert tdsys("quarantine", "list")[:2] == (0, "nothing is in quarantine\n")
    keep(b"first")
    keep(b"second", "larger than 4194304 bytes")
    _, out, _ = tdsys("quarantine", "list")
    second, first = [line for line in out.splitlines() if "capture" in line]
    assert "larger than 4194304 bytes" in second
    assert "the message is not JSON" in first
    _, out, err = tdsys("quarantine", "list", "--limit", "1", "--json")
    (one,) = json.loads(out)
    assert (one["number"], one["size"], one["head"]) == (2, 6, "second")
    assert "--limit shows more" in err


def test_one_message_is_shown_harmlessly_and_in_part(tdsys: Shell) -> None:
    number = keep(b"\x1b]0;owned\x07 \xff[red]" + b"x" * 10_000)
    code, out, _ = tdsys("quarantine", "show", str(number))
    assert code == 0
    assert "\x1b" not in out
    assert "\\xff[red]xxx" in out
    assert len(out) < 2 * quarantine.HEAD_BYTES
    code, _, err = tdsys("quarantine", "show", "99")
    assert code == 2
    assert "tdsys quarantine list" in err


def test_the_quarantine_is_cleared_on_demand_only(tdsys: Shell) -> None:
    keep(b"one"), keep(b"two")
    assert tdsys("quarantine", "clear")[0] == 2
    assert tdsys("quarantine", "clear", "--yes", "--dry-run")[0] == 2
    assert "2 messages would be forgotten" in tdsys("quarantine", "clear", "--dry-run")[1]
    assert "2 messages forgotten" in tdsys("quarantine", "clear", "--yes")[1]
    assert quarantine.count(runtime.current().broker) == 0
    assert keep(b"three") == 3


def test_captured_records_that_were_refused_are_listed_with_their_reason(
    tdsys: Shell, store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TDSYS_DATABASE_URL", database_url)
    runtime.close()
    assert tdsys("quarantine", "captures")[1] == "no captured record was refused\n"
    capture.ingest(store, batch_id="b1", records='["\\u001b[2J", 7]', now=NOW)
    capture.ingest(store, batch_id="b2", records="{no list", now=NOW + timedelta(minutes=1))
    _, out, _ = tdsys("quarantine", "captures", "--json")
    found = json.loads(out)
    assert [(one["batch_id"], one["position"]) for one in found] == [
        ("b2", 0),
        ("b1", 0),
        ("b1", 1),
    ]
    assert found[0]["code"] == "unreadable"
    _, out, err = tdsys("quarantine", "captures", "--limit", "2")
    assert "unreadable: a capture batch is not JSON" in out
    assert "\x1b" not in out
    assert "--limit shows more" in err


def test_a_broker_that_is_away_is_one_line(tdsys: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDSYS_REDIS_URL", f"redis://{LOOPBACK}:1")
    runtime.close()
    for words in (("list",), ("show", "1"), ("clear", "--yes")):
        code, _, err = tdsys("quarantine", *words)
        assert (code, len(err.splitlines())) == (3, 1)


def test_an_address_nobody_understands_is_one_line(
    tdsys: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TDSYS_REDIS_URL", "sentinel://:secret@h1,h2")
    runtime.close()
    code, _, err = tdsys("quarantine", "list")
    assert code == 78
    assert "it does not say which MASTER the sentinels watch" in err
    assert "secret" not in err


def test_a_name_that_would_be_more_than_a_name_is_refused(tdsys: Shell) -> None:
    code, _, err = tdsys("broker", "acl", "--user", "me +@all")
    assert code == 2
    assert "no name" in err


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[str]:
    """A broker of somebody else's that keeps nothing."""
    port = any_free()
    with valkey(tmp_path / "server", "appendonly no", port=port):
        url = f"redis://{LOOPBACK}:{port}/0"
        client: Redis = broker.connect(url)
        wait_for(answers(client), "the broker answers")
        quarantine.keep(client, b"poison", queue="capture", reason="a test")
        client.close()
        yield url


def test_up_and_status_warn_of_a_broker_that_may_lose_captures(
    careless: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    said: list[str] = []
    env = {"TDSYS_DATABASE_URL": "postgresql://unused", "TDSYS_REDIS_URL": careless}
    with Stack(home, env=env, migrate=None, run=(), report=said.append):
        (warning,) = [line for line in said if line.startswith("warning:")]
        assert "the broker in TDSYS_REDIS_URL: its appendonly is no, not yes" in warning
        terminal.status(home)
        shown = capsys.readouterr().out
        terminal.status(home, as_json=True)
        told = json.loads(capsys.readouterr().out)
    assert "1 messages in quarantine: tdsys quarantine list" in shown
    assert "its appendonly is no" in shown
    assert told["broker"]["quarantined"] == 1
    assert len(told["broker"]["doubts"]) == 1
