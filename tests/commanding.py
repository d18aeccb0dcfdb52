"""The command line, run in this process as somebody types it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from tdsys import runtime
from tdsys.__main__ import main
from tdsys.store import Store


class Said(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """All of its output, as a machine reads it."""
        return json.loads(self.out)

    @property
    def result(self) -> dict[str, Any]:
        """Its last line, as a machine reads it."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


class Shell(Protocol):
    def __call__(self, *words: str | Path) -> Said: ...


@pytest.fixture
def process(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """This process's settings: a home of its own and the test's broker."""
    monkeypatch.setenv("TDSYS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TDSYS_REDIS_URL", redis_url)
    monkeypatch.setenv("COLUMNS", "300")
    runtime.close()
    yield monkeypatch
    runtime.close()


@pytest.fixture
def shell(process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs one command in `process`."""
    assert process

    def run(*words: str | Path) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def here(store: Store, database_url: str, process: pytest.MonkeyPatch) -> Store:
    """This process's settings point to an empty store."""
    process.setenv("TDSYS_DATABASE_URL", database_url)
    return store


@pytest.fixture
def tdsys(here: Store, shell: Shell) -> Shell:
    """The command, run on the store of `here`."""
    assert here
    return shell


def one_line(said: Said) -> str:
    (line,) = said.err.splitlines()
    return line
