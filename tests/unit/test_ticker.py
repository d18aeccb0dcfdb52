"""A test run is never silent for more than 3 s, and pytest's own output stays whole."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.listening import Heard

ROOT = Path(__file__).parents[2]
LAST_COLUMN = 79
STEPS = 5
SLOW = """
import time
time.sleep(3.3)
def test_quick_and_wrong(): assert False
def test_first_slow(): time.sleep(3.3)
def test_second_slow(): time.sleep(3.3)
"""
TALKING = f"""
import time
def test_that_talks():
    for n in range({STEPS}):
        time.sleep(0.8)
        print("step", n)
"""
TICK = r"  \d+ s: (?:collecting|\d+ of) .*"


class Run(Heard):
    """pytest on one file."""

    def __init__(self, folder: Path, text: str, *flags: str, terminal: bool = False) -> None:
        folder.mkdir()
        (folder / "test_it.py").write_text(text)
        own = f"--basetemp={folder / 'tmp'}"  # nothing of other runs to clear away and warn about
        argv = [sys.executable, "-m", "pytest", "-p", "tests.ticker", own, *flags]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "true", "COLUMNS": "80"}
        super().__init__(argv, cwd=folder, env=env, terminal=terminal)

    @property
    def ticks(self) -> list[str]:
        return re.findall(TICK, self.text)

    @property
    def own(self) -> str:
        """What pytest would have printed without a ticker."""
        return re.sub(rf"\n?(?:{TICK}\n)+ *", "", self.text)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Several runs, at the same time because they mostly sleep."""
    folder = tmp_path_factory.mktemp("ticker")
    started = {
        "two processes": Run(folder / "two", SLOW, "-n", "2"),
        "one process": Run(folder / "one", SLOW),
        "a terminal": Run(folder / "tty", SLOW, "-n", "2", terminal=True),
        "talking": Run(folder / "talking", TALKING, "-s"),
    }
    for run in started.values():
        assert run.end() in {0, 1}, run.text
    return started


SLOW_RUNS = pytest.mark.parametrize("name", ["two processes", "one process", "a terminal"])


@SLOW_RUNS
def test_no_run_is_silent_for_more_than_three_seconds(runs: dict[str, Run], name: str) -> None:
    assert runs[name].silences == []


@SLOW_RUNS
def test_a_tick_says_how_far_it_is_and_what_runs(runs: dict[str, Run], name: str) -> None:
    told = r"1 of 3 tests done, 1 failed; now test_first_slow \(\d s\)"
    assert any(re.search(told, tick) for tick in runs[name].ticks), runs[name].text


def test_collecting_is_told_too_and_all_that_run_at_once(runs: dict[str, Run]) -> None:
    first, *later = runs["two processes"].ticks
    assert first.endswith(" s: collecting the tests")
    both = r"test_first_slow \(\d s\), test_second_slow \(\d s\)"
    assert any(re.search(both, tick) for tick in later), later


@SLOW_RUNS
def test_dots_percentages_and_the_closing_line_stay_whole(runs: dict[str, Run], name: str) -> None:
    own = runs[name].own
    (line,) = [line for line in own.splitlines() if line.endswith("[100%]")]
    assert len(line) == LAST_COLUMN
    assert line.split()[-2:] == ["F..", "[100%]"]
    assert re.fullmatch(r"=+ 1 failed, 2 passed in [\d.]+s =+", own.splitlines()[-1])


def test_a_run_that_talks_is_not_interrupted(runs: dict[str, Run]) -> None:
    steps = runs["talking"].text.partition("step 0")[2].rpartition("step")[0]
    assert steps.count("step") == STEPS - 2
    assert not re.search(TICK, steps), steps
