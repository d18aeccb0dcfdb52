"""A spool on the disk: a folder for each writing process, in it one JSON record a line.

Who holds the lock of a writer's folder ships what is in it: the process that made it while that
lives, afterwards whoever takes it over. The lock is the kernel's, so no death leaves it behind.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
from contextlib import suppress

if sys.platform != "win32":
    import fcntl

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    # The JSON text of a batch; good until the next is read.
    Text = bytes | memoryview

BATCH_RECORDS = 500
BATCH_BYTES = 1_000_000
LOCK = "lock"
WRITER = re.compile(r"(\d+)-[0-9a-f]{16}")
SEGMENT = re.compile(r"\d{8}\.jsonl")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NO_LINK
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
_TRIES = 3


class Page:
    """Lines of a file on their way to the broker, in memory that is used again and again.

    Fresh memory for each batch would cost the machine more than reading it.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._view = memoryview(self._bytes)

    def read(self, fd: int, start: int, end: int) -> int:
        """Take in a part of a file, at most a batch; how many bytes that were."""
        if not self._bytes:
            # Where a list begins, the lines, and one byte more for a list of none.
            self._bytes = bytearray(BATCH_BYTES + 2)
            self._bytes[0] = ord("[")
            self._view = memoryview(self._bytes)
        return os.preadv(fd, [self._view[1 : 1 + min(end - start, BATCH_BYTES)]], start)

    def whole_lines(self, length: int) -> int:
        """How many of its bytes are the whole lines of a batch; 0 when there is none."""
        if self._bytes.count(b"\n", 1, 1 + length) <= BATCH_RECORDS:
            return max(0, self._bytes.rfind(b"\n", 1, 1 + length))
        end = 0
        for _ in range(BATCH_RECORDS):
            end = self._bytes.index(b"\n", end + 1)
        return end

    def lines(self, length: int) -> bytes:
        """A copy of them."""
        return bytes(self._view[1 : 1 + length])

    def listed(self, length: int) -> tuple[int, memoryview]:
        """How many lines, and their JSON list: made in their place, so once only."""
        count = at = 0
        while (at := self._bytes.find(b"\n", at, 1 + length)) > 0:
            self._bytes[at] = ord(",")
            count += 1
        end = 1 + length if count else 2
        self._bytes[end - 1] = ord("]")
        return count, self._view[:end]


class Segment:
    """One file of records. Bytes are written, then taken, then settled, each in order.

    It stays open until it is removed: somebody who clears the folder takes nothing from us.
    """

    def __init__(self, path: str, *, fd: int | None = None, size: int = 0) -> None:
        self.path = path
        self.name = "/".join(path.split(os.sep)[-2:])
        self.own = fd is not None
        self.size = size
        self.count = 0
        self.taken = 0
        self.taken_count = 0
        self.settled = 0
        self._fd = fd

    @property
    def is_settled(self) -> bool:
        """Whether every byte written so far is no longer needed."""
        return self.settled >= self.size

    def write(self, line: bytes) -> None:
        """Append a whole line or nothing; OSError when there is no room.

        Nothing also when a signal handler raises in the middle: after `try` nothing is called, so
        nothing can be interrupted.
        """
        size = len(line)
        whole = False
        try:
            whole = os.write(self._fd or self._open(), line) == size
        finally:
            if not whole:
                self._take_back()
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += size
        self.count += 1

    def take(self, size: int, page: Page) -> tuple[int, Text]:
        """The next records up to `size`: how many, which may be none, and their JSON list."""
        length = page.read(self._open(), self.taken, size)
        # Without a line's end it is the torn tail of a writer that was killed.
        lines = page.whole_lines(length) or length
        self.taken = self.taken + lines if lines else size
        count, text = self._listed(page, lines)
        self.taken_count += count
        return count, text

    def again(self, start: int, end: int, page: Page) -> Text:
        """The list of what was taken before."""
        return self._listed(page, page.read(self._open(), start, end))[1]

    def close(self) -> None:
        """Let go of the file."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    def remove(self) -> None:
        """Delete the file: all of it is settled."""
        with suppress(OSError):
            os.unlink(self.path)
        self.close()

    def _take_back(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._open(), self.size)

    def _listed(self, page: Page, lines: int) -> tuple[int, Text]:
        return page.listed(lines) if self.own else _sound(page.lines(lines))

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, _READ)
        return self._fd


class WriterFolder:
    """The folder of one writer, locked by this process."""

    def __init__(self, path: str, lock: int, *, own: bool) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.own = own
        self.segments: list[Segment] = []
        self._lock: int | None = lock
        self._number = 0

    @classmethod
    def create(cls, root: str) -> Self:
        """A new one in `root`, which is made if need be; OSError when that cannot be."""
        for _ in range(_TRIES):
            os.makedirs(root, mode=0o700, exist_ok=True)
            path = os.path.join(root, f"{os.getpid()}-{os.urandom(8).hex()}")
            # Somebody who tidies `root` may take an empty folder for a dead one: try again.
            with suppress(FileNotFoundError):
                os.mkdir(path, 0o700)
                if (lock := _locked(path)) is not None:
                    return cls(path, lock, own=True)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    @classmethod
    def adopt(cls, root: str, name: str) -> Self | None:
        """The one of a dead writer; None when it lives, or is not ours to take."""
        path = os.path.join(root, name)
        if not (WRITER.fullmatch(name) and _is_ours(path)):
            return None
        lock = _locked(path)
        if lock is None:
            return None
        folder = cls(path, lock, own=False)
        folder.segments = [Segment(p, size=size) for p, size in segments_in(path)]
        return folder

    @property
    def size(self) -> int:
        """Bytes that are still needed."""
        return sum(segment.size - segment.settled for segment in self.segments)

    @property
    def is_in_place(self) -> bool:
        """Whether the folder is still where it was made."""
        return self._lock is not None and _is_at(self._lock, self.path)

    def new_segment(self) -> Segment:
        """The next file to write to."""
        self._number += 1
        path = os.path.join(self.path, f"{self._number:08d}.jsonl")
        segment = Segment(path, fd=os.open(path, _APPEND, 0o600))
        self.segments.append(segment)
        return segment

    def remove(self) -> None:
        """Delete the folder, which holds no segment any more, and let go of it."""
        if self.is_in_place:
            with suppress(OSError):
                os.unlink(os.path.join(self.path, LOCK))
                os.rmdir(self.path)
        self.close()

    def close(self) -> None:
        """Let go of it as it is."""
        for segment in self.segments:
            segment.close()
        fd, self._lock = self._lock, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


def writers_in(root: str) -> list[str]:
    """The names of the writers' folders in `root`, oldest process number first."""
    with suppress(OSError):
        return sorted(name for name in os.listdir(root) if WRITER.fullmatch(name))
    return []


def segments_in(path: str) -> Iterator[tuple[str, int]]:
    """Path and size of each segment of a writer, in the order they were written."""
    for name in sorted(filter(SEGMENT.fullmatch, os.listdir(path))):
        found = os.lstat(os.path.join(path, name))
        if stat.S_ISREG(found.st_mode):
            yield os.path.join(path, name), found.st_size


def is_alive(path: str) -> bool:
    """Whether a process holds the folder; looking does not disturb it."""
    try:
        fd = os.open(os.path.join(path, LOCK), os.O_RDWR | _NO_LINK)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd)
    finally:
        os.close(fd)


def _as_list(lines: bytes) -> bytes:
    return b"[" + lines[:-1].replace(b"\n", b",") + b"]"


def _sound(lines: bytes) -> tuple[int, bytes]:
    """Count and list of the lines that are JSON: after a power cut some may not be."""
    if not lines.endswith(b"\n"):
        return 0, b"[]"
    count = lines.count(b"\n")
    text = _as_list(lines)
    if _holds(text, count):
        return count, text
    good = [line for line in lines.split(b"\n") if _holds(b"[" + line + b"]", 1)]
    return len(good), b"[" + b",".join(good) + b"]"


def _holds(text: bytes, count: int) -> bool:
    try:
        return len(json.loads(text)) == count
    except (ValueError, RecursionError):
        return False


def _locked(path: str) -> int | None:
    """The lock of a folder, held; None when somebody else holds it or it has just been removed."""
    fd = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
    if _flock(fd) and _is_at(fd, path):
        return fd
    os.close(fd)
    return None


def _flock(fd: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.stat(os.path.join(path, LOCK)))
    except OSError:
        return False


def _is_ours(path: str) -> bool:
    found = os.lstat(path)
    return stat.S_ISDIR(found.st_mode) and os.geteuid() in {0, found.st_uid}
