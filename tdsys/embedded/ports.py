"""Which port a server listens on: the asked one, else last time's, else any free one.

The one rule: a port somebody else holds is never fought for.
"""

from __future__ import annotations

import socket
from pathlib import Path
from random import SystemRandom

from tdsys.embedded.home import read_json, write_json
from tdsys.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
PORTS_FILE = "ports.json"
# Below what Linux and macOS hand out by themselves (ip_local_port_range, from 32768).
OURS = range(20_000, 32_000)
TRIES = 1000


def choose(home: Path, name: str, asked: int | None) -> int:
    """A port that is free now, remembered under `name` for the next start."""
    if asked is not None and not is_free(asked):
        raise ConfigurationError(
            f"port {asked}, asked for {name}, is used by another process",
            remedy=f"set TDSYS_{name.upper()}_PORT to a free port, or unset it to have one chosen",
        )
    known = read_json(home / PORTS_FILE)
    last = known.get(name)
    port = asked or (last if isinstance(last, int) and is_free(last) else any_free())
    if port != last:
        write_json(home / PORTS_FILE, {**known, name: port})
    return port


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of this machine now."""
    with socket.socket() as probe:
        # as the servers do: a connection lingering in TIME_WAIT is no obstacle
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def any_free() -> int:
    """A port nobody uses now, and that the kernel gives to no outgoing connection meanwhile.

    Or a server that is restarted finds its port taken, even by a client that looks for it.
    """
    chosen = SystemRandom()
    return next(port for _ in range(TRIES) if is_free(port := chosen.choice(OURS)))


def answers(port: int) -> bool:
    """Whether somebody accepts connections on `port`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
