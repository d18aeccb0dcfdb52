"""Importing through the real command, a real Celery worker and its real children."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdsys.store import examples
from tdsys.wire import Task
from tests.files import gsm8k, in_every_format, jsonl, records
from tests.processes import command_line, descendants, wait_for
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")

COMMAND = (sys.executable, "-m", "tdsys", "import")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    home = tmp_path_factory.mktemp("import") / "home"
    with RunningStack(home, TDSYS_LEASE_SECONDS="5") as running:
        yield running


def imported(stack: RunningStack, *words: str, stdin: bytes = b"") -> tuple[int, dict[str, Any]]:
    """The exit code and the last line of the command."""
    done = subprocess.run(
        [*COMMAND, *words, "--json"],
        env=stack.env,
        cwd=stack.home.parent,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["read"] == found["new"] + found["duplicate"] + found["rejected"]
    return done.returncode, found


def counts(found: dict[str, Any]) -> tuple[int, int, int, int]:
    return found["read"], found["new"], found["duplicate"], found["rejected"]


@pytest.mark.criterion("8.1")
@pytest.mark.criterion("8.3")
@pytest.mark.criterion("8.4")
def test_files_and_standard_input_become_candidates_that_are_judged_like_all_others(
    stack: RunningStack, tmp_path: Path
) -> None:
    files = in_every_format(6)
    for name in ("semicolon.csv", "list.yaml"):
        (tmp_path / name).write_bytes(files[name])
    code, found = imported(stack, str(tmp_path / "semicolon.csv"), "--domain", "bags")
    assert (code, counts(found)) == (0, (6, 6, 0, 0))
    code, found = imported(stack, str(tmp_path / "list.yaml"), "--domain", "bags")
    assert (code, counts(found)) == (0, (6, 0, 6, 0))
    code, found = imported(stack, "-", "--domain", "bags", stdin=files["packed.gz"])
    assert (code, counts(found)) == (0, (6, 0, 6, 0))

    def decided() -> bool:
        with stack.runtime.store.begin() as tx:
            found = {one.state: one.n for one in examples.counts(tx) if one.domain == "bags"}
        return sum(found.values()) == 6 and "candidate" not in found

    wait_for(decided, "every imported example is verified, judged and decided", seconds=60)


@pytest.mark.criterion("8.2")
@pytest.mark.criterion("8.5")
def test_what_is_rejected_is_reported_mended_and_imported_again(
    stack: RunningStack, tmp_path: Path
) -> None:
    path, errors = tmp_path / "in.jsonl", tmp_path / "errors.jsonl"
    path.write_bytes(jsonl([*records(3), {**gsm8k(3), "question": None}]))
    words = ("--domain", "mended", "--errors", str(errors))
    code, found = imported(stack, str(path), *words)
    assert (code, counts(found)) == (4, (4, 3, 0, 1))
    (wrong,) = map(json.loads, errors.read_text().splitlines())
    assert wrong["_rejected"]["line"] == 4
    errors.write_text(json.dumps({**wrong, **gsm8k(3)}))
    code, found = imported(stack, str(errors), *words)
    assert (code, counts(found)) == (0, (1, 1, 0, 0))


@pytest.mark.criterion("8.5")
def test_kill_9_of_the_child_and_of_the_worker_changes_no_count(
    stack: RunningStack, tmp_path: Path
) -> None:
    worker = stack.processes()["worker-imports"]["pid"]
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl([*records(15_000), "{broken"])))
    command = subprocess.Popen(
        [*COMMAND, str(path), "--domain", "killed", "--json"],
        env=stack.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )

    def read() -> int:
        with stack.runtime.store.begin() as tx:
            found = tx.exec_driver_sql("SELECT max(read) FROM imports WHERE domain = 'killed'")
            return int(found.scalar() or 0)

    wait_for(lambda: read() > 0, "some records are stored", seconds=60)
    (reader,) = readers(worker)
    os.kill(reader, signal.SIGKILL)
    wait_for(lambda: set(readers(worker)) - {reader}, "another child reads on", seconds=60)
    for pid in (*descendants(worker), worker):
        os.kill(pid, signal.SIGKILL)
    assert 0 < read() < 15_000

    def finished() -> bool:
        stack.runtime.bells.ring(Task.PARSE)
        return command.poll() is not None

    wait_for(finished, "the import ends", seconds=90)
    assert command.stdout
    found = json.loads(command.stdout.read())
    assert (command.returncode, counts(found)) == (4, (15_001, 15_000, 0, 1))
    with stack.runtime.store.begin() as tx:
        stored = tx.exec_driver_sql("SELECT count(*) FROM examples WHERE domain = 'killed'")
        assert stored.scalar() == 15_000


def readers(worker: int) -> list[int]:
    """The children that read files for a worker."""
    return [pid for pid in descendants(worker) if b"tdsys.intake.child" in command_line(pid)]


def test_on_a_terminal_a_guess_is_asked_about_and_no_means_no(
    stack: RunningStack, tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(jsonl(records(2)))
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [*COMMAND, str(path), "--domain", "asked"], env=stack.env, stdin=theirs, stderr=theirs,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"Import it like this?" not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, b"n\n")
    assert command.wait(30) == 1
    os.close(ours)
    with stack.runtime.store.begin() as tx:
        found = tx.exec_driver_sql("SELECT count(*) FROM domains WHERE name = 'asked'")
        assert found.scalar() == 0
