"""The guarded child that works calculations out: what it cannot do, and that it may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tdsys.verify.calculating import DIED, GuardedCalculator


@pytest.fixture
def calculator() -> Iterator[GuardedCalculator]:
    made = GuardedCalculator(timeout=20)
    yield made
    made.close()


def test_a_calculation_is_worked_out_in_another_process(calculator: GuardedCalculator) -> None:
    assert calculator.pid is None
    found = calculator.calculate("price = 2.5\nanswer = price * 3")
    assert (str(found.value), found.refused) == ("15/2", "")
    assert {name: str(one) for name, one in found.names.items()} == {
        "price": "5/2",
        "answer": "15/2",
    }
    assert calculator.pid not in (None, os.getpid())


def test_the_child_can_open_nothing_and_has_little_memory(calculator: GuardedCalculator) -> None:
    calculator.calculate("answer = 1")
    limits = Path(f"/proc/{calculator.pid}/limits").read_text()
    told = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
    assert told["Max open files"] == "0"
    assert told["Max file size"] == "0"
    assert int(told["Max address space"]) <= 256 << 20
    assert int(told["Max cpu time"]) < 10


def test_what_kills_the_child_costs_one_calculation(calculator: GuardedCalculator) -> None:
    calculator.calculate("answer = 1")
    assert calculator.pid
    os.kill(calculator.pid, signal.SIGKILL)
    assert calculator.calculate("answer = 2").refused in ("", DIED)
    assert str(calculator.calculate("answer = 2").value) == "2"
    assert GuardedCalculator(timeout=0).calculate("answer = 1").refused == DIED
    assert calculator.calculate("x" * 5000).refused == "longer than 4000 characters"


def test_threads_share_a_child(calculator: GuardedCalculator) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(calculator.calculate, [f"answer = {n}**2" for n in range(40)]))
    assert [one.value for one in found] == [n * n for n in range(40)]
