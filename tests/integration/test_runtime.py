"""Bells coalesce, a broker that is away hurts nobody, and tasks keep their promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from tdsys import quarantine, wire
from tdsys.errors import BrokerUnavailable, ConfigurationError
from tdsys.runtime import Runtime
from tdsys.settings import Settings
from tdsys.wire import Task


@pytest.fixture
def runtime(redis_url: str, tmp_path: Path) -> Runtime:
    Redis.from_url(redis_url).flushdb()
    return Runtime(Settings(home=tmp_path, redis_url=SecretStr(redis_url)))


def waiting(runtime: Runtime, task: Task) -> int:
    return int(runtime.broker.llen(wire.queue_key(task.queue)))


def test_many_rings_make_one_message_until_the_bell_is_answered(runtime: Runtime) -> None:
    for _ in range(100):
        runtime.bells.ring(Task.SCORE)
    assert waiting(runtime, Task.SCORE) == 1
    runtime.bells.answer(Task.SCORE)
    runtime.bells.ring(Task.SCORE)
    assert waiting(runtime, Task.SCORE) == 2


def test_bells_of_different_tasks_are_apart(runtime: Runtime) -> None:
    runtime.bells.ring(Task.SCORE)
    runtime.bells.ring(Task.PLAN)
    assert waiting(runtime, Task.PLAN) == waiting(runtime, Task.SCORE) == 1


def test_a_bell_whose_message_was_refused_is_sounded_by_the_next_ring(runtime: Runtime) -> None:
    wrong = wire.queue_key(Task.SCORE.queue)
    runtime.broker.set(wrong, "no list, so that LPUSH is refused after the bell is set")
    runtime.bells.ring(Task.SCORE)
    assert runtime.broker.exists(wire.bell_key(Task.SCORE))
    runtime.broker.delete(wrong)
    runtime.bells.ring(Task.SCORE)
    runtime.bells.ring(Task.SCORE)
    assert waiting(runtime, Task.SCORE) == 1


def test_a_broker_that_is_away_is_beats_business(tmp_path: Path) -> None:
    runtime = Runtime(Settings(home=tmp_path, redis_url=SecretStr("redis://127.0.0.1:1")))
    runtime.bells.ring(Task.SCORE)
    runtime.bells.answer(Task.SCORE)
    with pytest.raises(BrokerUnavailable):
        runtime.inbox.waiting()


def test_without_servers_the_error_says_how_to_get_some(tmp_path: Path) -> None:
    runtime = Runtime(Settings(home=tmp_path))
    with pytest.raises(ConfigurationError, match="tdsys up"):
        _ = runtime.redis_url


BEAT = """
import beat_schedule, json
from tdsys.wire import Task
known = {t.value for t in Task}
entries = beat_schedule.app.conf.beat_schedule
assert {e["task"] for e in entries.values()} <= known, entries
for name, task in beat_schedule.app.tasks.items():
    if not name.startswith("celery."):
        print(name, task.acks_late, task.reject_on_worker_lost)
conf = beat_schedule.app.conf
assert conf.accept_content == ["json"] and conf.task_serializer == "json"
"""


BEAT_SENDS = """
import beat_schedule
for entry in beat_schedule.app.conf.beat_schedule.values():
    beat_schedule.app.send_task(entry["task"], **entry.get("options", {}))
    print(entry["task"], entry["schedule"])
"""


def test_what_beat_sends_is_out_of_date_when_it_sends_the_next(
    runtime: Runtime, redis_url: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEAT_SENDS],
        env={"TDSYS_REDIS_URL": redis_url, "TDSYS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    sent = dict(line.split() for line in done.stdout.splitlines())
    assert set(sent) == {task.value for task in Task}
    for task, seconds in sent.items():
        raw: Any = runtime.broker.rpop(wire.queue_key(Task(task).queue))
        assert quarantine.fault(raw, Task(task).queue) is None
        expires = datetime.fromisoformat(json.loads(raw)["headers"]["expires"])
        left = expires - datetime.now(UTC)
        assert timedelta(seconds=float(seconds) - 5) < left <= timedelta(seconds=float(seconds))


def test_every_message_is_a_bell_and_acked_early(redis_url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            BEAT
            + "\nbeat_schedule.app.loader.import_default_modules()\n"
            + BEAT.split("conf =", maxsplit=1)[0],
        ],
        env={"TDSYS_REDIS_URL": redis_url, "TDSYS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    told = {line.split(maxsplit=1)[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert set(told) == {t.value for t in Task}
    assert {tuple(late) for late in told.values()} == {("False", "None")}


LOGS = r"""
import logging, sys
from celery.signals import after_setup_logger
import tdsys.worker.app
logger = logging.Logger("any")
logger.addHandler(logging.StreamHandler(sys.stdout))
after_setup_logger.send(sender=None, logger=logger)
logger.warning("%s said %s", "a model", "\x1b[2J\u202egone\nanother line")
"""


def test_what_others_say_reaches_the_log_as_text_that_no_terminal_obeys(
    redis_url: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGS],
        env={**os.environ, "TDSYS_HOME": str(tmp_path), "TDSYS_REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == r"a model said \x1b[2J\u202egone" + "\nanother line\n"


STARTS = """
import gc, sys
from tdsys.cli import cli
cli.get_command(None, "report")
assert "redis" not in sys.modules
import tdsys.worker.app
assert gc.isenabled()
"""


def test_a_start_imports_no_redis_for_a_report_and_leaves_the_collector_on(
    redis_url: str, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-c", STARTS],
        env={**os.environ, "TDSYS_HOME": str(tmp_path), "TDSYS_REDIS_URL": redis_url},
        check=True,
    )
