"""The whole of tdsys on one machine: servers, migrations, workers, beat, web and Flower.

The one rule: TDSYS_DATABASE_URL and TDSYS_REDIS_URL, when set, take the place of our servers, and
nothing else changes. What lies where in `home` is told in `tdsys.embedded.home`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tdsys.embedded import lock
from tdsys.embedded.brokers import BrokerLook
from tdsys.embedded.home import open_home, password, write_json
from tdsys.embedded.ports import LOOPBACK, answers, choose
from tdsys.embedded.postgres import EmbeddedPostgres
from tdsys.embedded.programs import (
    FLOWER,
    FLOWER_USER,
    MIGRATE,
    WEB,
    Program,
    import_path,
    programs,
)
from tdsys.embedded.supervisor import (
    Child,
    Life,
    ProcessState,
    Report,
    State,
    Supervised,
    run_once,
    silent,
    stop_all,
)
from tdsys.embedded.valkey import EmbeddedValkey
from tdsys.errors import ConfigurationError, NotReady, TdsysError
from tdsys.settings import ADDRESS_FILE

STATE_FILE = "state.json"
WARNING = "warning:"
LOOK_EVERY = 0.1  # seconds between two looks at the children
LAST_PORT = 65535
HOPELESS = 3  # restarts before it was ever ready


class Stack:
    """Everything that runs, as one thing to start, look after and stop."""

    def __init__(
        self,
        home: Path,
        *,
        env: Mapping[str, str],
        with_flower: bool = True,
        report: Report = silent,
        migrate: Program | None = MIGRATE,
        run: Sequence[Program] | None = None,
    ) -> None:
        self.home = open_home(home)
        self.report = report
        self._env = dict(env)
        self._migrate = migrate
        self._run = tuple(programs(self.home, flower=with_flower) if run is None else run)
        self._servers: list[Supervised] = []
        self._programs: list[Supervised] = []
        self._addresses: dict[str, object] = {}
        self._lock: int | None = None
        self._was_ready = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; workers are on their way, not necessarily ready, when this returns."""
        if platform.system() != "Linux":
            raise ConfigurationError(
                "the embedded stack needs Linux", remedy="use docker compose up instead"
            )
        for name in ("postgres", "valkey", WEB, FLOWER):
            self._asked(name)
        self._lock = lock.take(self.home, self.report)
        try:
            self._start_servers()
            self._write_addresses()
            self._start_programs()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Look after the children until each has been ready; TdsysError if one never will."""
        deadline = time.monotonic() + timeout
        while not self._was_ready:
            self.tend()
            late = [one for one in self._programs if one.state is not State.RUNNING]
            if late and time.monotonic() > deadline:
                raise _not_starting(late[0])
            time.sleep(LOOK_EVERY)

    def tend(self) -> None:
        """Look once at every child; TdsysError when one dies again and again before it is ready."""
        self.tick()
        if self._was_ready:
            return
        for one in self._programs:
            if one.state is not State.RUNNING and one.restarts >= HOPELESS:
                raise _not_starting(one)

    def tick(self) -> bool:
        """Look once at every child, restart what is due; True if anything changed."""
        changed = [one.tick() for one in self._all()]
        if not any(changed):
            return False
        if all(one.state is State.RUNNING for one in self._all()):
            self._was_ready = True
        self._write_state()
        return True

    def run_forever(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Look after the children until an exception (Ctrl-C) ends it."""
        while True:
            if self.tick():
                on_change()
            time.sleep(LOOK_EVERY)

    def stop(self) -> None:
        """Stop everything in reverse order; interrupted once more, it no longer waits."""
        try:
            self._stop(self._programs)
        except KeyboardInterrupt:
            for one in self._programs:
                one.kill()
        self._stop(self._servers)
        if self._lock is not None:
            for name in (ADDRESS_FILE, STATE_FILE):
                (self.home / name).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def state(self) -> list[ProcessState]:
        """One line per process, in the order of starting."""
        return [one.shown() for one in self._all()]

    @property
    def is_ready(self) -> bool:
        """Whether everything has been running at once since the start."""
        return self._was_ready

    @property
    def addresses(self) -> dict[str, object]:
        """What is in addresses.json."""
        return dict(self._addresses)

    def _all(self) -> list[Supervised]:
        return [*self._servers, *self._programs]

    def _stop(self, group: Sequence[Supervised]) -> None:
        if group:
            self.report(f"stopping {', '.join(one.child.name for one in group)}")
        stop_all(group, self.report)

    def _held(self) -> tuple[int, ...]:
        return () if self._lock is None else (self._lock,)

    def _start_servers(self) -> None:
        held = self._held()
        if not self._env.get("TDSYS_DATABASE_URL"):
            self.report("starting postgres")
            postgres = EmbeddedPostgres(
                self.home, port=self._asked("postgres"), held=held, report=self.report
            )
            self._servers.append(postgres.start())
            self._env["TDSYS_DATABASE_URL"] = postgres.dsn
        if not self._env.get("TDSYS_REDIS_URL"):
            self.report("starting valkey")
            valkey = EmbeddedValkey(
                self.home, port=self._asked("valkey"), held=held, report=self.report
            )
            self._servers.append(valkey.start())
            self._env["TDSYS_REDIS_URL"] = valkey.url
        else:
            for doubt in BrokerLook.at(self._env["TDSYS_REDIS_URL"]).doubts:
                self.report(f"{WARNING} the broker in TDSYS_REDIS_URL: {doubt}")

    def _start_programs(self) -> None:
        if self._migrate:
            self.report("migrating the database")
            child = self._child(self._migrate)
            run_once(child, self._log(child.name), report=self.report)
        self.report(f"starting {', '.join(program.name for program in self._run)}")
        for folder in ("beat", "cache"):
            (self.home / folder).mkdir(mode=0o700, exist_ok=True)
        for program in self._run:
            child = self._child(program)
            one = Supervised(child, self._log(child.name), self._held())
            self._programs.append(one)
            one.spawn()
        self._write_state()

    def _child(self, program: Program) -> Child:
        flower = program.name == FLOWER
        return Child(
            name=program.name,
            argv=(sys.executable, *program.arguments),
            env={**self._environment(), **self._own_environment(program)},
            cwd=self.home,
            address=str(self._addresses.get(f"{program.name}_url", program.address)),
            ready=self._flower_answers if flower else _says(program.said_when_ready),
        )

    def _own_environment(self, program: Program) -> dict[str, str]:
        if program.name == FLOWER:
            return self._flower_environment()
        if program.name == WEB:
            return {"TDSYS_WEB_HOST": LOOPBACK, "TDSYS_WEB_PORT": str(self._port_of(WEB))}
        return dict(program.environment)

    def _environment(self) -> dict[str, str]:
        return {
            "DSPY_CACHEDIR": str(self.home / "cache" / "dspy"),
            **self._env,
            "TDSYS_HOME": str(self.home),
            # litellm would otherwise fetch a price list from the network at import
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONPATH": import_path(self._env),
            "PYTHONUNBUFFERED": "1",
        }

    def _flower_environment(self) -> dict[str, str]:
        # not by arguments: those are there for everybody to read in ps
        return {
            "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{password(self.home, FLOWER)}",
            "FLOWER_ADDRESS": LOOPBACK,
            "FLOWER_PORT": str(self._port_of(FLOWER)),
        }

    def _flower_answers(self, _life: Life) -> bool:
        return answers(self._port_of(FLOWER))

    def _port_of(self, name: str) -> int:
        return int(str(self._addresses[f"{name}_url"]).rpartition(":")[2])

    def _write_addresses(self) -> None:
        self._addresses = {
            "database_url": self._env["TDSYS_DATABASE_URL"],
            "redis_url": self._env["TDSYS_REDIS_URL"],
            "pid": os.getpid(),
        }
        named = {program.name for program in self._run}
        for name in sorted(named & {FLOWER, WEB}):
            port = choose(self.home, name, self._asked(name))
            self._addresses[f"{name}_url"] = f"http://{LOOPBACK}:{port}"
        if FLOWER in named:
            self._addresses |= {
                "flower_user": FLOWER_USER,
                "flower_password": password(self.home, FLOWER),
            }
        write_json(self.home / ADDRESS_FILE, self._addresses)

    def _write_state(self) -> None:
        lines = [line._asdict() for line in self.state()]
        value = {"pid": os.getpid(), "ready": self._was_ready, "processes": lines}
        # a full disk must not end what still runs
        with contextlib.suppress(NotReady):
            write_json(self.home / STATE_FILE, value)

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _asked(self, name: str) -> int | None:
        variable = f"TDSYS_{name.upper()}_PORT"
        text = self._env.get(variable)
        if not text:
            return None
        if not text.isdecimal() or not 0 < int(text) <= LAST_PORT:
            raise ConfigurationError(
                f"{variable}={text} is not a port", remedy=f"use a number from 1 to {LAST_PORT}"
            )
        return int(text)


def _not_starting(one: Supervised) -> TdsysError:
    reason = one.note or "it is not ready yet"
    return TdsysError(f"{one.child.name} does not start: {reason}", remedy=f"read {one.log}")


def _says(text: str) -> Callable[[Life], bool]:
    return lambda life: text in life.said()
