"""The cache of models' answers on this machine, each under a tag by which it can be evicted.

An answer about one example has that example's fingerprint for a tag, one of a run its domain's, for
any demo of that may be in its prompt; all others share one. DSPy's own cache knows no tags.

One rule: what is answered to work that began before an eviction of its tag is not kept after it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import dspy
from dspy.clients.cache import Cache

from tdsys.core.tombs import SHARED_ANSWERS

TAG = "tdsys_tag"
MARK = ".evicted"
# By directory: the last eviction that was known when this process's present work began.
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
            if self._is_late(tag):
                return
            key = self.cache_key(request, ignored_args_for_cache_key)
            self.disk_cache.set(key, value, tag=tag)
            if self._is_late(tag):  # who evicts notes it first, so one of us drops it
                self.disk_cache.delete(key, retry=True)

    def _is_late(self, tag: str) -> bool:
        return _number_in(_note(self._directory, tag)) > _known[self._directory]


def install(directory: str, *, size: int) -> TaggedCache:
    """Have DSPy use such a cache from now on in this process."""
    _known.setdefault(directory, evicted_to(directory))
    cache = TaggedCache(directory, size=size)
    cache.disk_cache.create_tag_index()
    with dspy._cache_lock:  # noqa: SLF001  # a first read would put its own in this one's place
        dspy.cache = cache
    return cache


def begin(directory: str, known: int) -> None:
    """New work: whatever it looks at, it looks at after this eviction."""
    _known[directory] = known


def evicted_to(directory: str) -> int:
    """The number of the last eviction that this machine's cache is done with."""
    return _number_in(Path(directory) / MARK)


def evict(directory: str, told: Sequence[tuple[int, str]]) -> int:
    """Drop what is kept under these tags, each with the number of its eviction; how many answers.

    New work has begun when this returns.
    """
    latest: dict[str, int] = {}
    for number, tag in told:
        latest[tag] = max(number, latest.get(tag, 0))
    last = max(latest.values())
    with _alone(directory):
        for tag, number in latest.items():
            _write(_note(directory, tag), number)
        dropped = sum(int(dspy.cache.disk_cache.evict(tag, retry=True)) for tag in sorted(latest))
        _write(Path(directory) / MARK, last)
    begin(directory, last)
    return dropped


def _note(directory: str, tag: str) -> Path:
    """Where the number of the last eviction of a tag stands."""
    return Path(directory) / f"{MARK}-{blake2b(tag.encode(), digest_size=16).hexdigest()}"


def _number_in(path: Path) -> int:
    """Zero where nothing is, or what a power cut left: then all is evicted once more."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _write(path: Path, number: int) -> None:
    """The number, or the larger one that stands there; nobody reads half of it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(str(max(number, _number_in(path))))
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
