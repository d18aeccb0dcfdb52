"""Which processes make up the stack beside the two servers, and how each is started.

The one rule: docker-compose.yml starts the same commands (tests/unit/test_compose.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import tdsys
from tdsys.wire import Queue

WORKERS: dict[str, tuple[Queue, ...]] = {
    # Alone, because a generator waits for its acknowledgements: nothing long may stand before it.
    "capture": (Queue.CAPTURE,),
    "scoring": (Queue.SCORING, Queue.SYNTHESIS),
    "optimization": (Queue.OPTIMIZATION,),
    "lifecycle": (Queue.LIFECYCLE, Queue.REPORTS),
    # Alone, because a file takes minutes and so may a report: neither should wait for the other.
    "imports": (Queue.IMPORTS,),
}
# The truth is in Postgres and Flower reads events: workers need not know of each other.
WORKER_FLAGS = ("-c", "1", "--without-mingle", "--without-gossip", "-E", "--loglevel=INFO")
# Workers then end at once, even with an optimization under way: what they did is in Postgres.
WORKER_ENVIRONMENT = {"REMAP_SIGTERM": "SIGQUIT"}
CELERY = ("-m", "celery", "-A", "tdsys.worker.app")
FLOWER = "flower"
FLOWER_USER = "tdsys"
WEB = "web"


class Program(NamedTuple):
    """One Python process: its arguments, and what it logs once it is of use."""

    name: str
    arguments: tuple[str, ...]
    said_when_ready: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    address: str = ""


MIGRATE = Program("migrate", ("-m", "tdsys", "db", "upgrade"))


def programs(home: Path, *, flower: bool = True) -> tuple[Program, ...]:
    """One worker per group of queues, beat, the web application, and Flower if wanted."""
    workers = tuple(worker(name, queues) for name, queues in WORKERS.items())
    last = (Program(FLOWER, (*CELERY, "flower")),) if flower else ()
    return (*workers, beat(home), web(), *last)


def worker(name: str, queues: tuple[Queue, ...]) -> Program:
    """The worker that serves `queues`."""
    served = ",".join(queues)
    return Program(
        f"worker-{name}",
        (*CELERY, "worker", "-n", f"{name}@%h", "-Q", served, *WORKER_FLAGS),
        said_when_ready=" ready.",
        environment=tuple(WORKER_ENVIRONMENT.items()),
        address=served,
    )


def beat(home: Path) -> Program:
    """The clock; what it remembers is below `home`."""
    schedule = str(home / "beat" / "schedule")
    arguments = ("-m", "celery", "-A", "beat_schedule", "beat", "-s", schedule, "--loglevel=INFO")
    return Program("beat", arguments, said_when_ready="beat: Starting...")


def web() -> Program:
    """The curation web application; its port comes from the environment."""
    return Program(WEB, ("-m", "tdsys", "web"), said_when_ready="Uvicorn running on")


def import_path(env: Mapping[str, str]) -> str:
    """A PYTHONPATH by which children find this tdsys from any folder."""
    root = str(Path(tdsys.__file__).parents[1])
    return os.pathsep.join(filter(None, (root, env.get("PYTHONPATH"))))
