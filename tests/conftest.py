"""What all tests share: the servers, and a marker for each folder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.servers", "tests.databases"]

FOLDERS = ("unit", "integration", "e2e", "bench")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form of tests that have one")


def pytest_configure(config: pytest.Config) -> None:
    for name in FOLDERS:
        config.addinivalue_line("markers", f"{name}: lives in tests/{name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)
