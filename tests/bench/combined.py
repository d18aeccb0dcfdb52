"""The rule that the project's own research ends with, as a baseline: any of three says near.

MinHash at 0.4, TF-IDF over words and pairs of words with names and numbers at 0.45, or the same two
or more numbers and TF-IDF over content words at 0.3. All that is stored is compared with.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_TERM = re.compile(r"[a-z]+|[0-9][0-9,.]*")
_WORD = re.compile(r"[a-z]+")
_NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")
_EMPTY = frozenset(
    _WORD.findall(
        "a an the and or of to in on at for with by from is are was were be been he she it they "
        "his her their its has have had does do did how many much what if each every all as that "
        "this then than there will would can could so after before more less out up into when "
        "which who ",
    )
)
Terms = Callable[[str], list[str]]


def terms(problem: str) -> list[str]:
    words = _TERM.findall(problem.lower())
    return words + [f"{one} {other}" for one, other in pairwise(words)]


def content(problem: str) -> list[str]:
    return [word for word in _WORD.findall(problem.lower()) if word not in _EMPTY]


def numbers(problem: str) -> frozenset[str]:
    return frozenset(number.replace(",", "") for number in _NUMBER.findall(problem))


class Weighed:
    """TF-IDF over all problems, by an inverted index."""

    def __init__(self, problems: Sequence[str], of: Terms) -> None:
        counted = [Counter(of(problem)) for problem in problems]
        shares = Counter(term for counts in counted for term in counts)
        self._of, self._size = of, len(problems)
        self._idf = {term: self._rarity(share) for term, share in shares.items()}
        held: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for place, counts in enumerate(counted):
            for term, weight in self._vector(counts).items():
                held[term].append((place, weight))
        self._held = {
            term: (np.array([place for place, _ in rows]), np.array([w for _, w in rows]))
            for term, rows in held.items()
        }

    def cosines(self, problem: str) -> NDArray[np.float64]:
        """With every problem."""
        found = np.zeros(self._size)
        for term, weight in self._vector(Counter(self._of(problem))).items():
            if term in self._held:
                places, weights = self._held[term]
                found[places] += weights * weight
        return found

    def _rarity(self, share: int) -> float:
        return math.log((1 + self._size) / (1 + share)) + 1

    def _vector(self, counts: Counter[str]) -> dict[str, float]:
        raw = {term: n * self._idf.get(term, self._rarity(0)) for term, n in counts.items()}
        length = math.hypot(*raw.values()) or 1.0
        return {term: weight / length for term, weight in raw.items()}


class Combined:
    """What is near by words with names and numbers, or by the same numbers and content words."""

    def __init__(self, problems: Sequence[str]) -> None:
        self._terms, self._content = Weighed(problems, terms), Weighed(problems, content)
        self._by_numbers: dict[frozenset[str], list[int]] = defaultdict(list)
        for place, problem in enumerate(problems):
            if len(numbers(problem)) >= 2:
                self._by_numbers[numbers(problem)].append(place)

    def near(self, problem: str) -> set[int]:
        found: set[int] = set(np.flatnonzero(self._terms.cosines(problem) >= 0.45).tolist())
        if same := self._by_numbers.get(numbers(problem)):
            alike = self._content.cosines(problem)
            found.update(place for place in same if alike[place] >= 0.3)
        return found
