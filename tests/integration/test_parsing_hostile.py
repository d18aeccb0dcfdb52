"""A hostile file ends in a precise error, in little time and memory, and without a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import FILES, Ended

ROOT = Path(__file__).parents[2]

# One process reads all of the files, so the tests of this file belong to one worker.
pytestmark = pytest.mark.xdist_group("hostile")


@pytest.fixture(scope="module")
def ended() -> dict[str, Ended]:
    """How each file ended; one whose process died is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = map(json.loads, done.stdout.splitlines())
    return {name: Ended(*rest) for name, *rest in lines}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_ends_in_a_precise_error(name: str, ended: dict[str, Ended]) -> None:
    assert name in ended, "its process died"
    hostile, found = FILES[name], ended[name]
    assert (found.code or "").startswith(hostile.code or "")
    assert bool(found.code) == bool(hostile.code)
    assert (found.good, found.fatal) == (hostile.good, hostile.fatal)
    assert found.seconds < 1
    assert found.mib < 40
