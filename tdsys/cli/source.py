"""Where a command reads a file from: a path the user may read, or standard input.

One rule: a file is opened once, here, by whoever types; nothing is opened for anybody elsewhere.
Symbolic links are followed, because the user's own rights decide what they lead to.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from tdsys.errors import InvalidInput

CHUNK_BYTES = 1 << 20
STANDARD_INPUT = "-"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class Source:
    """The bytes of a file, or of standard input, which can be read once."""

    def __init__(self, path: str) -> None:
        self.is_stream = path == STANDARD_INPUT
        self.name = "standard input" if self.is_stream else Path(path).name
        self._descriptor = sys.stdin.fileno() if self.is_stream else _opened(path)
        self.size = 0 if self.is_stream else os.fstat(self._descriptor).st_size
        self._head: list[bytes] = []
        self.is_read = False

    def head(self, pieces: int = 1) -> list[bytes]:
        """The first pieces, without taking them away; with `is_read` they are all there is."""
        while len(self._head) < pieces and (piece := self._piece()):
            self._head.append(piece)
        return self._head

    def pieces(self) -> Iterator[bytes]:
        """Everything from the beginning, a megabyte at a time."""
        while self._head:
            yield self._head.pop(0)
        while piece := self._piece():
            yield piece

    def sha256(self) -> str:
        """The hash of a file that can be read twice; nothing of a stream."""
        if self.is_stream:
            return ""
        digest = hashlib.sha256()
        position = 0
        while piece := os.pread(self._descriptor, CHUNK_BYTES, position):
            digest.update(piece)
            position += len(piece)
        return digest.hexdigest()

    def _piece(self) -> bytes:
        """The next megabyte; less at the end only, however slowly the bytes come."""
        parts: list[bytes] = []
        wanted = CHUNK_BYTES
        while wanted and (part := os.read(self._descriptor, wanted)):
            parts.append(part)
            wanted -= len(part)
        self.is_read = wanted > 0
        return b"".join(parts)


def _opened(path: str) -> int:
    """A plain file's descriptor; InvalidInput for anything else, without waiting for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as failed:
        why = failed.strerror if isinstance(failed, OSError) else str(failed)
        raise InvalidInput(
            f"{path} cannot be read: {why}", remedy="name a file that you may read"
        ) from None
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise InvalidInput(
            f"{path} is {_KINDS.get(kind, 'no plain file')}, not a file",
            remedy="name one file, or hand the bytes over as standard input and write -",
        )
    return descriptor
