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
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from tdsys.core.rarity import number_weight, weight
from tdsys.core.remembering import Remembered
from tdsys.core.similarity import Token, tokens

# From where on two problems are neighbours by their wording, and from where on one. What these find
# and what they find wrongly is in docs/diversity.md.
NEAR = 0.55
LINKED = 0.7
# Less is enough where they have numbers and names in common: so much of these, and so much of all.
LINKED_BY_DETAILS = 0.3
LINKED_BY_ALL = 0.33
# All numbers of a problem together are a feature of this weight, where it names two or more.
SAME_NUMBERS = 100
FEWEST_NUMBERS = 2
# A shorter sentence ("how much is left") is in too many problems to tell of one; of the others the
# heaviest do.
SHORTEST_SENTENCE = 4
SENTENCES = 3
SHORT = 3
DIGITS = ".0123456789"
# The hash of a detail is odd, that of anything else even: what a name is called is no word.
DETAIL = 1
_EVEN = (1 << 32) - 2
_MIX = 0x9E3779B1
_NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")


class Sketch(NamedTuple):
    """What a problem is compared by; features are hashes with their weights.

    `wording` is words and pairs of neighbours with numbers and names levelled, so it is the
    template's. `details` are the numbers and names, which are the first `named` of them, and pairs
    of neighbours with one of these. `numbers` is a hash of all of them, None where these are fewer
    than two; `sentences` are hashes of the heaviest, levelled.
    """

    template: int
    wording: Mapping[int, int]
    details: Mapping[int, int]
    named: int
    numbers: int | None
    sentences: tuple[int, ...]


class Alike(NamedTuple):
    """The cosines of two problems' wordings, of their details, and of both together."""

    wording: float
    details: float
    whole: float

    @property
    def linked(self) -> bool:
        """Whether so alike belongs to one cluster."""
        return bool(belongs(*self))

    @property
    def near(self) -> bool:
        """Whether so alike is shown as a neighbour."""
        return self.linked or self.wording >= NEAR


def belongs(wording: Any, details: Any, whole: Any) -> Any:
    """Whether so alike belongs to one cluster.

    Of numbers a bool, of arrays an array: there is one rule for both.
    """
    return (wording >= LINKED) | (details >= LINKED_BY_DETAILS) & (whole >= LINKED_BY_ALL)


class _Token(NamedTuple):
    """A word, number or name, levelled: `alone` is its weight, `paired` that beside another.

    `own` is the hash of the number or name itself, 0 for a word, with its weights.
    """

    hashed: int
    alone: int
    paired: int
    own: int
    own_alone: int
    own_paired: int


class _Piece(NamedTuple):
    """What stands between blanks, as it is inside a sentence and at the start of one."""

    inside: tuple[str, list[_Token]]
    at_start: tuple[str, list[_Token]]
    heavy: int
    numbers: list[str]
    ends: bool


def problem_of(outputs: Mapping[str, Any]) -> str:
    """The text an example is compared by: its problem, or all of it where there is none."""
    return str(outputs.get("problem", outputs))


def sketch(problem: str) -> Sketch:
    """The sketch of a problem's text."""
    known = _SHOUTED if problem.isupper() else _SPOKEN
    tokens: list[_Token] = []
    told: list[tuple[int, list[str]]] = []
    numbers: set[str] = set()
    weighs, words = 0, list[str]()
    for inside, at_start, heavy, digits, ends in map(known.__getitem__, problem.split()):
        says, found = inside if words else at_start
        if says:
            words.append(says)
            tokens += found
            weighs += heavy
            if digits:
                numbers.update(digits)
        if ends and words:
            told.append((weighs, words))
            weighs, words = 0, []
    if words:
        told.append((weighs, words))
    said = [(weighs, " ".join(words)) for weighs, words in told]
    details = {one.own: one.own_alone for one in tokens if one.own}
    all_numbers = None
    if len(numbers) >= FEWEST_NUMBERS:
        all_numbers = _crc(" ".join(sorted(numbers))) | DETAIL
        details[all_numbers] = SAME_NUMBERS
    named = len(details)
    pairs, wording = _features(tokens)
    template = _hashed("template", " ".join([words for _, words in said]))
    sentences = tuple(_marks(said))
    return Sketch(template, wording, details | pairs, named, all_numbers, sentences)


def likeness(left: Sketch, right: Sketch) -> float:
    """The cosine of two problems' wordings; 1 for one template."""
    if left.template == right.template:
        return 1.0
    shared = _shared(left.wording, right.wording)
    return _cosine(shared, _square(left.wording), _square(right.wording))


def linked(left: Sketch, right: Sketch) -> bool:
    """Whether two problems belong to one cluster."""
    return left.template == right.template or alike(left, right).linked


def alike(left: Sketch, right: Sketch) -> Alike:
    """How alike two problems of different templates are."""
    wording, details = (
        (_shared(one, other), _square(one), _square(other))
        for one, other in ((left.wording, right.wording), (left.details, right.details))
    )
    whole = [one + other for one, other in zip(wording, details, strict=True)]
    return Alike(_cosine(*wording), _cosine(*details), _cosine(*whole))


def same_numbers(left: str, right: str) -> bool:
    """Whether two problems name the same two or more numbers."""
    one, other = (
        {number.replace(",", "") for number in _NUMBER.findall(problem)}
        for problem in (left, right)
    )
    return one == other and len(one) >= FEWEST_NUMBERS


def _shared(features: Mapping[int, int], others: Mapping[int, int]) -> int:
    # A feature's weight is its own, so both have the same: the product is a square.
    return sum([features[one] ** 2 for one in features.keys() & others.keys()])


def _square(features: Mapping[int, int]) -> int:
    return sum([heavy * heavy for heavy in features.values()])


def _cosine(shared: int, square: int, other: int) -> float:
    return shared / (math.sqrt(square) * math.sqrt(other)) if shared else 0.0


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


def packed(one: Sketch) -> bytes:
    """Its features as bytes: four for each hash, then one for each weight."""
    features = {**one.details, **one.wording}
    return array("I", features).tobytes() + bytes(features.values())


def salt(domain: str) -> int:
    """64 bits: by exclusive or, a domain's keys differ from those of any other."""
    return _hashed("domain", domain)


def _marks(said: Sequence[tuple[int, str]]) -> list[int]:
    """A hash of each of the heaviest sentences."""
    told = {words: heavy for heavy, words in said if words.count(" ") >= SHORTEST_SENTENCE - 1}
    heaviest = sorted([(heavy, _crc(words)) for words, heavy in told.items()])
    return [*dict.fromkeys(hashed for _, hashed in heaviest[-SENTENCES:])]


def _features(tokens: Sequence[_Token]) -> tuple[dict[int, int], dict[int, int]]:
    """Pairs with a number or name itself; words and pairs where these are levelled."""
    own: dict[int, int] = {}
    levelled = {one.hashed: one.alone for one in tokens if one.alone}
    for (left, _, heavy, mine, _, mine_heavy), (right, _, paired, said, _, said_paired) in pairwise(
        tokens
    ):
        if both := heavy + paired:
            levelled[(left * _MIX + right) & _EVEN] = both
        if said or mine:
            one, other = mine or left, said or right
            both = (mine_heavy or heavy) + (said_paired or paired)
            own[(one * _MIX + other) & _EVEN | DETAIL] = both
    return own, levelled


def _piece(piece: str, *, named: bool = True) -> _Piece:
    inside, at_start, ends = tokens(piece, named=named)
    numbers = [word for _, word in inside if word[0] in DIGITS]
    told = _told(inside)
    heavy = sum(one.own_alone or one.alone for one in told[1])
    return _Piece(told, _told(at_start), heavy, numbers, ends)


def _told(found: Sequence[Token]) -> tuple[str, list[_Token]]:
    return " ".join([sign for sign, _ in found]), [_token(sign, word) for sign, word in found]


def _token(sign: str, word: str) -> _Token:
    heavy = weight(sign)
    if sign == word:
        alone = heavy if sign[0].isalpha() else 0
        return _Token(_crc(_stem(sign)), alone, _paired(heavy), 0, 0, 0)
    own = number_weight(word) if word[0] in DIGITS else weight(word)
    said = _crc(_stem(word)) | DETAIL if own else 0
    return _Token(_crc(sign), 0, _paired(heavy), said, own, _paired(own))


def _paired(heavy: int) -> int:
    """A pair weighs as much as two thirds of both."""
    return heavy * 2 // 3


def _stem(word: str) -> str:
    """A plural is its singular."""
    return word[:-1] if len(word) > SHORT and word[-1] == "s" != word[-2] else word


_SPOKEN = Remembered(_piece)
# In a text in capitals nothing shows what is a name.
_SHOUTED = Remembered(partial(_piece, named=False))


def _crc(text: str) -> int:
    return zlib.crc32(text.encode()) & _EVEN


def _hashed(kind: str, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=kind.encode()).digest()
    return int.from_bytes(digest, signed=True)
