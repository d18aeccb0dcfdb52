"""Whether a problem is one of a benchmark's: compared by marks, never by the benchmark's text.

One rule: a mark is 64 bits of a hash, so what is stored and handed around gives no test away.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tdsys.core.example import level
from tdsys.core.similarity import template

# A shorter template ("what is # + #") says too little to name its source.
DISTINCT_WORDS = 12

_WORDS = re.compile(r"[^\W_]+|[-+*/=<>^]")


class Marks(NamedTuple):
    """One problem's marks: its words, and its words without numbers and names where they tell."""

    words: int
    template: int | None


def marks(problem: str) -> Marks:
    """The marks of a problem; letter case, blanks and punctuation do not count."""
    words = " ".join(_WORDS.findall(level(problem)))
    levelled = template(problem)
    distinct = levelled.count(" ") + 1 >= DISTINCT_WORDS
    return Marks(mark("words", words), mark("template", levelled) if distinct else None)


def mark(kind: str, text: str) -> int:
    """64 signed bits, as Postgres' bigint."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=kind.encode()).digest()
    return int.from_bytes(digest, signed=True)


class Registered:
    """The marks of all benchmarks, eight bytes each; asked for every imported record."""

    def __init__(self, benchmarks: Mapping[str, Iterable[int]]) -> None:
        self._names = sorted(benchmarks)
        pairs = sorted((one, n) for n, name in enumerate(self._names) for one in benchmarks[name])
        self._marks = array("q", (one for one, _ in pairs))
        self._owners = array("I", (owner for _, owner in pairs))

    def __bool__(self) -> bool:
        return bool(self._marks)

    def holds(self, problem: str) -> str | None:
        """The benchmark a problem belongs to; None for one that is in none."""
        for one in marks(problem):
            if one is not None and (name := self._owner(one)):
                return name
        return None

    def _owner(self, one: int) -> str | None:
        at = bisect_left(self._marks, one)
        if at < len(self._marks) and self._marks[at] == one:
            return self._names[self._owners[at]]
        return None
