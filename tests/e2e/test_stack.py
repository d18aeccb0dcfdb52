"""`tdsys up`, `status` and `down` as a newcomer uses them, with the real workers and Flower."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tdsys.embedded import lock
from tdsys.embedded.programs import WORKERS, programs
from tdsys.runtime import Runtime
from tdsys.settings import Settings, addresses
from tdsys.wire import Task
from tests.processes import descendants, is_alive, wait_for

ROOT = Path(__file__).parents[2]
QUEUES = {
    "capture", "synthesis", "scoring", "imports", "lifecycle", "optimization", "reports",
}  # fmt: skip


class Newcomer:
    """Somebody at a shell, with one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "TDSYS_HOME": str(home)}
        for name in ("TDSYS_DATABASE_URL", "TDSYS_REDIS_URL"):
            self.env.pop(name, None)

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tdsys", *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, *flags: str) -> None:
        done = self.types("up", "--detach", *flags)
        assert done.returncode == 0, done.stdout + done.stderr

    def processes(self) -> dict[str, dict[str, Any]]:
        done = self.types("status", "--json")
        assert done.returncode == 0, done.stderr
        return {line["name"]: line for line in json.loads(done.stdout)["processes"]}

    def family(self) -> set[int]:
        supervisor = lock.supervisor(self.home)
        assert supervisor
        return {supervisor, *descendants(supervisor)}

    def asks_flower(self, path: str, *, password: str | None) -> tuple[int, Any]:
        known = addresses(self.home)
        request = urllib.request.Request(known["flower_url"] + path)
        if password is not None:
            login = b64encode(f"{known['flower_user']}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, None


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Newcomer]:
    """Somebody with an empty home."""
    someone = Newcomer(tmp_path / "home")
    yield someone
    someone.types("down")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """Somebody whose stack runs."""
    someone = Newcomer(tmp_path_factory.mktemp("running") / "home")
    someone.up()
    yield someone
    someone.types("down")


def test_up_starts_the_servers_a_worker_per_queue_group_beat_web_and_flower(
    running: Newcomer,
) -> None:
    lines = running.processes()
    assert list(lines) == ["postgres", "valkey", *(one.name for one in programs(running.home))]
    wait_for(
        lambda: {line["state"] for line in running.processes().values()} == {"running"},
        "everything runs",
    )


def test_status_for_people_shows_where_flower_is_but_no_password(running: Newcomer) -> None:
    shown = running.types("status").stdout
    known = addresses(running.home)
    assert known["flower_url"] in shown
    assert known["flower_password"] not in shown
    assert "worker-scoring" in shown


def test_status_shows_where_the_web_application_is_and_there_it_is(running: Newcomer) -> None:
    url = addresses(running.home)["web_url"]
    assert url in running.types("status").stdout
    with urllib.request.urlopen(url + "/readyz", timeout=20) as answer:
        assert json.load(answer) == {"ready": True}


@pytest.mark.parametrize("password", [None, "guess"])
def test_flower_refuses_whoever_has_no_password(running: Newcomer, password: str | None) -> None:
    assert running.asks_flower("/api/workers", password=password)[0] == 401


def test_flower_shows_every_worker_with_its_queues(running: Newcomer) -> None:
    password = addresses(running.home)["flower_password"]

    def seen() -> dict[str, set[str]]:
        _status, workers = running.asks_flower("/api/workers?refresh=1", password=password)
        return {
            name.partition("@")[0]: {queue["name"] for queue in about.get("active_queues", ())}
            for name, about in (workers or {}).items()
        }

    expected = {name: set(map(str, queues)) for name, queues in WORKERS.items()}
    assert set().union(*expected.values()) == QUEUES
    wait_for(lambda: seen() == expected, "Flower has seen all workers", seconds=60)


def test_flower_shows_tasks_by_their_names(running: Newcomer) -> None:
    known = addresses(running.home)
    url = SecretStr(known["redis_url"])
    with closing(Runtime(Settings(home=running.home, redis_url=url))) as runtime:
        runtime.bells.ring(Task.FRESHNESS)

    def seen() -> set[str]:
        _status, tasks = running.asks_flower("/api/tasks", password=known["flower_password"])
        return {task["name"] for task in (tasks or {}).values()}

    wait_for(lambda: "reports.freshness" in seen(), "Flower has seen the task")


def test_a_second_up_is_refused_and_the_first_goes_on(running: Newcomer) -> None:
    before = running.family()
    second = running.types("up")
    assert second.returncode == 1
    assert "already running, pid" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    assert before <= running.family()


def test_a_killed_worker_comes_back(running: Newcomer) -> None:
    first = running.processes()["worker-lifecycle"]
    os.kill(first["pid"], signal.SIGKILL)

    def back() -> bool:
        now = running.processes()["worker-lifecycle"]
        return bool(now["restarts"] > first["restarts"] and now["state"] == "running")

    wait_for(back, "the worker is back", seconds=60)


def test_status_and_down_say_when_nothing_runs(fresh: Newcomer) -> None:
    for words in (("status",), ("down",)):
        done = fresh.types(*words)
        assert done.returncode == 3
        assert "tdsys up" in done.stderr


def test_neither_kill_9_of_the_supervisor_nor_down_leaves_a_process_and_up_works_again(
    fresh: Newcomer,
) -> None:
    fresh.up("--no-flower")
    family = fresh.family()
    os.kill(lock.supervisor(fresh.home) or 0, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, family)), "every process is gone")
    assert fresh.types("status").returncode == 3
    fresh.up()
    family = fresh.family()
    assert fresh.types("down").returncode == 0
    # the supervisor's own entry stays until whoever adopted it has waited for it
    wait_for(lambda: not any(map(is_alive, family)), "every process is gone")
    assert addresses(fresh.home) == {}


def test_ctrl_c_in_the_foreground_ends_everything(fresh: Newcomer) -> None:
    command = [sys.executable, "-m", "tdsys", "up", "--no-flower"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=fresh.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if "everything is running" in line:
                break
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        said += process.stdout.readlines()
    assert process.returncode == 0, "".join(said)
    wait_for(lambda: not any(map(is_alive, family)), "every process is gone")


def test_a_used_port_is_one_line_and_exit_78(fresh: Newcomer, running: Newcomer) -> None:
    taken = addresses(running.home)["flower_url"].rpartition(":")[2]
    fresh.env["TDSYS_FLOWER_PORT"] = taken
    done = fresh.types("up")
    assert done.returncode == 78
    assert f"port {taken}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
