"""One fault at a random moment, and then: nothing lost, nothing doubled, nothing stuck.

The short form has every fault once. The long form (`make faults`) has two hundred moments, and
beside each a control: plain Celery under the same fault, whose losses are counted, not asserted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from random import Random

import pytest

from tdsys.core.patience import Patience
from tests.faults import outcomes
from tests.faults.matrix import FAULTS, Fault
from tests.faults.outcomes import Outcome
from tests.faults.world import BAD_LINES, LINES, Generator, World

SEEDS = 200
SEEDS_A_WORLD = len(FAULTS)
# Its messages are handed out again after two seconds, and tried again after one: when it has not
# moved for this long it never will.
CONTROL_PATIENCE = 12.0
LONGEST_CONTROL = 150.0


class Worlds:
    """The world of a seed: shared by some that follow each other, never with one that failed."""

    def __init__(self, paths: pytest.TempPathFactory, *, control: bool) -> None:
        self._paths, self._control = paths, control
        self._open = contextlib.ExitStack()
        self._world: World | None = None
        self._first = 0

    def of(self, seed: int) -> World:
        if self._world is None or seed - self._first >= SEEDS_A_WORLD:
            self.close()
            home, self._first = self._paths.mktemp("faults"), seed
            self._world = self._open.enter_context(World(home, control=self._control))
        return self._world

    def close(self) -> None:
        self._world = None
        self._open.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        count = SEEDS if metafunc.config.getoption("--long") else len(FAULTS)
        cases = [(FAULTS[seed % len(FAULTS)], seed) for seed in range(count)]
        metafunc.parametrize(
            ("fault", "seed"), cases, ids=[f"{fault.name}, seed {seed}" for fault, seed in cases]
        )


@pytest.fixture(scope="module")
def worlds(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Worlds]:
    found = Worlds(tmp_path_factory, control=request.config.getoption("--long"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def seen(request: pytest.FixtureRequest) -> Iterator[list[Outcome]]:
    """What happened; shown at the end."""
    found: list[Outcome] = []
    yield found
    if found:
        outcomes.show(found)
    if found and request.config.getoption("--write-docs"):
        outcomes.write(found)


@pytest.mark.criterion("1.1")
def test_nothing_is_lost_doubled_or_stuck(
    worlds: Worlds, seen: list[Outcome], fault: Fault, seed: int
) -> None:
    world = worlds.of(seed)
    try:
        seen.append(_live_through(world, fault, seed))
    except BaseException:
        worlds.close()
        raise


def _live_through(world: World, fault: Fault, seed: int) -> Outcome:
    random = Random(seed)
    world.disband()
    world.until(world.is_whole, "everything runs")
    generator = world.start_generator(f"captured {seed}")
    control = world.start_control(generator.name) if world.has_control else None
    world.until(lambda: all(one.numbers() for one in world.senders()), "the generators run")
    import_id = world.upload(f"imported {seed}")
    world.lasts(random.uniform(0, 0.8))
    fault.happens(world, random)
    over, before = time.monotonic(), world.accepted()
    world.until(lambda: not world.reconciled(before).lost, f"recovers from {fault.name}")
    recovery = time.monotonic() - over
    world.finish(*world.team)
    plain = _plain(world, control, generator.name) if control else None
    names = [one.name for one in world.team]
    world.until(lambda: world.is_idle(import_id, f"imported {seed}", *names), "all is decided")
    found = world.reconciled(world.accepted())
    assert (found.lost, found.doubled, found.refused) == (0, 0, 0), found
    for one in world.team:
        # Killed between a capture and its note, a generator is owed one more than it knows.
        assert 0 <= world.stored(one.name) - len(one.accepted()) <= one.deaths
    assert not world.audit()
    done = world.imported(import_id)
    assert done.state == "finished"
    assert (done.read, done.new, done.rejected) == (LINES + BAD_LINES, LINES, BAD_LINES)
    return Outcome(fault.name, found.accepted, found.lost, found.doubled, recovery, plain)


def _plain(world: World, control: Generator, run: str) -> tuple[int, int, int]:
    """How many tasks were accepted, how many never came to a row, how many rows are too many."""
    control.process.terminate()
    # It may hang in a send for ever, and its worker may live and take nothing any more.
    ended = Patience(CONTROL_PATIENCE)
    world.until(
        lambda: control.process.poll() is not None or ended.is_out("", now=time.monotonic()),
        "the control sends no more",
    )
    control.end()
    sent, still = control.numbers(), Patience(CONTROL_PATIENCE)
    world.until(
        lambda: (
            sent <= set(world.control_rows(run))
            or not world.control_waits()
            or still.is_out(world.control_rows(run).total(), now=time.monotonic())
        ),
        "the control does no more",
        seconds=LONGEST_CONTROL,
    )
    rows = world.control_rows(run)
    if missing := sent - set(rows):
        world.renew_control()
    return len(sent), len(missing), rows.total() - len(rows)
