"""The supervisor: what it starts it keeps alive, and nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsys.embedded import remote
from tdsys.embedded.home import read_json
from tdsys.embedded.programs import Program
from tdsys.embedded.stack import Stack
from tdsys.embedded.supervisor import (
    FIRST_BACKOFF,
    LARGEST_LOG,
    LONGEST_BACKOFF,
    Child,
    State,
    Supervised,
    backoff,
    rotate,
    stop_all,
)
from tdsys.errors import ConfigurationError, Conflict, TdsysError
from tests.processes import descendants, is_alive, wait_for
from tests.small_stack import CRASHING, READY, stand_in

ROOT = Path(__file__).parents[2]
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('here I am', flush=True); time.sleep(600)"
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty home; what a failed test left running in it is ended."""
    yield tmp_path / "home"
    remote.down(tmp_path / "home")


Launch = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def launch(home: Path) -> Iterator[Launch]:
    """Starts a small stack in a process of its own; it is ready when this returns."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**env: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(small_stack(home), cwd=ROOT, env={**clean(), **env})
        started.append(process)
        wait_for(lambda: is_ready(home, process.pid), "the stack is ready")
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


def small_stack(home: Path) -> list[str]:
    return [sys.executable, "-m", "tests.small_stack", str(home)]


def clean() -> dict[str, str]:
    ours = ("TDSYS_DATABASE_URL", "TDSYS_REDIS_URL")
    return {name: value for name, value in os.environ.items() if name not in ours}


def is_ready(home: Path, pid: int) -> bool:
    state = read_json(home / "state.json")
    return state.get("pid") == pid and bool(state.get("ready"))


def addresses(home: Path) -> dict[str, str]:
    return {name: str(value) for name, value in read_json(home / "addresses.json").items()}


def stack(home: Path, *run: Program, env: dict[str, str] | None = None) -> Stack:
    return Stack(home, env=clean() if env is None else env, migrate=None, run=run)


def external() -> dict[str, str]:
    """An environment in which no server of ours is needed."""
    return {
        **clean(),
        "TDSYS_DATABASE_URL": "postgresql://their/db",
        "TDSYS_REDIS_URL": "redis://their",
    }


def test_kill_9_of_the_supervisor_leaves_no_process_and_loses_no_row(
    home: Path, launch: Launch
) -> None:
    first = launch()
    with psycopg.connect(addresses(home)["database_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")
    family = descendants(first.pid)
    assert len(family) >= 10  # postgres and its helpers, valkey, two workers, a grandchild
    first.kill()
    first.wait()
    wait_for(lambda: not any(map(is_alive, family)), "every process is gone")
    launch()
    with psycopg.connect(addresses(home)["database_url"]) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_a_start_right_after_a_kill_9_waits_for_the_old_servers(home: Path, launch: Launch) -> None:
    first = launch()
    before = addresses(home)
    first.kill()
    second = launch()
    assert addresses(home)["database_url"] == before["database_url"]
    assert addresses(home)["pid"] == str(second.pid)


def test_ctrl_c_ends_every_process_and_removes_the_addresses(home: Path, launch: Launch) -> None:
    process = launch()
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    wait_for(lambda: not any(map(is_alive, family)), "every process is gone")
    assert not (home / "addresses.json").exists()
    assert not (home / "state.json").exists()


def test_a_second_start_in_the_same_home_is_refused(home: Path, launch: Launch) -> None:
    first = launch()
    with pytest.raises(Conflict, match=f"already running, pid {first.pid}"):
        stack(home).start()
    assert is_ready(home, first.pid)


def test_addresses_and_state_are_for_the_owner_only(home: Path, launch: Launch) -> None:
    launch()
    for name in ("addresses.json", "state.json", "lock", "ports.json", "logs/worker-a.log"):
        assert (home / name).stat().st_mode & 0o777 == 0o600, name


def test_a_killed_server_comes_back_on_the_same_address(home: Path, launch: Launch) -> None:
    launch()
    lines = {line.name: line for line in remote.status(home) or []}
    for name in ("postgres", "valkey"):
        os.kill(lines[name].pid or 0, signal.SIGKILL)

    def back() -> bool:
        now = {line.name: line for line in remote.status(home) or []}
        return all(
            now[name].restarts >= 1 and now[name].state is State.RUNNING
            for name in ("postgres", "valkey")
        )

    wait_for(back, "both servers are back")
    with psycopg.connect(addresses(home)["database_url"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_status_and_down_work_from_another_process(home: Path, launch: Launch) -> None:
    assert remote.status(home) is None
    assert remote.down(home) is False
    process = launch()
    lines = remote.status(home)
    assert lines is not None
    assert [line.name for line in lines] == ["postgres", "valkey", "worker-a", "worker-b"]
    assert {line.state for line in lines} == {State.RUNNING}
    assert all(is_alive(line.pid or 0) for line in lines)
    assert remote.down(home) is True
    assert process.wait(5) == 0
    assert remote.status(home) is None


def test_detach_returns_when_everything_runs_and_leaves_it_running(home: Path) -> None:
    said: list[str] = []
    env = {**clean(), "PYTHONPATH": str(ROOT)}
    pid = remote.detach(home, env=env, argv=small_stack(home), report=said.append)
    assert is_ready(home, pid)
    assert os.getsid(pid) == pid
    assert any("starting postgres" in line for line in said)
    assert remote.down(home)


def test_detach_gives_the_reason_and_exit_code_of_a_failed_start(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        env = {**clean(), "PYTHONPATH": str(ROOT), "TDSYS_VALKEY_PORT": port}
        with pytest.raises(TdsysError, match=f"port {port}, asked for valkey, is used") as failure:
            remote.detach(home, env=env, argv=small_stack(home))
    assert failure.value.exit_code == 78
    assert remote.status(home) is None


def test_a_crashed_child_is_restarted_with_growing_pauses(home: Path) -> None:
    begun = time.monotonic()
    with stack(home, stand_in("worker-c", CRASHING), env=external()) as running:
        running.wait_ready(20)
        (line,) = running.state()
    assert line.restarts == 2
    assert time.monotonic() - begun >= backoff(1) + backoff(2)


def test_a_child_that_never_starts_is_named_with_its_last_error(home: Path) -> None:
    broken = stand_in("worker-d", "raise SystemExit('ValueError: no such domain')")
    with stack(home, broken, env=external()) as running:
        with pytest.raises(TdsysError, match="worker-d does not start: ValueError: no such domain"):
            running.wait_ready(30)
        assert running.state()[0].note == "ValueError: no such domain"


def test_given_addresses_replace_the_servers_and_nothing_else(home: Path) -> None:
    show = "import os; print(os.environ['TDSYS_DATABASE_URL'], os.environ['TDSYS_REDIS_URL']); "
    with stack(home, stand_in("worker-e", show + READY), env=external()) as running:
        running.wait_ready(20)
        assert [line.name for line in running.state()] == ["worker-e"]
        assert addresses(home)["database_url"] == "postgresql://their/db"
    log = (home / "logs" / "worker-e.log").read_text()
    assert "postgresql://their/db redis://their" in log
    assert not (home / "postgres").exists()


def test_children_learn_where_everything_is(home: Path) -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)), flush=True); "
    with stack(home, stand_in("worker-f", show + READY), env=external()) as running:
        running.wait_ready(20)
    env = json.loads((home / "logs" / "worker-f.log").read_text().splitlines()[0])
    assert env["TDSYS_HOME"] == str(home)
    assert env["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert Path(env["DSPY_CACHEDIR"]).is_relative_to(home)


def test_a_failed_migration_stops_the_start_and_keeps_its_exit_code(home: Path) -> None:
    broken = Program("migrate", ("-c", "raise SystemExit(3)"))
    with pytest.raises(TdsysError, match="migrate failed") as failure:
        Stack(home, env=external(), migrate=broken, run=()).start()
    assert failure.value.exit_code == 3
    assert remote.status(home) is None


def test_a_port_that_is_no_port_is_a_configuration_error(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="TDSYS_POSTGRES_PORT=many is not a port"):
        stack(home, env={**clean(), "TDSYS_POSTGRES_PORT": "many"}).start()


def test_a_child_that_ignores_the_request_to_stop_is_killed_after_its_grace(home: Path) -> None:
    child = Child(
        name="stubborn",
        argv=(sys.executable, "-c", IGNORES_SIGTERM),
        env=clean(),
        cwd=ROOT,
        ready=lambda life: "here I am" in life.said(),
        grace=0.3,
    )
    one = Supervised(child, home / "logs" / "stubborn.log")
    one.spawn()
    pid = one.pid or 0
    wait_for(lambda: one.tick() and one.state is State.RUNNING, "it ignores SIGTERM now")
    stop_all([one])
    assert not is_alive(pid)
    assert one.state is State.STOPPED


def test_a_log_that_has_grown_large_is_moved_aside(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"x" * (LARGEST_LOG + 1))
    rotate(log)
    assert not log.exists()
    assert (tmp_path / "worker.log.1").stat().st_size == LARGEST_LOG + 1


@given(st.integers(1, 10_000))
def test_a_pause_never_shrinks_and_never_exceeds_its_limit(failures: int) -> None:
    assert FIRST_BACKOFF <= backoff(failures) <= backoff(failures + 1) <= LONGEST_BACKOFF


def test_the_pause_starts_at_half_a_second_and_doubles() -> None:
    assert [backoff(n) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
