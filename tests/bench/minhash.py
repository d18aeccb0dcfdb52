"""The textbook way to near-duplicates, to compare with: MinHash bands over runs of three words.

32 bands of 3 rows (Leskovec et al., Mining of Massive Datasets, section 3.4), numbers and names
levelled, everything connected in memory.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from tdsys.core.similarity import template
from tdsys.core.sketching import Forest

BANDS = 32
ROWS = 3
WORD = (1 << 32) - 1
FACTORS = [
    int.from_bytes(hashlib.blake2b(b"%d" % n, digest_size=4).digest()) | 1
    for n in range(BANDS * ROWS)
]


def shingles(text: str) -> frozenset[int]:
    tokens = template(text).split()
    runs = max(1, len(tokens) - 2)
    return frozenset(zlib.crc32(" ".join(tokens[i : i + 3]).encode()) for i in range(runs))


def jaccard(left: frozenset[int], right: frozenset[int]) -> float:
    return len(left & right) / len(left | right)


def bands(hashed: frozenset[int]) -> list[tuple[int, ...]]:
    signed = [min([factor * x & WORD for x in hashed]) for factor in FACTORS]
    return [(band, *signed[band * ROWS : (band + 1) * ROWS]) for band in range(BANDS)]


def clusters(texts: Sequence[str], *, threshold: float) -> list[int]:
    known = [shingles(text) for text in texts]
    buckets: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, hashed in enumerate(known):
        for band in bands(hashed):
            buckets[band].append(index)
    forest = Forest()
    for members in buckets.values():
        for left, right in combinations(members, 2):
            if forest.root(left) != forest.root(right) and (
                jaccard(known[left], known[right]) >= threshold
            ):
                forest.join(left, right)
    return [forest.root(index) for index in range(len(texts))]
