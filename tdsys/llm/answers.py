"""The cache of models' answers on this machine, each under a tag by which it can be evicted.

An answer about one example has that example's fingerprint for a tag; all others share one, for any
demo may be in their prompt. DSPy's own cache knows no tags.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dspy
from dspy.clients.cache import Cache

from tdsys.core.tombs import SHARED_ANSWERS

TAG = "tdsys_tag"
MARK = ".evicted"


class TaggedCache(Cache):  # type: ignore[misc]
    """DSPy's cache on disk, writing each answer under the tag of `dspy.context(tdsys_tag=...)`."""

    def put(
        self,
        request: dict[str, Any],
        value: Any,
        ignored_args_for_cache_key: list[str] | None = None,
        enable_memory_cache: bool = True,  # noqa: ARG002, FBT001, FBT002  # DSPy's signature
    ) -> None:
        """Keep an answer; like DSPy's own, it never raises."""
        with contextlib.suppress(Exception):
            key = self.cache_key(request, ignored_args_for_cache_key)
            tag = dspy.settings.get(TAG, SHARED_ANSWERS) or SHARED_ANSWERS
            self.disk_cache.set(key, value, tag=tag)


def install(directory: str, *, size: int) -> TaggedCache:
    """Have DSPy use such a cache from now on in this process."""
    # No memory tier: other processes could not tell it that an entry was evicted.
    cache = TaggedCache(
        enable_disk_cache=True,
        enable_memory_cache=False,
        disk_cache_dir=directory,
        disk_size_limit_bytes=size,
        restrict_pickle=True,
    )
    cache.disk_cache.create_tag_index()
    with dspy._cache_lock:  # noqa: SLF001  # a first read would put its own in this one's place
        dspy.cache = cache
    return cache


def evicted_to(directory: str) -> int:
    """The number of the last eviction that this machine's cache is done with."""
    try:
        return int((Path(directory) / MARK).read_text())
    except (OSError, ValueError):
        return 0


def evict(directory: str, evictions: Iterable[tuple[int, str, bool]]) -> int:
    """Drop what is kept under these tags; how many answers.

    Up to the first that is not settled they need not be looked at again.
    """
    told = list(evictions)
    tags = {tag for _, tag, _ in told}
    dropped = sum(int(dspy.cache.disk_cache.evict(tag, retry=True)) for tag in sorted(tags))
    settled = [number for number, _, over in told if over]
    if settled:
        (Path(directory) / MARK).write_text(str(max(settled)))
    return dropped
