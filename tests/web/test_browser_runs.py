"""The tests in a browser run wherever they can; where they must, passing them over is a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.web import chromium

ROOT = Path(__file__).parents[2]


def test_whoever_can_install_chromium_may_not_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert chromium.must_be_here() is chromium.may_install()
    monkeypatch.setenv("CI", "true")
    assert chromium.must_be_here()
    monkeypatch.setenv("PATH", "")
    assert not chromium.may_install()


def test_the_ci_run_is_make_test_and_that_runs_this_folder() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()
    line = next(one for one in (ROOT / "Makefile").read_text().splitlines() if "pytest -n" in one)
    assert "ignore" not in line
    assert '-m "not bench"' in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs, and so must run them")
def test_here_chromium_is_or_this_fails(chromium_path: str) -> None:
    assert Path(chromium_path).is_file()
