"""What the commands share that follow work which goes on without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from tdsys.cli.printing import note

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


@contextmanager
def leaving(kind: str, id_: UUID, *, group: str) -> Iterator[None]:
    """Whoever follows may go away with Ctrl-C, and is told how to come back and how to stop it."""
    try:
        yield
    except KeyboardInterrupt:
        note(
            f"{kind} {id_} goes on; follow it with tdsys {group} watch {id_}, "
            f"stop it with tdsys {group} cancel {id_}"
        )
        raise SystemExit(INTERRUPTED) from None


def progress() -> Progress:
    """A bar with the time that is left; nothing where nobody watches."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
