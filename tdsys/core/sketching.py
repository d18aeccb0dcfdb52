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
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
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
SHORT = 3
HEAVIEST = 2 * RARE

_WORD = (1 << 32) - 1
_MIX = 0x9E3779B1
# The squares of weights in steps, each as one byte, rounded up and down.
_STEP = -(-(HEAVIEST**2) // 255)
_SQUARES = [min(n, HEAVIEST) ** 2 for n in range(256)]
_RAISED = bytes([-(-square // _STEP) for square in _SQUARES])
_LOWERED = bytes([square // _STEP for square in _SQUARES])
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
    shared = _shared(left.features, right.features)
    return shared / (left.length * right.length) if shared else 0.0


class Probe:
    """One problem beside many templates, of which only the `packed` features are at hand."""

    def __init__(self, one: Sketch) -> None:
        self._features, self._length = one.features, one.length
        most = bytearray(256)
        features = packed(one.features)
        count = len(one.features)
        raised = features[4 * count :].translate(_RAISED)
        for first, square in zip(features[: 4 * count : 4], raised, strict=True):
            if square > most[first]:  # noqa: PLR1730  # calls would be most of it
                most[first] = square
        self._most = bytes(most)

    def likeness(self, packed: bytes, *, least: float) -> float:
        """How like one template is; it may be 0 where that is below `least`."""
        count = len(packed) // 5
        hashes, weights = packed[: 4 * count], packed[4 * count :]
        # Most are far from it, which the first byte of each hash tells in a third of the time: what
        # they share is no more than where these agree.
        shared = sum(hashes[::4].translate(self._most))
        length = sum(weights.translate(_LOWERED))
        if _STEP * shared * shared < (least * self._length) ** 2 * length:
            return 0.0
        common = _shared(self._features, memoryview(hashes).cast("I"))
        return common / (self._length * _length(weights)) if common else 0.0


def _shared(features: Mapping[int, int], others: Iterable[int]) -> int:
    # A feature's weight is its own, so both have the same: the product is a square.
    return sum(map(_SQUARED, map(features.__getitem__, features.keys() & others)))


def linked(alike: float, *, same_numbers: bool) -> bool:
    """Whether two problems that are so `alike` belong to one cluster."""
    return alike >= (LINKED_BY_NUMBERS if same_numbers else LINKED)


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


def salt(domain: str) -> int:
    """64 bits: by exclusive or, a domain's numbers and keys differ from those of any other."""
    return _hashed("domain", domain)


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
