"""The cache of models' answers on this machine, each under a tag by which it can be evicted.

An answer of a run has its domain's tag, for any demo of that may be in its prompt; all others share
one. A judge's are not here at all: they stand in the ledger. DSPy's own cache knows no tags.

One rule: what is answered to work that began before an eviction of its tag is not kept after it.
Evictions are counted here by this machine; which ones of a database it is done with is told by its
marks, which name the database's own rows, for numbers go back when a backup is restored.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import dspy
from dspy.clients.cache import Cache

from tdsys.core.tombs import SHARED_ANSWERS, Eviction, Mark

TAG = "tdsys_tag"
MARK = ".evicted"
COUNT = f"{MARK}.count"
# Of all databases that this machine works for; one whose marks were crowded out is evicted anew.
MOST_MARKS = 50
# By directory: how many evictions this machine had seen when this process's present work began.
_known: dict[str, int] = {}


class TaggedCache(Cache):  # type: ignore[misc]
    """DSPy's cache on disk, writing each answer under the tag of `dspy.context(tdsys_tag=...)`."""

    def __init__(self, directory: str, *, size: int) -> None:
        # No memory tier: other processes could not tell it that an entry was evicted.
        super().__init__(
            enable_disk_cache=True,
            enable_memory_cache=False,
            disk_cache_dir=directory,
            disk_size_limit_bytes=size,
            restrict_pickle=True,
        )
        self._directory = directory

    def put(
        self,
        request: dict[str, Any],
        value: Any,
        ignored_args_for_cache_key: list[str] | None = None,
        enable_memory_cache: bool = True,  # noqa: ARG002, FBT001, FBT002  # DSPy's signature
    ) -> None:
        """Keep an answer; like DSPy's own, it never raises."""
        with contextlib.suppress(Exception):
            tag = dspy.settings.get(TAG, SHARED_ANSWERS) or SHARED_ANSWERS
            note = _note(self._directory, tag)
            if self._is_late(note):
                return
            key = self.cache_key(request, ignored_args_for_cache_key)
            self.disk_cache.set(key, value, tag=tag)
            if self._is_late(note):  # who evicts notes it first, so one of us drops it
                self.disk_cache.delete(key, retry=True)

    def _is_late(self, note: Path) -> bool:
        return _count_in(note) > _known[self._directory]


def install(directory: str, *, size: int) -> TaggedCache:
    """Have DSPy use such a cache from now on in this process."""
    if directory not in _known:
        begin(directory)
    cache = TaggedCache(directory, size=size)
    cache.disk_cache.create_tag_index()
    with dspy._cache_lock:  # noqa: SLF001  # a first read would put its own in this one's place
        dspy.cache = cache
    return cache


def begin(directory: str) -> None:
    """New work: whatever it looks at, it looks at after all evictions so far."""
    _known[directory] = _count_in(Path(directory) / COUNT)


def marks(directory: str) -> list[Mark]:
    """Evictions that this machine's cache is done with, and with all before them."""
    return [found for line in _lines_in(Path(directory) / MARK) if (found := _mark(line))]


def evict(directory: str, told: Sequence[Eviction]) -> int:
    """Drop what is kept under these tags; how many answers."""
    tags = sorted({one.tag for one in told})
    last = max(told, key=lambda one: one.number)
    with _alone(directory):
        count = _count_in(Path(directory) / COUNT) + 1
        _write(Path(directory) / COUNT, str(count))
        for tag in tags:
            _write(_note(directory, tag), str(count))
        dropped = sum(int(dspy.cache.disk_cache.evict(tag, retry=True)) for tag in tags)
        done = [*_lines_in(Path(directory) / MARK), f"{last.number} {last.at.isoformat()}"]
        _write(Path(directory) / MARK, "\n".join(done[-MOST_MARKS:]))
    return dropped


def _note(directory: str, tag: str) -> Path:
    """Where the count stands that the last eviction of a tag had."""
    return Path(directory) / f"{MARK}-{blake2b(tag.encode(), digest_size=16).hexdigest()}"


def _mark(line: str) -> Mark | None:
    """None for what an earlier version wrote: then all is evicted once more."""
    number, _, at = line.partition(" ")
    try:
        return Mark(int(number), datetime.fromisoformat(at))
    except ValueError:
        return None


def _lines_in(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _count_in(path: Path) -> int:
    """Zero where nothing is, or what a disk left that lost it."""
    try:
        return int("".join(_lines_in(path)))
    except ValueError:
        return 0


def _write(path: Path, content: str) -> None:
    """Nobody reads half of it, and a power cut leaves the one or the other."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """One process of the machine at a time."""
    fd = os.open(Path(directory) / f"{MARK}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
