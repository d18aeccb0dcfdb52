"""Which problems are worth comparing, of thousands at once: those with enough keys in common.

Imported by who compares and nobody else: numpy takes a tenth of a second and 20 MB.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdsys.core.sketching import Forest, Sketch, likeness, linked, packed, sketch

# Each pair of the SAMPLED features is a key; three features in common are three keys in common.
SAMPLED = 7
COMMON_KEYS = 3

_WORD = np.uint64((1 << 32) - 1)
_HALF, _MIXED = np.uint64(32), np.uint64(15)
_MIX, _MIX_2 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77)
_MIX_KEY = np.uint64(0x9E3779B97F4A7C15)


class Keyed(NamedTuple):
    """Keys in order, and for each the place of the template that has it."""

    keys: NDArray[np.int64]
    owners: NDArray[np.int64]


def keyed(features: Sequence[bytes], *, salt: int = 0) -> Keyed:
    """The keys of templates by their `packed` features, at most 21 each, 64 signed bits.

    Problems that are linked have COMMON_KEYS in common, nearly always. Features are sampled by
    weight, with one random number for one feature wherever it stands, so that two samples agree
    where the problems do: MinHash with weights (Cohen and Kaplan, Summarizing data using bottom-k
    sketches, 2007).
    """
    owners, sampled = _sampled(features)
    lefts, rights, ours = [], [], []
    for apart in range(1, SAMPLED):
        paired = owners[:-apart] == owners[apart:]
        lefts.append(sampled[:-apart][paired])
        rights.append(sampled[apart:][paired])
        ours.append(owners[:-apart][paired])
    keys = (np.concatenate(lefts) << _HALF | np.concatenate(rights)) * _MIX_KEY
    return _ordered(keys.view(np.int64) ^ salt, np.concatenate(ours))


def in_common(found: Keyed, *, most: int | None = None) -> list[tuple[int, int]]:
    """Every two places that have COMMON_KEYS, the lower first.

    Of a key the `most` lowest stand for all.
    """
    common: Counter[tuple[int, int]] = Counter()
    for owners in _shared(found):
        for nth, one in enumerate(owners):
            common.update([(other, one) for other in owners[:nth][:most]])
    return [pair for pair, count in common.items() if count >= COMMON_KEYS]


def clusters(problems: Sequence[str]) -> list[int]:
    """The cluster of each problem, named by its first member's index: all that is connected."""
    sketches = [sketch(problem) for problem in problems]
    forest = Forest()
    for left, right, same_numbers in _candidates(sketches):
        alike = likeness(sketches[left], sketches[right])
        if linked(alike, same_numbers=same_numbers):
            forest.join(left, right)
    return [forest.root(index) for index in range(len(sketches))]


def _candidates(sketches: Sequence[Sketch]) -> Iterator[tuple[int, int, bool]]:
    """Pairs of one template, of the same numbers, or with COMMON_KEYS."""
    first: dict[int, int] = {}
    numbered: dict[int, list[int]] = defaultdict(list)
    for index, one in enumerate(sketches):
        if (known := first.setdefault(one.template, index)) != index:
            yield known, index, False
        if one.numbers is not None:
            yield from [(other, index, True) for other in numbered[one.numbers]]
            numbered[one.numbers].append(index)
    places = list(first.values())
    found = keyed([packed(sketches[index].features) for index in places])
    yield from [(places[left], places[right], False) for left, right in in_common(found)]


def _shared(found: Keyed) -> Iterator[list[int]]:
    """Who has a key, for each that more than one has."""
    ends = np.flatnonzero(np.append(found.keys[1:] != found.keys[:-1], values=True)) + 1
    starts = np.append(0, ends)[:-1]
    many = ends - starts > 1
    for start, end in zip(starts[many].tolist(), ends[many].tolist(), strict=True):
        yield found.owners[start:end].tolist()


def _ordered(keys: NDArray[np.int64], owners: NDArray[np.int64]) -> Keyed:
    order = np.lexsort((owners, keys))
    return Keyed(keys[order], owners[order])


def _sampled(features: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The sampled features in order, template by template, and whose each is."""
    counts = [len(one) // 5 for one in features]
    hashes = np.frombuffer(
        b"".join([one[: 4 * count] for one, count in zip(features, counts, strict=True)]), np.uint32
    ).astype(np.uint64)
    weights = np.frombuffer(
        b"".join([one[4 * count :] for one, count in zip(features, counts, strict=True)]), np.uint8
    )
    owners = np.repeat(np.arange(len(counts)), counts)
    random = ((hashes * _MIX ^ hashes >> _MIXED) * _MIX_2 & _WORD) + np.uint64(1)
    # Exponentially distributed, the weight its rate.
    ranks = -np.log(random / float((1 << 32) + 1)) / weights
    order = np.lexsort((ranks, owners))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    order = order[np.arange(len(order)) - starts < SAMPLED]
    owners, sampled = owners[order], hashes[order]
    order = np.lexsort((sampled, owners))
    return owners[order], sampled[order]
