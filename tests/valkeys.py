"""Valkey servers with a configuration of the test's own, for addresses `tdsys up` does not make."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tdsys.embedded import binaries
from tdsys.embedded.ports import LOOPBACK


@contextmanager
def valkey(
    folder: Path, *lines: str, port: int, sentinel: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A server with these lines of configuration, answering; ended when the block is left."""
    folder.mkdir(exist_ok=True)
    configuration = folder / "valkey.conf"
    configuration.write_text(
        "\n".join([f"bind {LOOPBACK}", f"port {port}", f"dir {folder}", *lines])
    )
    command = [str(binaries.valkey(folder, None)), str(configuration)]
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(
            [*command, *(["--sentinel"] if sentinel else [])], stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def answers(client: Redis) -> Callable[[], bool]:
    """Whether the server behind `client` is there."""

    def ask() -> bool:
        try:
            return bool(client.ping())
        except RedisError:
            return False

    return ask
