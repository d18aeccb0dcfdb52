"""Which problems are worth comparing, of thousands at once: those with a key in common.

Imported by who compares and nobody else: numpy takes a tenth of a second and 20 MB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdsys.core.sketching import DETAIL, LINKED, Alike, Forest, Sketch, belongs, packed, sketch

# Each mark is a key, and so many heaviest pairs of so many numbers and names, and of as many
# features that stay under others. A pair that weighs less is in too many ("2" and "3" in half of
# all), but each has one.
SAMPLED = 5
HEAVIEST_PAIRS = 5
TELLING = 75
# The first so many of a key stand for all: a key that more have says little about them.
MOST_PER_KEY = 25
# With so many each is compared: those that it shares the rarest keys with.
LIKELIEST = 8
# What is longer than this and than a twentieth of all is a chain, and no near-duplicates.
SHORTEST_CHAIN, TWENTIETH = 20, 20
# So many pairs are counted at once, in some 50 MB.
AT_ONCE = 1 << 20
# Pairs are compared at once that have so many features, in some 40 MB; most have a hundred.
FEATURES_AT_ONCE = 1 << 20

_WORD = np.uint64((1 << 32) - 1)
_SHIFT = 32
_HALF, _MIXED = np.uint64(_SHIFT), np.uint64(15)
_MIX, _MIX_2 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77)
# Above every id: a pair is one number, for half a million that are compared at once.
_LARGEST = 1 << 44
_MIX_KEY = np.uint64(0x9E3779B97F4A7C15)


class Keyed(NamedTuple):
    """Keys, each as often as somebody has it, and who."""

    keys: NDArray[np.int64]
    owners: NDArray[np.int64]


class Pairs(NamedTuple):
    """Problems that have keys in common; each of the `ones` is new, `others` may be, too."""

    ones: NDArray[np.int64]
    others: NDArray[np.int64]


class Met(NamedTuple):
    """Who is worth comparing with whom, and which keys are to be kept."""

    pairs: Pairs
    kept: Keyed


NOTHING = Keyed(np.empty(0, np.int64), np.empty(0, np.int64))


def keyed(
    sketches: Mapping[int, Sketch], *, salt: int = 0, leading: Collection[int] | None = None
) -> Keyed:
    """The keys of problems: of the numbers and names of each, and of the wording of who is leading.

    One example of a template is enough to meet others by its wording; all lead if it is not said.
    A key is 64 signed bits; problems that are linked have one in common, nearly always. Features
    are sampled by weight, with one random number for one feature wherever it stands, so that two
    samples agree where the problems do: MinHash with weights (Cohen and Kaplan, Summarizing data
    using bottom-k sketches, 2007).
    """
    each = list(sketches.values())
    lead = [one if leading is None or id_ in leading else None for id_, one in sketches.items()]
    marks = [
        ((one.numbers,) if one.numbers is not None else ()) + (leader.sentences if leader else ())
        for one, leader in zip(each, lead, strict=True)
    ]
    whole = np.fromiter(chain.from_iterable(marks), np.uint64)
    parts = [
        part
        for one, leader in zip(each, lead, strict=True)
        for part in (dict(islice(one.details.items(), one.named)), leader.wording if leader else {})
    ]
    places, pairs = _paired(*_sampled(parts))
    keys = (np.concatenate((whole, pairs)) * _MIX_KEY).view(np.int64) ^ salt
    ours = np.repeat(np.arange(len(each)), [len(of) for of in marks])
    ids = np.fromiter(sketches, np.int64, len(each))
    owners = ids[np.concatenate((ours, places >> 1))]
    order = np.lexsort((owners, keys))
    keys, owners = keys[order], owners[order]
    # Whoever wants to can make two of one problem's keys the same.
    again = (keys[1:] == keys[:-1]) & (owners[1:] == owners[:-1])
    once = np.append(True, ~again)[: len(keys)]
    return Keyed(keys[once], owners[once])


def read(keys: str | None, counts: str | None, owners: str | None) -> Keyed:
    """Keys, how many have each, and who, as Postgres tells them: numbers with commas between."""
    if keys is None or counts is None or owners is None:
        return NOTHING
    each = (np.fromstring(numbers, np.int64, sep=",") for numbers in (keys, counts, owners))
    known, many, who = each
    return Keyed(np.repeat(known, many), who)


def met(found: Keyed, *, before: Keyed = NOTHING) -> Met:
    """Who of those `found` has a key in common with whom of them, or of those there before.

    Of a key MOST_PER_KEY that came first stand for all: those before, then the smallest. The first
    million of pairs begins with those that have most in common, and so does each after it.
    """
    keys = np.concatenate((before.keys, found.keys))
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], np.concatenate((before.owners, found.owners))[order]
    new = np.flatnonzero(order >= len(before.keys))
    starts = np.searchsorted(keys, keys[new])
    earlier = new - starts
    kept = _unknown(Keyed(keys[new], owners[new]), earlier < MOST_PER_KEY, before)
    counts = np.minimum(earlier, MOST_PER_KEY)
    parts = []
    for part in _parts(owners[new], counts):
        places = np.repeat(starts[part], counts[part]) + _counted(counts[part])
        met_by = np.repeat(owners[new[part]], counts[part])
        parts.append(_likeliest(met_by, owners[places], np.repeat(counts[part], counts[part])))
    ones, others = (np.concatenate(side) for side in zip(*parts, strict=True))
    return Met(Pairs(ones, others), kept)


def _unknown(found: Keyed, first: NDArray[np.bool_], before: Keyed) -> Keyed:
    """The keys of those that come first in one; who is placed again has some of before."""
    keys, owners = found.keys[first], found.owners[first]
    came_later = not len(before.owners) or before.owners.max() < owners.min(initial=_LARGEST)
    if not came_later and np.isin(owners, before.owners).any():
        known = {*zip(before.keys.tolist(), before.owners.tolist(), strict=True)}
        pairs = zip(keys.tolist(), owners.tolist(), strict=True)
        fresh = np.array([pair not in known for pair in pairs])
        keys, owners = keys[fresh], owners[fresh]
    return Keyed(keys, owners)


def joined(
    pairs: Pairs,
    homes: Mapping[int, int],
    features: Mapping[int, bytes],
    *,
    by_wording: bool = False,
) -> Forest:
    """The clusters that problems are at home in, joined wherever two are linked.

    Compared are the likeliest pair of each problem and each cluster, and then the rest of those
    that are no one cluster by then, by their `packed` features; who has no home is gone.
    """
    forest = Forest()
    rows = np.stack((*(_homes(side, homes) for side in pairs), *pairs))
    rows = _apart(rows[:, (rows[:2] >= 0).all(axis=0)], forest)
    order = np.lexsort((rows[1], rows[2]))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(rows[1:3, order]) != 0).any(axis=0)
    likeliest = np.zeros(len(order), bool)
    likeliest[order[is_first]] = True
    for part in (rows[:, likeliest], rows[:, ~likeliest]):
        asked = _apart(part, forest)
        alike = compared(features, Pairs(*asked[2:]))
        linked = alike[0] >= LINKED if by_wording else belongs(*alike)
        for home, away in asked[:2, linked].T.tolist():
            forest.join(home, away)
    return forest


def beside(
    ones: Sequence[Sketch], others: Mapping[int, bytes], pairs: Sequence[tuple[int, int]]
) -> list[Alike]:
    """How alike each pair is, of a place among `ones` and of another's number.

    Of the others `packed` features are at hand.
    """
    features = {**others, **{-1 - place: packed(one) for place, one in enumerate(ones)}}
    places, numbers = np.array(pairs, np.int64).reshape(-1, 2).T
    alike = compared(features, Pairs(-1 - places, numbers))
    return [Alike(*row) for row in alike.T.tolist()]


def compared(features: Mapping[int, bytes], pairs: Pairs) -> NDArray[np.float64]:
    """By their `packed` features, each pair's cosines: of wording, of details, of both."""
    ids, places = np.unique(np.concatenate(pairs), return_inverse=True)
    kept = _unpacked([features[id_] for id_ in ids.tolist()])
    ones, others = places.reshape(2, -1)
    chosen = np.isin(kept.owners, ones)
    table = np.sort(kept.owners[chosen] << _SHIFT | kept.hashes[chosen])
    table = np.append(table, np.iinfo(np.int64).max)
    parts = [
        _shared(kept, table, ones[some], others[some]) for some in _slices(kept.counts[others])
    ]
    shared = np.concatenate([np.zeros((2, 0)), *parts], axis=1)
    squares = kept.squares(np.arange(len(kept.owners)), kept.owners, len(ids))
    lengths = np.sqrt(np.stack((*squares, squares.sum(axis=0))))
    found = np.stack((*shared, shared.sum(axis=0)))
    cosines: NDArray[np.float64] = found / np.maximum(lengths[:, ones] * lengths[:, others], 1.0)
    return cosines


def _slices(features: NDArray[np.int64]) -> list[slice]:
    """Pairs, each with so many features, that FEATURES_AT_ONCE are too many for."""
    of = np.cumsum(features) // FEATURES_AT_ONCE
    starts = np.flatnonzero(np.diff(of, prepend=-1)).tolist()
    return [slice(start, end) for start, end in pairwise([*starts, len(features)])]


class _Features(NamedTuple):
    """Features of many problems: whose each is, its hash, its weight and whether it is a detail."""

    owners: NDArray[np.int64]
    hashes: NDArray[np.int64]
    weights: NDArray[np.int64]
    details: NDArray[np.bool_]
    counts: NDArray[np.int64]

    def squares(
        self, at: NDArray[np.int64], groups: NDArray[np.int64], many: int
    ) -> NDArray[np.float64]:
        """By group, the squares of some features, of wording and of details, added up."""
        squares, details = self.weights[at] ** 2, self.details[at]
        of_all = np.bincount(groups, squares, minlength=many)
        of_details = np.bincount(groups[details], squares[details], minlength=many)
        return np.stack((of_all - of_details, of_details))


def _unpacked(packed: Sequence[bytes]) -> _Features:
    counts = np.array([len(one) // 5 for one in packed], np.int64)
    sizes = counts.tolist()
    hashes = b"".join([one[: 4 * size] for one, size in zip(packed, sizes, strict=True)])
    weights = b"".join([one[4 * size :] for one, size in zip(packed, sizes, strict=True)])
    found = np.frombuffer(hashes, np.uint32).astype(np.int64)
    return _Features(
        np.repeat(np.arange(len(packed)), counts),
        found,
        np.frombuffer(weights, np.uint8).astype(np.int64),
        found & DETAIL == DETAIL,
        counts,
    )


def _shared(
    kept: _Features, table: NDArray[np.int64], ones: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What the features of each pair that both have weigh, squared: of wording, and of details."""
    many = kept.counts[others]
    starts = np.cumsum(kept.counts) - kept.counts
    at = np.repeat(starts[others], many) + _counted(many)
    looked = np.repeat(ones << _SHIFT, many) | kept.hashes[at]
    found = np.searchsorted(table, looked)
    hits = np.flatnonzero(table[found] == looked)
    pairs = np.repeat(np.arange(len(many)), many)
    return kept.squares(at[hits], pairs[hits], len(many))


def clusters(problems: Sequence[str], *, by_wording: bool = False) -> list[int]:
    """The cluster of each problem, named by its first member's index: all that is connected.

    With `by_wording` numbers and names connect none.
    """
    sketches = dict(enumerate(map(sketch, problems)))
    first: dict[int, int] = {}
    homes = {index: first.setdefault(one.template, index) for index, one in sketches.items()}
    pairs = met(keyed(sketches, leading={*first.values()})).pairs
    features = {index: packed(one) for index, one in sketches.items()}
    forest = joined(pairs, homes, features, by_wording=by_wording)
    return [forest.root(home) for home in homes.values()]


def groups(problems: Sequence[str], *, chosen: int) -> list[int]:
    """Clusters among so many that were chosen; of a long chain, what is connected by wording.

    A cluster that is a twentieth of all would leave no room to divide them evenly.
    """
    named, most = clusters(problems), max(SHORTEST_CHAIN, chosen // TWENTIETH)
    crowds: dict[int, list[int]] = defaultdict(list)
    for index, name in enumerate(named):
        crowds[name].append(index)
    for crowd in crowds.values():
        if len(crowd) > most:
            parts = clusters([problems[index] for index in crowd], by_wording=True)
            for index, part in zip(crowd, parts, strict=True):
                named[index] = crowd[part]
    return named


def _apart(rows: NDArray[np.int64], forest: Forest) -> NDArray[np.int64]:
    """Those whose homes, the first two of each, are not one cluster."""
    known, places = np.unique(rows[:2], return_inverse=True)
    roots = np.array([forest.root(home) for home in known.tolist()], np.int64)
    ours, theirs = roots[places].reshape(2, -1)
    return rows[:, ours != theirs]


def _homes(problems: NDArray[np.int64], homes: Mapping[int, int]) -> NDArray[np.int64]:
    """The home of each; -1 where it has none."""
    known, places = np.unique(problems, return_inverse=True)
    found = [homes.get(problem, -1) for problem in known.tolist()]
    return np.array(found, np.int64)[places]


def _parts(owners: NDArray[np.int64], counts: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """Places of whole owners that have AT_ONCE pairs together, or of one that has more."""
    order = np.argsort(owners, kind="stable")
    owners, ends = owners[order], np.cumsum(counts[order])
    firsts = np.flatnonzero(np.append(True, owners[1:] != owners[:-1]))
    before = np.append(0, ends)[firsts]
    cuts = firsts[np.diff(before // AT_ONCE, prepend=-1) > 0]
    for start, end in pairwise([*cuts.tolist(), len(order)]):
        yield order[start:end]


def _likeliest(
    ones: NDArray[np.int64], others: NDArray[np.int64], crowds: NDArray[np.int64]
) -> Pairs:
    """Of each the LIKELIEST, by keys in common, each for so much less as more have it."""
    known, places = np.unique(ones, return_inverse=True)
    pairs, which = np.unique(places * _LARGEST + others, return_inverse=True)
    scores = np.bincount(which, 1 / crowds)
    places, others = pairs // _LARGEST, pairs % _LARGEST
    order = np.lexsort((others, -scores, places))
    order = order[_counted(np.bincount(places)) < LIKELIEST]
    order = order[np.argsort(-scores[order], kind="stable")]
    ones, others = known[places[order]], others[order]
    apart = ones != others  # who is placed again has keys of before
    return Pairs(ones[apart], others[apart])


def _counted(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from 0 that are below each count, one after another."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _paired(
    places: NDArray[np.int64], sampled: NDArray[np.uint64], weights: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The heaviest pairs of what is at one place, and where that is."""
    ones = [np.flatnonzero(places[:-n] == places[n:]) for n in range(1, SAMPLED)]
    left = np.concatenate(ones)
    right = np.concatenate([one + n for n, one in enumerate(ones, start=1)])
    pairs = sampled[left] << _HALF | sampled[right]
    heavy = weights[left] + weights[right]
    order = np.lexsort((pairs, -heavy, places[left]))
    nth = _counted(np.unique(places[left], return_counts=True)[1])
    order = order[(nth == 0) | (nth < HEAVIEST_PAIRS) & (heavy[order] >= TELLING)]
    return places[left[order]], pairs[order]


def _sampled(
    parts: Sequence[Mapping[int, int]],
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """The sampled features of each part in order: the part's place, their hashes, their weights."""
    counts = np.array([len(part) for part in parts], np.int64)
    hashes = np.fromiter(chain.from_iterable(parts), np.uint64)
    weights = np.fromiter(chain.from_iterable([part.values() for part in parts]), np.int64)
    places = np.repeat(np.arange(len(counts)), counts)
    random = ((hashes * _MIX ^ hashes >> _MIXED) * _MIX_2 & _WORD) + np.uint64(1)
    # Exponentially distributed, the weight its rate.
    ranks = -np.log(random / float((1 << 32) + 1)) / weights
    order = np.lexsort((ranks, places))
    order = order[_counted(counts) < SAMPLED]
    order = order[np.lexsort((hashes[order], places[order]))]
    return places[order], hashes[order], weights[order]
