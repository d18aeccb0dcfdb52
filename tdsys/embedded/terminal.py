"""The face of `tdsys up`, `down` and `status`: a live table, or plain lines where there is no tty.

The one rule: whatever takes long says so; nothing is silent for more than 3 s.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tdsys.embedded import lock, remote
from tdsys.embedded.brokers import BrokerLook
from tdsys.embedded.home import read_json
from tdsys.embedded.stack import WARNING, Stack
from tdsys.embedded.supervisor import TELL_AFTER, ProcessState, State
from tdsys.errors import NotReady
from tdsys.settings import ADDRESS_FILE

COLOURS = {
    State.RUNNING: "green",
    State.STARTING: "yellow",
    State.BACKING_OFF: "red",
    State.STOPPING: "yellow",
    State.STOPPED: "dim",
}
TABLES_PER_SECOND = 4


def up(
    home: Path,
    *,
    detach: bool = False,
    as_json: bool = False,
    with_flower: bool = True,
) -> None:
    """Start everything and stay until Ctrl-C, or with `detach` return once it is ready."""
    env = os.environ
    console = Console()
    notes = Console(stderr=True) if as_json else console
    if detach:
        argv = remote.AGAIN if with_flower else (*remote.AGAIN, "--no-flower")
        if pid := lock.supervisor(home):
            raise lock.already_running(home, pid)
        remote.detach(home, env=env, argv=argv, report=lambda line: _note(notes, line))
        status(home, as_json=as_json)
        return
    _Screen(home, env=env, with_flower=with_flower, console=notes, as_json=as_json).run()


def down(home: Path, *, timeout: float = 60.0) -> None:
    """Stop what runs in `home`; NotReady if nothing does."""
    console = Console()
    if not remote.down(home, timeout=timeout, report=lambda line: _note(console, line)):
        raise _not_running(home)
    _note(console, "stopped")


def status(home: Path, *, as_json: bool = False) -> None:
    """Show what runs in `home`; NotReady if nothing does."""
    lines = remote.status(home)
    if lines is None:
        raise _not_running(home)
    console = Console()
    known = read_json(home / ADDRESS_FILE)
    look = BrokerLook.at(str(known.get("redis_url", "")))
    if as_json:
        console.print_json(json.dumps({**as_data(home, lines), "broker": look._asdict()}))
    else:
        console.print(picture(home, lines, known), soft_wrap=True)
        for line in look.lines():
            _note(console, f"broker  {line}")


def as_data(home: Path, lines: Sequence[ProcessState]) -> dict[str, object]:
    """What `--json` prints: no passwords; those are in the address file it names."""
    known = read_json(home / ADDRESS_FILE)
    return {
        "home": str(home),
        "addresses": str(home / ADDRESS_FILE),
        "flower_url": known.get("flower_url"),
        "web_url": known.get("web_url"),
        "processes": [line._asdict() for line in lines],
    }


def picture(
    home: Path, lines: Sequence[ProcessState], addresses: Mapping[str, object], step: str = ""
) -> Group:
    """The table of processes, and where to look and log in."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("process", "state", "pid", "for", "restarts", "address"):
        table.add_column(title, no_wrap=title != "address")
    for line in lines:
        table.add_row(*_cells(line))
    return Group(table, *_foot(home, addresses), *([Text(step, style="cyan")] if step else []))


def _not_running(home: Path) -> NotReady:
    return NotReady(f"nothing is running in {home}", remedy="start it with: tdsys up")


def _cells(line: ProcessState) -> tuple[str | Text, ...]:
    return (
        line.name,
        Text(line.state, style=COLOURS[line.state]),
        str(line.pid or ""),
        _duration(time.time() - line.since),
        str(line.restarts or ""),
        Text(line.note or line.address),
    )


def _foot(home: Path, addresses: Mapping[str, object]) -> list[Text]:
    lines = [Text(f"data    {home}")]
    if url := addresses.get("web_url"):
        lines.append(Text(f"Web     {url}  first account: tdsys user create NAME --role admin"))
    if url := addresses.get("flower_url"):
        user = addresses["flower_user"]
        lines.append(Text(f"Flower  {url}  user {user}, password in {home / ADDRESS_FILE}"))
    return lines


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    minutes, hours = whole // 60, whole // 3600
    if hours:
        return f"{hours} h {minutes % 60:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def _note(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


class _Screen:
    """One run in the foreground: the stack, and what the person sees of it."""

    def __init__(
        self,
        home: Path,
        *,
        env: Mapping[str, str],
        with_flower: bool,
        console: Console,
        as_json: bool,
    ) -> None:
        self.stack = Stack(home, env=env, with_flower=with_flower, report=self.step)
        self.console = console
        self.as_json = as_json
        self.doing = ""
        self.begun = time.monotonic()
        self.shown: dict[str, tuple[State, str]] = {}
        self.announced = False

    def __rich__(self) -> Group:
        waited = time.monotonic() - self.begun
        slow = waited > TELL_AFTER and not self.stack.is_ready
        step = f"{self.doing} ({waited:.0f} s)" if slow else self.doing
        return picture(self.stack.home, self.stack.state(), self.stack.addresses, step)

    def run(self) -> None:
        """Start, look after, and stop at Ctrl-C or SIGTERM."""
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            if self.console.is_terminal:
                with Live(self, console=self.console, refresh_per_second=TABLES_PER_SECOND):
                    self._attend()
            else:
                self._attend()
        finally:
            signal.signal(signal.SIGTERM, before)

    def step(self, line: str) -> None:
        """Say what is being done now."""
        self.doing, self.begun = line, time.monotonic()
        if not self.console.is_terminal or line.startswith(WARNING):
            _note(self.console, line)

    def _attend(self) -> None:
        try:
            with self.stack:
                self._changed()
                self.stack.run_forever(self._changed)
        except KeyboardInterrupt:
            self.step("stopped")

    def _changed(self) -> None:
        ready = self.stack.is_ready
        if ready and not self.announced:
            self.announced = True
            self.step("everything is running; Ctrl-C stops it")
            if self.as_json:
                data = as_data(self.stack.home, self.stack.state())
                Console().print_json(json.dumps(data))
        if not self.console.is_terminal:
            self._tell_changes()

    def _tell_changes(self) -> None:
        for line in self.stack.state():
            if self.shown.get(line.name) != (line.state, line.note):
                self.shown[line.name] = (line.state, line.note)
                rest = line.note or line.address
                _note(self.console, f"{line.name}: {line.state} {rest}".strip())
