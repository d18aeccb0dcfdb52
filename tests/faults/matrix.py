"""The faults: each does its harm to a running system, lasts as long as it lasts, and is over."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from tdsys import wire
from tests.faults.world import OUTLASTS_LEASES, World
from tests.running import children

CAPTURES = wire.CAPTURES
COPIES = 20
JUNK = (b"\xff\x00\xfe", b"[" * 100_000, b'[7, {"domain": "\\u0000"}]', b"null", b"", b"[]")
TWO_HOURS = 7200.0


class Fault(NamedTuple):
    """One fault, as the table calls it."""

    name: str
    happens: Callable[[World, Random], None]


def _nothing(_: World, __: Random) -> None:
    """The control of the control."""


def _kill(*names: str) -> Callable[[World, Random], None]:
    return lambda world, _: world.kill(*world.pids(*names))


def _kill_pool_children(world: World, _: Random) -> None:
    world.kill(*(child for pid in world.pids("worker") for child in children(pid)))


def _kill_valkey_and_its_data(world: World, _: Random) -> None:
    world.kill(*world.pids("valkey"))
    shutil.rmtree(world.home / "valkey" / "appendonlydir")


def _freeze(*names: str) -> Callable[[World, Random], None]:
    def happens(world: World, _: Random) -> None:
        with world.frozen(*world.pids(*names)):
            world.lasts(OUTLASTS_LEASES)

    return happens


def _freeze_pool_children(world: World, _: Random) -> None:
    with world.frozen(*(child for pid in world.pids("worker") for child in children(pid))):
        world.lasts(OUTLASTS_LEASES)


def _silence(server: str) -> Callable[[World, Random], None]:
    def happens(world: World, _: Random) -> None:
        network = world.to_valkey if server == "valkey" else world.to_postgres
        network.silence()
        world.lasts(OUTLASTS_LEASES)
        network.resume()

    return happens


def _cut(server: str) -> Callable[[World, Random], None]:
    def happens(world: World, random: Random) -> None:
        network = world.to_valkey if server == "valkey" else world.to_postgres
        network.silence()
        world.lasts(random.uniform(0, 0.5))
        network.cut()
        network.resume()

    return happens


def _multiply_batches(world: World, _: Random) -> None:
    """Nobody takes batches for a moment, and all that wait are there many times."""
    with world.frozen(*world.pids("worker")):
        world.until(lambda: world.broker.xlen(CAPTURES), "a batch waits")
        waiting: Any = world.broker.xrange(CAPTURES)
        for _, fields in waiting * COPIES:
            world.broker.xadd(CAPTURES, fields)


def _poison_stream(world: World, random: Random) -> None:
    """What a producer gone mad, or an intruder, may write among the batches."""
    for junk in random.sample(JUNK, len(JUNK)):
        batch = random.randbytes(8).hex()
        world.broker.xadd(CAPTURES, {wire.BATCH_FIELD: batch, wire.RECORDS_FIELD: junk})
    world.broker.xadd(CAPTURES, {"neither": "nor"})


def _poison_queues(world: World, random: Random) -> None:
    """The same where bells wait, and what else was a message once."""
    stranger = wire.envelope(wire.Task.INGEST).replace(b"capture.ingest", b"os.system")
    for queue in (wire.Queue.CAPTURE, wire.Queue.SCORING, wire.Queue.IMPORTS):
        for junk in random.sample((*JUNK, b"\x80\x04K\x07.", b"{}", stranger), len(JUNK) + 3):
            world.broker.lpush(wire.queue_key(queue), junk)


def _jump_clock(world: World, random: Random) -> None:
    with world.clock_wrong_by(random.choice((-TWO_HOURS, TWO_HOURS))):
        world.lasts(1)


def _kill_generator(world: World, random: Random) -> None:
    for one in (world.team[0], *world.controls):
        one.kill()
    world.lasts(random.uniform(0, 0.3))
    for one in (world.team[0], *world.controls):
        one.start()


def _leave_a_spool_to_another_generator(world: World, random: Random) -> None:
    """Two generators share a spool folder; one is killed and never comes back."""
    first = world.team[0]
    second = world.start_generator(f"{first.name}, second", spool=first.name)
    world.until(second.accepted, "the second generator runs")
    world.lasts(random.uniform(0, 0.5))
    first.kill()


def _fill_disk(world: World, _: Random) -> None:
    """For a second; what was spooled and is stored makes room, which is filled at once."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        world.fill_disk()
        world.lasts(0.05)
    world.free_disk()
    # The ledger lacks the numbers of captures that were dropped.
    world.until(world.team[0].refused, "it is seen that some were refused")


def _fill_memory(world: World, _: Random) -> None:
    """Valkey refuses every write that needs memory."""
    world.broker.config_set("maxmemory", "1")
    world.lasts(OUTLASTS_LEASES)
    world.broker.config_set("maxmemory", "0")


def _lose_power(world: World, _: Random) -> None:
    """All but the generator is gone at once."""
    world.kill(*world.pids(""))


def _restart_workers(world: World, _: Random) -> None:
    """As a new version is deployed: SIGTERM."""
    for pid in world.pids("worker"):
        os.kill(pid, signal.SIGTERM)


FAULTS = (
    Fault("nothing", _nothing),
    Fault("pool child: kill -9", _kill_pool_children),
    Fault("worker: kill -9", _kill("worker")),
    Fault("beat: kill -9", _kill("beat")),
    Fault("Valkey: kill -9", _kill("valkey")),
    Fault("Valkey: kill -9, data gone", _kill_valkey_and_its_data),
    Fault("Postgres: kill -9", _kill("postgres")),
    Fault("pool child: frozen", _freeze_pool_children),
    Fault("worker: frozen", _freeze("worker")),
    Fault("beat: frozen", _freeze("beat")),
    Fault("Valkey: frozen", _freeze("valkey")),
    Fault("Postgres: frozen", _freeze("postgres")),
    Fault("network to Valkey: silent", _silence("valkey")),
    Fault("network to Valkey: cut", _cut("valkey")),
    Fault("network to Postgres: silent", _silence("postgres")),
    Fault("network to Postgres: cut", _cut("postgres")),
    Fault("worker: restarted", _restart_workers),
    Fault("everything but the generator: kill -9", _lose_power),
    Fault("generator: kill -9", _kill_generator),
    Fault("two generators, one spool: kill -9", _leave_a_spool_to_another_generator),
    Fault("spool: disk full", _fill_disk),
    Fault("Valkey: out of memory", _fill_memory),
    Fault("batches: each 20 times more", _multiply_batches),
    Fault("batches: poison among them", _poison_stream),
    Fault("queues: poison among the bells", _poison_queues),
    Fault("clock: two hours off, and back", _jump_clock),
)
