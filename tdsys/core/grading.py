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
from tdsys.core.rubric import Check, Outcome, Verifier

WORD = re.compile(r"[^\W\d_]{3,}")
Vector = Mapping[str, float]
EVIDENCE_SHOWN = 300
ENOUGH = 0.8
UNPROVED = "Not every calculation could be followed: write each as <<3*12=36>>36."
SHORTCOMINGS = {
    "new": "It copies a known problem; write another.",
    "topic": "The problem's words are those of another topic than the one asked for.",
    "difficulty": "The solution takes more or fewer steps than problems of this difficulty do.",
    "request": "The problem leaves out words of the request, such as its context.",
}


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
        correct, wrong = self._correct(item, produced)
        parts = {
            "correct": correct,
            "new": float(level(_text(produced, "problem")) not in self._known),
            "topic": self._on_topic(item, produced),
            "difficulty": self._difficulty(item, produced),
            "request": _mentions(item, produced),
        }
        wanted = fmean((parts["topic"], parts["difficulty"], parts["request"]))
        value = parts["correct"] * parts["new"] * wanted
        return Grade(value=value, parts=parts, feedback=_in_words(parts, wrong))

    def _correct(self, item: Item, produced: Document) -> tuple[float, Sequence[Check]]:
        """How much of it is proved, and the checks that speak against it."""
        verdict = self._verifier.verify(self._domain, item.inputs, produced)
        if wrong := (*verdict.failed(), *verdict.suspicious()):
            return 0.0, wrong
        checked = [
            c.outcome is Outcome.PASSED for c in verdict.checks if c.name in {"steps", "answer"}
        ]
        return fmean(checked) if checked else 0.0, ()

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


def _in_words(parts: Mapping[str, float], wrong: Sequence[Check]) -> str:
    """What was found, for an optimizer that learns from words."""
    found = [f"The check of {c.name} {c.outcome}: {c.evidence[:EVIDENCE_SHOWN]}" for c in wrong]
    if not wrong and parts["correct"] < 1:
        found.append(UNPROVED)
    found += [said for name, said in SHORTCOMINGS.items() if parts[name] < ENOUGH]
    return "\n".join(found or ["Correct, new and as asked for."])


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
