"""What all tests share: the servers, and a marker for each folder."""

from __future__ import annotations

import gc
import itertools
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Four thousand tests are no garbage: to look for some among them takes a third of collecting them.
gc.disable()

# Three processes share two processors: how long one example takes says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

pytest_plugins = [
    "tests.batching",
    "tests.commanding",
    "tests.servers",
    "tests.databases",
    "tests.ingesting",
    "tests.ticker",
]

FOLDERS = ("unit", "integration", "e2e", "faults", "web", "bench")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form of tests that have one")
    parser.addoption("--write-docs", action="store_true", help="keep measured tables in docs")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background
        # what the tests start inherits it, and has to hear Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in FOLDERS:
        config.addinivalue_line("markers", f"{name}: lives in tests/{name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


_numbers = itertools.count()


@pytest.fixture(autouse=True)
def spool_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's capture clients keep their files: nobody else's are adopted."""
    folder = tmp_path_factory.getbasetemp() / f"spool-{next(_numbers)}"
    monkeypatch.setenv("TDSYS_SPOOL_DIR", str(folder))
    return folder
