"""Which problems are the same problem with other numbers, names or a few other words.

One rule: numbers and names never distinguish two problems here; whether they are equal to the
letter is the fingerprint's business.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations

from tdsys.core.example import level
from tdsys.core.remembering import Remembered

SHINGLE_WORDS = 3
# 32 bands of 3 rows: a pair of Jaccard 0.5 is found with 98.6 %, one of 0.05 with 0.4 %
# (1 - (1 - s^rows)^bands, Leskovec et al., Mining of Massive Datasets, section 3.4).
BANDS = 32
ROWS = 3
THRESHOLD = 0.5

_WORD = (1 << 32) - 1
# A piece's tokens inside a sentence, at the start of one, and whether one starts after it.
Levelled = tuple[str, str, bool]

_NUMBER, _NAME = "#", "@"
_TOKEN = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+|[^\W\d_]+|[-+*/=<>^]|[.?!:]")
_NUMBER_WORDS = frozenset(
    {
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "seventy",
        "eighty",
        "ninety",
        "hundred",
        "thousand",
        "million",
    }
)
_STARTERS = frozenset(
    {
        "a",
        "after",
        "all",
        "also",
        "an",
        "and",
        "another",
        "any",
        "are",
        "as",
        "at",
        "before",
        "both",
        "but",
        "by",
        "calculate",
        "compute",
        "determine",
        "does",
        "during",
        "each",
        "every",
        "find",
        "first",
        "for",
        "from",
        "given",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "if",
        "in",
        "is",
        "it",
        "its",
        "later",
        "let",
        "many",
        "next",
        "no",
        "not",
        "now",
        "of",
        "on",
        "once",
        "one",
        "only",
        "or",
        "other",
        "our",
        "out",
        "over",
        "she",
        "since",
        "so",
        "some",
        "solve",
        "suppose",
        "than",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "together",
        "today",
        "two",
        "under",
        "until",
        "up",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "why",
        "will",
        "with",
        "write",
        "yesterday",
        "you",
        "your",
        "i",
    }
)


def template(text: str) -> str:
    """A text's words in lower case, numbers and names exchanged for signs, no punctuation."""
    known = _SHOUTED if text.isupper() else _SPOKEN
    return joined([known[piece] for piece in text.split()])


def joined(pieces: Iterable[Levelled]) -> str:
    """The template of a text out of its pieces."""
    written: list[str] = []
    starts = True
    for inside, at_start, ends in pieces:
        if inside:
            written.append(at_start if starts else inside)
            starts = ends
        elif ends:
            starts = True
    return " ".join(written)


def template_key(text: str) -> bytes:
    """16 bytes that stay the same when numbers, number words and names are exchanged."""
    return hashlib.blake2b(template(text).encode(), digest_size=16).digest()


def shingles(text: str) -> frozenset[int]:
    """Hashed runs of three words, numbers and names levelled; fewer words make one shingle."""
    return _shingled(template(text).split())


def signature(of: Iterable[int]) -> tuple[int, ...]:
    """MinHash: the smallest image of the shingles under each fixed permutation."""
    hashed = list(of)
    if not hashed:
        return (0,) * len(_PERMUTATIONS)
    return tuple([min([factor * x & _WORD for x in hashed]) for factor in _PERMUTATIONS])


def jaccard(left: frozenset[int], right: frozenset[int]) -> float:
    """The share of common shingles; two empty sets are the same."""
    union = len(left | right)
    return len(left & right) / union if union else 1.0


def clusters(texts: Sequence[str], *, threshold: float = THRESHOLD) -> list[int]:
    """The cluster of each text, named by its first member's index.

    Texts with one template share a cluster, so do texts whose shingles overlap by `threshold`,
    and so does everything connected through them.
    """
    first: dict[str, int] = {}
    owner = [first.setdefault(template(text), index) for index, text in enumerate(texts)]
    known = {index: _shingled(joined.split()) for joined, index in first.items()}
    forest = _Forest(known)
    for left, right in _candidates(known):
        if forest.root(left) != forest.root(right) and (
            jaccard(known[left], known[right]) >= threshold
        ):
            forest.join(left, right)
    return [forest.root(index) for index in owner]


class _Forest:
    """Union-find whose roots are the smallest members."""

    def __init__(self, members: Iterable[int]) -> None:
        self._parent = {member: member for member in members}

    def root(self, member: int) -> int:
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member

    def join(self, left: int, right: int) -> None:
        low, high = sorted((self.root(left), self.root(right)))
        self._parent[high] = low


def _candidates(known: dict[int, frozenset[int]]) -> Iterable[tuple[int, int]]:
    """Pairs that agree in at least one band of their signatures."""
    buckets: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for index, hashed in known.items():
        signed = signature(hashed)
        for band in range(BANDS):
            buckets[band, signed[band * ROWS : (band + 1) * ROWS]].append(index)
    seen: set[tuple[int, int]] = set()
    for members in buckets.values():
        for pair in combinations(members, 2):
            if pair not in seen:
                seen.add(pair)
                yield pair


def _shingled(tokens: Sequence[str]) -> frozenset[int]:
    if not tokens:
        return frozenset()
    runs = max(1, len(tokens) - SHINGLE_WORDS + 1)
    return frozenset(
        zlib.crc32(" ".join(tokens[i : i + SHINGLE_WORDS]).encode()) for i in range(runs)
    )


def levelled(piece: str, *, named: bool = True) -> Levelled:
    """What a piece of text between blanks adds to a template; in capitals none is `named`."""
    inside: list[str] = []
    at_start: list[str] = []
    starts, may_start = False, True
    for word in _TOKEN.findall(piece):
        if word in ".?!:":
            starts = may_start = True
            continue
        inside.append(_levelled(word, named=named, starts=starts))
        at_start.append(_levelled(word, named=named, starts=may_start))
        starts = may_start = False
    return " ".join(inside), " ".join(at_start), starts


_SPOKEN = Remembered(levelled)
# In a text in capitals nothing shows what is a name.
_SHOUTED = Remembered(partial(levelled, named=False))


def _levelled(word: str, *, named: bool, starts: bool) -> str:
    low = level(word)
    if word[0].isdigit() or word[0] == "." or low in _NUMBER_WORDS:
        return _NUMBER
    is_name = named and word[0].isupper() and len(word) > 1 and not (starts and low in _STARTERS)
    return _NAME if is_name else low


def _permutations() -> tuple[int, ...]:
    """Odd factors permute 32-bit words; fixed for ever, so that all processes agree."""
    digests = (
        hashlib.blake2b(b"tdsys %d" % n, digest_size=4).digest() for n in range(BANDS * ROWS)
    )
    return tuple(int.from_bytes(digest) | 1 for digest in digests)


_PERMUTATIONS = _permutations()
