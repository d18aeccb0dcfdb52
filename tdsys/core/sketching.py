"""Which problems are near-duplicates: of one template, or of nearly the same words.

One rule: whether two problems are linked depends on their two sketches alone, so the clusters that
come of it are the same whatever the order, the number of workers, or the blocks they came in.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from math import log
from typing import NamedTuple

from tdsys.core.rarity import RARE, weight
from tdsys.core.remembering import Remembered
from tdsys.core.similarity import template

# From where on two problems are neighbours, and from where on one: less likeness is enough when
# both name the same numbers. What these find and what they find wrongly is in docs/diversity.md.
NEAR = 0.55
LINKED = 0.7
LINKED_BY_NUMBERS = 0.4
FEWEST_NUMBERS = 2
# Each pair of the SAMPLED features is a key; three features in common are three keys in common.
SAMPLED = 7
COMMON_KEYS = 3
SHORT = 3
HEAVIEST = 2 * RARE

_WORD = (1 << 32) - 1
_WORDS = _WORD + 2
_MIX, _MIX_2 = 0x9E3779B1, 0x85EBCA77
_SQUARED = [n * n for n in range(HEAVIEST + 1)].__getitem__
_NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")


class Sketch(NamedTuple):
    """What is kept of a problem to compare it by; `numbers` is None where they tell nothing.

    `features` are hashed words and pairs of neighbours with their weights, numbers and names
    levelled; `length` is the length of that vector.
    """

    template: int
    numbers: int | None
    features: Mapping[int, int]
    length: float


def sketch(problem: str) -> Sketch:
    """The sketch of a problem's text."""
    levelled = template(problem)
    features = _features(levelled.split())
    return Sketch(
        _hashed("template", levelled), _numbers(problem), features, _length(features.values())
    )


def likeness(left: Sketch, right: Sketch) -> float:
    """The cosine of two problems' words and pairs of neighbours; 1 for one template."""
    if left.template == right.template:
        return 1.0
    return _cosine(left, right.features, right.length)


class Kept(NamedTuple):
    """Another template as it was `packed`, read as far as a likeness needs."""

    hashes: Sequence[int]
    length: float


def kept(features: bytes) -> Kept:
    """A template's features as `likeness_to` takes them."""
    count = len(features) // 5
    hashes = array("I")
    hashes.frombytes(features[: 4 * count])
    return Kept(hashes, _length(features[4 * count :]))


def likeness_to(one: Sketch, other: Kept) -> float:
    """The likeness to another template, of which only the `packed` features are at hand."""
    return _cosine(one, other.hashes, other.length)


def _cosine(one: Sketch, hashes: Iterable[int], length: float) -> float:
    # A feature's weight is its own, so both have the same: the product is a square.
    shared = sum(map(_SQUARED, filter(None, map(one.features.get, hashes))))
    return shared / (one.length * length) if shared else 0.0


def linked(alike: float, *, same_numbers: bool) -> bool:
    """Whether two problems that are so `alike` belong to one cluster."""
    return alike >= (LINKED_BY_NUMBERS if same_numbers else LINKED)


def keys(features: Mapping[int, int]) -> list[int]:
    """64 signed bits each: problems that are linked have COMMON_KEYS in common, nearly always.

    Features are sampled by weight, with one random number for one feature wherever it stands, so
    that two samples agree where the problems do: MinHash with weights (Cohen and Kaplan,
    Summarizing data using bottom-k sketches, 2007).
    """
    # Exponentially distributed, the weight its rate; written out, for it is done for each feature.
    by_rank = sorted([
        (-log((((f * _MIX ^ f >> 15) * _MIX_2 & _WORD) + 1) / _WORDS) / heavy, f)
        for f, heavy in features.items()
    ])  # fmt: skip
    sampled = sorted([feature for _, feature in by_rank[:SAMPLED]])
    return [_signed(left << 32 | right) for left, right in combinations(sampled, 2)]


def clusters(problems: Sequence[str]) -> list[int]:
    """The cluster of each problem, named by its first member's index: all that is connected."""
    sketches = [sketch(problem) for problem in problems]
    forest = Forest()
    for left, right, same_numbers in _candidates(sketches):
        alike = likeness(sketches[left], sketches[right])
        if linked(alike, same_numbers=same_numbers):
            forest.join(left, right)
    return [forest.root(index) for index in range(len(sketches))]


class Forest:
    """Union-find over whole numbers; a root is its tree's smallest member."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, member: int) -> int:
        """The smallest number joined with this one."""
        parent = self._parent
        while (above := parent.get(member, member)) != member:
            parent[member] = member = parent.get(above, above)
        return member

    def join(self, left: int, right: int) -> None:
        """Make two trees one."""
        low, high = sorted((self.root(left), self.root(right)))
        self._parent[high] = low

    def moved(self) -> dict[int, int]:
        """Every member that is not its own root, and its root."""
        return {member: self.root(member) for member in self._parent if self.root(member) != member}


def packed(features: Mapping[int, int]) -> bytes:
    """Features as bytes: four for each hash, then one for each weight."""
    return array("I", features).tobytes() + bytes(features.values())


def unpacked(kept: bytes) -> dict[int, int]:
    """The features `packed` was given."""
    count = len(kept) // 5
    hashes = array("I")
    hashes.frombytes(kept[: 4 * count])
    return dict(zip(hashes, kept[4 * count :], strict=True))


def restored(mark: int, features: bytes) -> Sketch:
    """A template's sketch as it was kept; the numbers are an example's own."""
    found = unpacked(features)
    return Sketch(mark, None, found, _length(found.values()))


def salted(domain: str, words: Iterable[int]) -> list[int]:
    """64-bit words that differ from those of any other domain."""
    salt = _hashed("domain", domain)
    return [salt ^ word for word in words]


def _candidates(sketches: Iterable[Sketch]) -> Iterator[tuple[int, int, bool]]:
    """Pairs of one template, of the same numbers, or with COMMON_KEYS."""
    alone: dict[tuple[str, int], list[int]] = defaultdict(list)
    shared: dict[int, list[int]] = defaultdict(list)
    common: Counter[tuple[int, int]] = Counter()
    for index, one in enumerate(sketches):
        if known := alone["template", one.template]:
            yield known[0], index, False
        else:
            for key in keys(one.features):
                common.update([(other, index) for other in shared[key]])
                shared[key].append(index)
        known.append(index)
        if one.numbers is not None:
            yield from [(other, index, True) for other in alone["numbers", one.numbers]]
            alone["numbers", one.numbers].append(index)
    yield from [(*pair, False) for pair, count in common.items() if count >= COMMON_KEYS]


def _features(tokens: Sequence[str]) -> dict[int, int]:
    read = [_TOKENS[token] for token in tokens]
    found = {hashed: heavy for hashed, heavy, is_word in read if is_word and heavy}
    for (left, left_weight, _), (right, right_weight, _) in pairwise(read):
        if both := left_weight + right_weight:
            found[(left * _MIX + right) & _WORD] = both
    return found


def _token(token: str) -> tuple[int, int, bool]:
    """A token's hash and weight, and whether it is a word; a plural is its singular."""
    stem = token[:-1] if len(token) > SHORT and token[-1] == "s" != token[-2] else token
    return zlib.crc32(stem.encode()), weight(token), token[0].isalpha()


_TOKENS = Remembered(_token)


def _numbers(problem: str) -> int | None:
    found = {one.replace(",", "") for one in _NUMBER.findall(problem)}
    return _hashed("numbers", " ".join(sorted(found))) if len(found) >= FEWEST_NUMBERS else None


def _length(weights: Iterable[int]) -> float:
    return math.sqrt(sum(map(_SQUARED, weights)))


def _hashed(kind: str, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=kind.encode()).digest()
    return int.from_bytes(digest, signed=True)


def _signed(word: int) -> int:
    mixed = word * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    return mixed - (1 << 64) if mixed >> 63 else mixed
