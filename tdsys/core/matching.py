"""Which problems are worth comparing, of thousands at once: those with enough keys in common.

Imported by who compares and nobody else: numpy takes a tenth of a second and 20 MB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdsys.core.sketching import Forest, Sketch, likeness, linked, packed, sketch

# Each pair of the SAMPLED features is a key; three features in common are three keys in common.
SAMPLED = 7
COMMON_KEYS = 3
# So many pairs are counted at once, in some 50 MB.
AT_ONCE = 1 << 20

_WORD = np.uint64((1 << 32) - 1)
_HALF, _MIXED = np.uint64(32), np.uint64(15)
_MIX, _MIX_2 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77)
# Above every id: a pair is one number, for half a million that are compared at once.
_LARGEST = 1 << 44
_MIX_KEY = np.uint64(0x9E3779B97F4A7C15)


class Keyed(NamedTuple):
    """Keys, each as often as somebody has it, and who."""

    keys: NDArray[np.int64]
    owners: NDArray[np.int64]


class Met(NamedTuple):
    """Which pairs have keys enough in common, the smaller first, and which keys are to be kept."""

    pairs: list[tuple[int, int]]
    kept: Keyed


NOTHING = Keyed(np.empty(0, np.int64), np.empty(0, np.int64))


def keyed(features: Mapping[int, bytes], *, salt: int = 0) -> Keyed:
    """The keys of templates by their `packed` features, at most 21 each.

    A key is 64 signed bits; problems that are linked have COMMON_KEYS in common, nearly always.
    Features are sampled by weight, with one random number for one feature wherever it stands, so
    that two samples agree where the problems do: MinHash with weights (Cohen and Kaplan,
    Summarizing data using bottom-k sketches, 2007).
    """
    places, sampled = _sampled(list(features.values()))
    lefts, rights, ours = [], [], []
    for apart in range(1, SAMPLED):
        paired = places[:-apart] == places[apart:]
        lefts.append(sampled[:-apart][paired])
        rights.append(sampled[apart:][paired])
        ours.append(places[:-apart][paired])
    mixed = (np.concatenate(lefts) << _HALF | np.concatenate(rights)) * _MIX_KEY
    keys = mixed.view(np.int64) ^ salt
    owners = np.fromiter(features, np.int64, len(features))[np.concatenate(ours)]
    order = np.lexsort((owners, keys))
    return Keyed(keys[order], owners[order])


def read(keys: str | None, counts: str | None, owners: str | None) -> Keyed:
    """Keys, how many have each, and who, as Postgres tells them: numbers with commas between."""
    if keys is None or counts is None or owners is None:
        return NOTHING
    each = (np.fromstring(numbers, np.int64, sep=",") for numbers in (keys, counts, owners))
    known, many, who = each
    return Keyed(np.repeat(known, many), who)


def met(found: Keyed, *, before: Keyed = NOTHING, most: int | None = None) -> Met:
    """Who of those `found` has COMMON_KEYS with whom of them, or of those that were there before.

    Of a key the `most` that came first stand for all: those before, then the smallest. The first
    million of pairs begins with those that have most in common, and so does each after it.
    """
    keys = np.concatenate((before.keys, found.keys))
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], np.concatenate((before.owners, found.owners))[order]
    new = np.flatnonzero(order >= len(before.keys))
    starts = np.searchsorted(keys, keys[new])
    earlier = new - starts
    kept = new if most is None else new[earlier < most]
    counts = earlier if most is None else np.minimum(earlier, most)
    pairs = []
    for part in _parts(owners[new], counts):
        places = np.repeat(starts[part], counts[part]) + _counted(counts[part])
        pairs += _often(owners[places], np.repeat(owners[new[part]], counts[part]))
    return Met(pairs, Keyed(keys[kept], owners[kept]))


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
    found = keyed({place: packed(sketches[place].features) for place in first.values()})
    yield from [(*pair, False) for pair in met(found).pairs]


def _parts(owners: NDArray[np.int64], counts: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """Places of whole owners that have AT_ONCE pairs together, or of one that has more."""
    order = np.argsort(owners, kind="stable")
    owners, ends = owners[order], np.cumsum(counts[order])
    firsts = np.flatnonzero(np.append(True, owners[1:] != owners[:-1]))
    before = np.append(0, ends)[firsts]
    cuts = firsts[np.diff(before // AT_ONCE, prepend=-1) > 0]
    for start, end in pairwise([*cuts.tolist(), len(order)]):
        yield order[start:end]


def _often(ones: NDArray[np.int64], owners: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The pairs that are there COMMON_KEYS times or more, the most frequent first."""
    known, places = np.unique(owners, return_inverse=True)
    pairs, counts = np.unique(places * _LARGEST + ones, return_counts=True)
    often = np.flatnonzero(counts >= COMMON_KEYS)
    pairs = pairs[often[np.argsort(-counts[often], kind="stable")]]
    others = known[pairs // _LARGEST]
    return list(zip((pairs % _LARGEST).tolist(), others.tolist(), strict=True))


def _counted(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from 0 that are below each count, one after another."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _sampled(features: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The sampled features in order, template by template, and the place of each one's."""
    sizes = [len(one) // 5 for one in features]
    parts = [(one[: 4 * size], one[4 * size :]) for one, size in zip(features, sizes, strict=True)]
    hashes = np.frombuffer(b"".join([of for of, _ in parts]), np.uint32).astype(np.uint64)
    weights = np.frombuffer(b"".join([of for _, of in parts]), np.uint8)
    counts = np.array(sizes, np.int64)
    places = np.repeat(np.arange(len(counts)), counts)
    random = ((hashes * _MIX ^ hashes >> _MIXED) * _MIX_2 & _WORD) + np.uint64(1)
    # Exponentially distributed, the weight its rate.
    ranks = -np.log(random / float((1 << 32) + 1)) / weights
    order = np.lexsort((ranks, places))
    order = order[_counted(counts) < SAMPLED]
    places, sampled = places[order], hashes[order]
    order = np.lexsort((sampled, places))
    return places[order], sampled[order]
