"""What a newcomer gets wrong: one line that says what and what to do, and an exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKER = ("celery", "-A", "tdsys.worker.app", "worker", "-Q", "scoring", "-c", "1")


class Shell:
    """A newcomer's shell in `folder`, in an environment without anything of tdsys."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"

    def fails(self, *words: str, code: int, **environment: str) -> str:
        """Run `python -m WORDS`; the one line it ends with."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TDSYS_", "OPENAI"))}
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            check=False,
            timeout=60,
            env={
                **env,
                "PYTHONPATH": str(ROOT),
                "TDSYS_HOME": str(self.home),
                "TMPDIR": str(self.folder),
                **environment,
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line]
        assert line.startswith("tdsys: ")
        assert " — " in line, "it says what to do"
        assert line not in done.stdout
        assert "Traceback" not in done.stdout
        return line


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def taken() -> Iterator[str]:
    """A port somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield str(other.getsockname()[1])


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TDSYS_LM": "gpt-5"}, "TDSYS_LM"),
        ({"TDSYS_LM_THREADS": "many"}, "TDSYS_LM_THREADS"),
        ({"TDSYS_HOME": "/proc/nowhere"}, "TDSYS_HOME"),
    ],
)
def test_a_wrong_setting(environment: dict[str, str], said: str, shell: Shell) -> None:
    assert said in shell.fails("tdsys", "up", code=78, **environment)
    assert not (shell.home / "postgres").exists(), "nothing was started"


def test_a_wrong_model_stops_the_demo_before_it_makes_a_folder(shell: Shell) -> None:
    assert "TDSYS_LM" in shell.fails("tdsys", "demo", "--lm", "gpt-5", code=78)
    assert not list(shell.folder.iterdir())


def test_a_wrong_model_stops_a_worker(shell: Shell) -> None:
    url = "redis://127.0.0.1:1"
    line = shell.fails(*WORKER, code=78, TDSYS_LM="gpt-5", TDSYS_REDIS_URL=url)
    assert "TDSYS_LM" in line


def test_a_demo_that_fails_keeps_its_folder_and_names_it(shell: Shell) -> None:
    line = shell.fails("tdsys", "demo", code=78, TDSYS_VALKEY_PORT="seven")
    (kept,) = shell.folder.glob("tdsys-demo-*")
    assert "TDSYS_VALKEY_PORT" in line
    assert str(kept) in line


@pytest.mark.parametrize("server", ["POSTGRES", "VALKEY", "FLOWER"])
def test_a_used_port(shell: Shell, taken: str, server: str) -> None:
    line = shell.fails("tdsys", "up", code=78, **{f"TDSYS_{server}_PORT": taken})
    assert f"port {taken}" in line
    assert f"TDSYS_{server}_PORT" in line


def test_a_used_port_of_a_stack_in_the_background(shell: Shell, taken: str) -> None:
    line = shell.fails("tdsys", "up", "--detach", code=78, TDSYS_VALKEY_PORT=taken)
    assert f"port {taken}" in line
    assert line.count("tdsys: ") == 1


def test_a_used_port_of_the_demo(shell: Shell, taken: str) -> None:
    line = shell.fails("tdsys", "demo", code=78, TDSYS_POSTGRES_PORT=taken)
    assert f"port {taken}" in line


@pytest.mark.parametrize("flags", [(), ("--detach",)])
def test_data_of_another_postgres(shell: Shell, flags: tuple[str, ...]) -> None:
    version = shell.home / "postgres" / "data" / "PG_VERSION"
    version.parent.mkdir(parents=True)
    version.write_text("16\n")
    line = shell.fails("tdsys", "up", *flags, code=78)
    assert "data of Postgres 16" in line
    assert "pg_dumpall" in line
    assert version.read_text() == "16\n"


@pytest.mark.parametrize("command", [("up",), ("up", "--detach"), ("demo",)])
def test_a_full_disk(small_disk: Path, command: tuple[str, ...]) -> None:
    small_disk.chmod(0o755)
    line = Shell(small_disk).fails("tdsys", *command, code=3)
    assert f"No space left on device: {small_disk}" in line


@pytest.fixture
def without_optuna(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python finds no optuna."""
    folder = tmp_path / "python"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['optuna'] = None")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


@pytest.mark.parametrize(
    "command",
    [("tdsys", "up"), ("tdsys", "up", "--detach"), ("tdsys", "demo"), WORKER],
    ids=" ".join,
)
def test_a_missing_optuna(
    shell: Shell, without_optuna: dict[str, str], command: tuple[str, ...]
) -> None:
    url = {"TDSYS_REDIS_URL": "redis://127.0.0.1:1"} if command is WORKER else {}
    line = shell.fails(*command, code=78, **without_optuna, **url)
    assert "pip install 'dspy[optuna]'" in line
    assert not shell.home.exists(), "nothing was started"


def test_an_optuna_that_does_not_import(shell: Shell) -> None:
    (shell.folder / "optuna.py").write_text("raise ImportError('half of it is missing')")
    path = os.pathsep.join([str(shell.folder), str(ROOT)])
    line = shell.fails(*WORKER, code=78, PYTHONPATH=path, TDSYS_REDIS_URL="redis://127.0.0.1:1")
    assert "pip install 'dspy[optuna]'" in line
