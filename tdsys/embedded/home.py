"""The folder everything lives in (TDSYS_HOME).

    lock             held by the supervisor and its children; line 1 is the supervisor's pid
    addresses.json   where the servers are and how to log in; there only while the stack runs
    state.json       what each process is doing; there only while the stack runs
    ports.json       the ports used last time
    secrets/NAME     generated passwords
    postgres/        the database cluster (`data`) and its PG_VERSION
    valkey/          valkey.conf and the append-only file
    beat/ cache/     beat's schedule file, DSPy's cache
    logs/NAME.log    one per process
    dist/            a copy of the server binaries, where `nobody` cannot reach the installed ones

The one rule: files are 0600, folders 0700 (0711 where a dropped server must pass through).
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tdsys.errors import ConfigurationError, NotReady

PRIVATE_FILE = 0o600
FULL = "No space left on device"


def open_home(home: Path) -> Path:
    """`home` as an absolute path, made 0700 if it is new; ConfigurationError if it cannot be."""
    home = home.expanduser().absolute()
    try:
        with disk_errors(home):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as bad:
        raise _unusable(home, bad.strerror or str(bad)) from bad
    if not os.access(home, os.W_OK | os.X_OK):
        raise _unusable(home, "this user may not write there")
    return home


def write_private(path: Path, text: str) -> None:
    """Replace `path` with `text` in one step; 0600 from its first byte."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(path):
        opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        try:
            with os.fdopen(opened, "w") as stream:
                stream.write(text)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Replace `path` with `value` as JSON; 0600."""
    write_private(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> dict[str, object]:
    """What `write_json` wrote; empty when there is none or it is damaged."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def password(home: Path, name: str) -> str:
    """The password kept under `name`, generated at first use."""
    path = home / "secrets" / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def _unusable(home: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{home} cannot hold the data: {reason}",
        remedy="set TDSYS_HOME to a folder that you may write to",
    )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk into one line that names the path."""
    try:
        yield
    except OSError as bad:
        if bad.errno != errno.ENOSPC:
            raise
        raise disk_full(path) from bad


def disk_full(path: Path) -> NotReady:
    """The error for a full disk below `path`."""
    return NotReady(
        f"{FULL}: {path}",
        remedy="free some space there, or set TDSYS_HOME to a folder on a bigger disk",
    )
