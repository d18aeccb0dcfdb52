"""Where captures wait until their rows are committed.

One rule: whatever a spool hands out it can hand out again, until it is told to forget it.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections import deque
from contextlib import suppress

from tdsys.client.folders import (
    BATCH_BYTES,
    BATCH_RECORDS,
    Page,
    Segment,
    WriterFolder,
    is_alive,
    segments_in,
    writers_in,
)
from tdsys.client.record import Unfit

TYPE_CHECKING = False  # typing itself would cost the generator 0.7 MB
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from tdsys.client.folders import Text

    Warn = Callable[[str, str], None]
else:
    Protocol = object

MEGABYTE = 1024 * 1024
SPOOL_BYTES = 256 * MEGABYTE
MEMORY_BYTES = 64 * MEGABYTE
SEGMENT_BYTES = 4 * MEGABYTE
# So many files are open at most, each until it is committed.
SEGMENTS = 32
# Where captures wait whose client had no address.
NOWHERE = "nowhere"
# EFBIG: the process may not write larger files (ulimit -f).
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Batch:
    """Records that travel together; the id makes sending them again harmless.

    `size` is in records. `own` tells what was captured here from what a dead process left.
    `place` is the spool's own note.
    """

    __slots__ = ("id", "own", "place", "size")

    def __init__(self, id_: str, size: int, *, own: bool, place: object) -> None:
        self.id = id_
        self.size = size
        self.own = own
        self.place = place


class Lost(Exception):
    """Records somebody took from under us: how many can never be read again."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


class Spool(Protocol):
    """Where captures wait until they are committed. One thread takes, many append."""

    warn: Warn

    def append(self, record: bytes) -> None:
        """Keep a record; Unfit when there is no room."""

    def take(self, *, own: bool = True) -> tuple[Batch, Text] | None:
        """The next batch to send, its records as a JSON list; Lost when it is gone.

        First what was captured here, unless `own` is false, then what dead processes left. The
        text is good until the next one is asked for, here or of `again`.
        """

    def again(self, batch: Batch) -> Text:
        """The records of a batch once more; Lost when they are gone."""

    def forget(self, batch: Batch) -> None:
        """The rows of `batch` are committed."""

    def waiting(self) -> int:
        """Records captured here and not yet forgotten."""

    def backlog(self) -> bool:
        """Whether anything at all is not yet forgotten."""

    def adopt(self) -> None:
        """Take over what dead processes left."""

    def tidy(self) -> None:
        """Leave nothing behind that is not needed."""

    def fresh(self) -> Spool:
        """An empty one of the same kind, for a forked child; this one is the parent's."""


def root_for(url: str) -> str:
    """Where captures for a broker wait: TDSYS_SPOOL_DIR, or the user's state folder.

    A folder for each broker, so that nobody ships what a dead process meant for another one.
    Empty for a user without a home.
    """
    if given := os.environ.get("TDSYS_SPOOL_DIR"):
        return given
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "tdsys", "spool", _broker(url)) if os.path.isabs(state) else ""


def _broker(url: str) -> str:
    """Host, port and database as a name; nothing of a password."""
    address, _, query = url.partition("://")[2].rpartition("@")[2].partition("?")
    database = re.search(r"\bdb=\d+", query)
    place = f"{address}-{database[0]}" if database else address
    name = re.sub(r"[^\w.]+", "-", place).strip("-.")
    return name[:100] or NOWHERE


def left_nowhere(root: str) -> str:
    """The folder beside `root` of clients without an address, when dead ones left records in it.

    Empty when there is nothing. Nobody takes it over unasked: whom it was meant for is not known.
    """
    folder = os.path.join(os.path.dirname(root), NOWHERE)
    for name in writers_in(folder) if root and root != folder else ():
        path = os.path.join(folder, name)
        with suppress(OSError):
            if any(size for _, size in segments_in(path)) and not is_alive(path):
                return folder
    return ""


def silent(_kind: str, _sentence: str) -> None:
    """Warn nobody."""


class MemorySpool:
    """A spool in this process's memory, bounded in bytes."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.warn: Warn = silent
        self._limit = limit
        self._bytes = 0
        self._count = 0
        self._number = 0
        self._name = os.urandom(8).hex()
        self._queue: deque[bytes] = deque()
        # Re-entrant: a signal handler or a finalizer may capture while a capture is kept.
        self._lock = threading.RLock()

    def append(self, record: bytes) -> None:
        """Keep a record; Unfit when the byte limit is reached."""
        size = len(record)
        with self._lock:
            if self._bytes + size > self._limit:
                raise Unfit("spool_full")
            # In this order, because a signal handler may raise when `append` returns.
            self._bytes += size
            self._count += 1
            self._queue.append(record)

    def take(self, *, own: bool = True) -> tuple[Batch, bytes] | None:
        """The oldest records, at most a batch full."""
        taken: list[bytes] = []
        size = 0
        while own and self._queue and len(taken) < BATCH_RECORDS and size < BATCH_BYTES:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        if not taken:
            return None
        self._number += 1
        batch = Batch(f"{self._name}/{self._number}", len(taken), own=True, place=taken)
        return batch, self.again(batch)

    def again(self, batch: Batch) -> bytes:
        """The records of a batch as a JSON list."""
        return b"[" + b",".join(_records(batch)) + b"]"

    def forget(self, batch: Batch) -> None:
        """Free the room of a committed batch."""
        with self._lock:
            self._bytes -= sum(map(len, _records(batch)))
            self._count -= batch.size

    def waiting(self) -> int:
        """Records kept and not yet forgotten."""
        return self._count

    def backlog(self) -> bool:
        """Whether any are."""
        return self._count > 0

    def adopt(self) -> None:
        """A dead process leaves nothing in memory."""

    def tidy(self) -> None:
        """There is nothing to tidy."""

    def fresh(self) -> Spool:
        """An empty one with the same limit."""
        return MemorySpool(self._limit)


def _records(batch: Batch) -> list[bytes]:
    return batch.place if isinstance(batch.place, list) else []


class _Place:
    __slots__ = ("end", "segment", "start")

    def __init__(self, segment: Segment, start: int, end: int) -> None:
        self.segment = segment
        self.start = start
        self.end = end


class FileSpool:
    """A spool in a folder of this process inside `root`; it survives the process.

    Where the disk cannot be written, captures wait in memory and a warning says so once. `limit`
    bounds the bytes on the disk, with what was taken over from dead processes.
    """

    def __init__(self, root: str | os.PathLike[str], *, limit: int = SPOOL_BYTES) -> None:
        self.warn: Warn = silent
        self.root = os.fspath(root)
        self._limit = limit
        self._segment_bytes = max(SEGMENT_BYTES, limit // SEGMENTS)
        self._bytes = 0
        self._count = 0
        self._folders: list[WriterFolder] = []
        self._page = Page()
        self._active: Segment | None = None
        self._astray = False
        self._memory = MemorySpool(min(limit, MEMORY_BYTES))
        self._made_root = False
        # Re-entrant: a signal handler or a finalizer may capture while a capture is kept.
        self._lock = threading.RLock()

    def append(self, record: bytes) -> None:
        """Keep a record; Unfit when the limit is reached or the disk is full."""
        line = record + b"\n"
        size = len(line)
        if self._bytes + size > self._limit:
            raise Unfit("spool_full")
        if self._astray:
            self._memory.append(record)
            return
        try:
            with self._lock:
                segment = self._active or self._new_segment()
                segment.write(line)
                self._bytes += size
                self._count += 1
                if segment.size >= self._segment_bytes:
                    self._seal()
        except OSError as error:
            if error.errno is None:  # not the disk's: a TimeoutError of a signal handler's
                raise
            self._go_astray(error, record)

    def take(self, *, own: bool = True) -> tuple[Batch, Text] | None:
        """The oldest records captured here, then those of dead processes."""
        while (unread := self._unread(own=own)) is not None:
            segment, size = unread
            start = segment.taken
            try:
                count, text = segment.take(size, self._page)
            except OSError:
                raise Lost(self._give_up(segment)) from None
            batch = _batch(segment, start, count)
            if count:
                return batch, text
            self.forget(batch)
        return self._memory.take(own=own)

    def again(self, batch: Batch) -> Text:
        """The records of a batch, read once more."""
        if not isinstance(batch.place, _Place):
            return self._memory.again(batch)
        try:
            return batch.place.segment.again(batch.place.start, batch.place.end, self._page)
        except OSError:
            raise Lost(batch.size) from None

    def forget(self, batch: Batch) -> None:
        """Free the room of a committed batch, and the file when it was the last of it."""
        if not isinstance(batch.place, _Place):
            self._memory.forget(batch)
            return
        segment = batch.place.segment
        size = batch.place.end - batch.place.start
        with self._lock:
            segment.settled += size
            self._bytes -= size
            if segment.own:
                self._count -= batch.size
            if segment.is_settled and segment is not self._active:
                self._discard(segment)

    def waiting(self) -> int:
        """Records captured here and not yet forgotten."""
        return self._count + self._memory.waiting()

    def backlog(self) -> bool:
        """Whether anything, here or taken over, is not yet forgotten."""
        return self._bytes > 0 or self._memory.backlog()

    def adopt(self, only: str | None = None) -> None:
        """Take over what dead processes left in `root`, as much as the limit allows.

        Also the time to see whether our own folder was cleared away, and to try the disk again.
        """
        with self._lock:
            self._astray = False
            cleared = any(folder.own and not folder.is_in_place for folder in self._folders)
            if cleared:
                self._seal()
            held = {folder.name for folder in self._folders}
        if cleared:
            self.warn("cleared", f"somebody cleared {self.root}; captures go to a new folder in it")
        for name in writers_in(self.root):
            if name not in held and only in {None, name}:
                with suppress(OSError):
                    self._take_over(name)

    def tidy(self) -> None:
        """Delete the files and folders that hold nothing any more."""
        with self._lock:
            if self._active and self._active.is_settled:
                self._seal()
            segments = [s for f in self._folders for s in f.segments if s is not self._active]
            for segment in segments:
                if segment.is_settled:
                    self._discard(segment)
            for folder in [f for f in self._folders if not f.segments]:
                self._drop_folder(folder)

    def fresh(self) -> Spool:
        """An empty one in the same root; the parent's files are the parent's."""
        for folder in self._folders:
            folder.close()
        return FileSpool(self.root, limit=self._limit)

    def _new_segment(self) -> Segment:
        own = [folder for folder in self._folders if folder.own and folder.is_in_place]
        folder = own[0] if own else self._new_folder()
        self._active = folder.new_segment()
        return self._active

    def _new_folder(self) -> WriterFolder:
        self._made_root = self._made_root or not os.path.isdir(self.root)
        folder = WriterFolder.create(self.root)
        self._folders.insert(0, folder)
        return folder

    def _seal(self) -> None:
        """Write to the present file no more."""
        segment, self._active = self._active, None
        if segment and segment.is_settled:
            self._discard(segment)

    def _discard(self, segment: Segment) -> None:
        for folder in self._folders:
            if segment in folder.segments:
                folder.segments.remove(segment)
                segment.remove()
                if not (folder.own or folder.segments):
                    self._drop_folder(folder)
                return

    def _drop_folder(self, folder: WriterFolder) -> None:
        self._folders.remove(folder)
        folder.remove()
        if self._made_root:
            with suppress(OSError):
                os.rmdir(self.root)

    def _go_astray(self, error: OSError, record: bytes) -> None:
        with self._lock:
            self._seal()
        if error.errno in NO_ROOM:
            raise Unfit("disk_full")
        self._astray = True
        self.warn(
            "spool",
            f"captures wait in memory, a killed process loses them: {self.root or 'a home'} "
            f"cannot be written ({error.strerror}); mend it or set TDSYS_SPOOL_DIR",
        )
        self._memory.append(record)

    def _unread(self, *, own: bool) -> tuple[Segment, int] | None:
        """The next segment with bytes to take, and how many it has just now."""
        with self._lock:
            for folder in self._folders:
                for segment in folder.segments:
                    if segment.taken < segment.size and (own or not segment.own):
                        return segment, segment.size
        return None

    def _give_up(self, segment: Segment) -> int:
        """Settle what can no longer be read; how many records that were."""
        with self._lock:
            count = max(0, segment.count - segment.taken_count)
            start, segment.taken = segment.taken, segment.size
            self.forget(_batch(segment, start, count))
            return count

    def _take_over(self, name: str) -> None:
        folder = WriterFolder.adopt(self.root, name)
        if folder is None:
            return
        with self._lock:
            if folder.size == 0:
                for segment in folder.segments:
                    segment.remove()
                folder.remove()
            elif self._bytes + folder.size > self._limit:
                folder.close()
            else:
                self._bytes += folder.size
                self._folders.append(folder)


def _batch(segment: Segment, start: int, size: int) -> Batch:
    """What was taken of a segment since `start`; its id is the same whoever takes it."""
    place = _Place(segment, start, segment.taken)
    return Batch(f"{segment.name}:{start}-{place.end}", size, own=segment.own, place=place)
