"""The built-in metric: is what the program wrote correct, new and as asked for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from tdsys.core.arithmetic import steps
from tdsys.core.example import Document, level
from tdsys.core.program import Grade, Item
from tdsys.core.rubric import Outcome, Verifier

WORD = re.compile(r"[^\W\d_]{3,}")
Vector = Mapping[str, float]


class GenerationGrader:
    """Grades a generated problem in [0, 1]: correct x new x (topic + difficulty + request) / 3.

    Correctness is the verifier's word; topic is a nearest-centroid comparison with the known
    examples' texts; difficulty is the number of steps known examples of that difficulty take;
    the request part is how much of every other input the problem mentions.
    """

    name = "verified_generation_v1"

    def __init__(self, domain: str, known: Sequence[Item], verifier: Verifier) -> None:
        self._domain = domain
        self._verifier = verifier
        self._known = {level(_text(i.outputs, "problem")) for i in known}
        self._topics = _centroids(known)
        self._steps = _step_ranges(known)

    def __call__(self, item: Item, produced: Document) -> Grade:
        """The grade of `produced` for the request in `item.inputs`."""
        parts = {
            "correct": self._correct(item, produced),
            "new": float(level(_text(produced, "problem")) not in self._known),
            "topic": self._on_topic(item, produced),
            "difficulty": self._difficulty(item, produced),
            "request": _mentions(item, produced),
        }
        wanted = fmean((parts["topic"], parts["difficulty"], parts["request"]))
        return Grade(value=parts["correct"] * parts["new"] * wanted, parts=parts)

    def _correct(self, item: Item, produced: Document) -> float:
        verdict = self._verifier.verify(self._domain, item.inputs, produced)
        if verdict.failed() or verdict.suspicious():
            return 0.0
        checked = [
            c.outcome is Outcome.PASSED for c in verdict.checks if c.name in {"steps", "answer"}
        ]
        return fmean(checked) if checked else 0.0

    def _on_topic(self, item: Item, produced: Document) -> float:
        asked = self._topics.get(level(_text(item.inputs, "topic")))
        if asked is None:
            return 1.0
        text = _vector(_text(produced, "problem"))
        best = max(_cosine(text, centroid) for centroid in self._topics.values())
        return _cosine(text, asked) / best if best else 0.0

    def _difficulty(self, item: Item, produced: Document) -> float:
        known = self._steps.get(level(_text(item.inputs, "difficulty")))
        if known is None:
            return 1.0
        count = len(steps(_text(produced, "solution")))
        return 1 / (1 + max(known[0] - count, 0, count - known[1]))


def _text(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _vector(text: str) -> Vector:
    return {word: 1 + math.log(n) for word, n in Counter(_words(text)).items()}


def _cosine(a: Vector, b: Vector) -> float:
    dot = sum(weight * b.get(word, 0.0) for word, weight in a.items())
    norm = math.hypot(*a.values()) * math.hypot(*b.values())
    return dot / norm if norm else 0.0


def _centroids(known: Iterable[Item]) -> dict[str, Vector]:
    """Per topic the mean word vector, weighted down for words that all topics share."""
    sums: dict[str, Counter[str]] = {}
    for item in known:
        sums.setdefault(level(_text(item.inputs, "topic")), Counter()).update(
            set(_words(_text(item.outputs, "problem")))
        )
    spread = Counter(word for words in sums.values() for word in words)
    return {
        topic: {w: n * math.log(1 + len(sums) / spread[w]) for w, n in words.items()}
        for topic, words in sums.items()
        if topic
    }


def _step_ranges(known: Iterable[Item]) -> dict[str, tuple[int, int]]:
    seen: dict[str, list[int]] = {}
    for item in known:
        seen.setdefault(level(_text(item.inputs, "difficulty")), []).append(
            len(steps(_text(item.outputs, "solution")))
        )
    return {name: _middle(counts) for name, counts in seen.items() if name}


def _middle(counts: list[int]) -> tuple[int, int]:
    """The range that holds the middle 80 % of the counts."""
    ordered = sorted(counts)
    cut = len(ordered) // 10
    return ordered[cut], ordered[len(ordered) - 1 - cut]


def _mentions(item: Item, produced: Document) -> float:
    asked = [
        w
        for name in item.inputs
        if name not in {"topic", "difficulty"}
        for w in _words(_text(item.inputs, name))
    ]
    held = set(_words(_text(produced, "problem")))
    return fmean(word in held for word in asked) if asked else 1.0
