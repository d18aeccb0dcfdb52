"""Labels for problems that come without any: topic, difficulty and context by plain rules.

Rules, not a model: cheap, the same every time, and recorded as `labelled_by` on the example.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tdsys.core.arithmetic import count_steps
from tdsys.core.remembering import Remembered

VERSION = "rules_v1"


def _cue(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


TOPICS = (
    (
        "percent and ratio",
        _cue(r"%|\d/\d|\b(percent|half|twice|third|quarter|ratio|double|triple)"),
    ),
    ("money", _cue(r"\$|€|£|\b(dollars?|cents?|costs?|prices?|paid|earns?)\b")),
    ("time and speed", _cue(r"\b(hours?|minutes?|seconds?|days?|weeks?|months?|years?|miles?)\b")),
)
# The one cue of two words; it speaks for the first topic.
TWO_WORDS = "times as"
_TWO_WORDS = _cue(rf"\b{TWO_WORDS}")
OTHER_TOPIC = "quantities"
EASY_STEPS = 2
MEDIUM_STEPS = 4
CONTEXT_WORDS = 2
WORD = re.compile(r"\b[a-z]{4,}\b")
PLAIN = frozenset(
    """
    about after again also another away back been before being both does each every from gave give
    gets have here into just left many more most much needs only other over same some take than
    that their them then there they this those total were what when where which while will with
    would your whose much long times twice half third percent number first second next last day
    days week weeks month months year years hour hours minute minutes dollars cents cost costs
    """.split()  # noqa: SIM905  # a list of a hundred quoted words reads worse
)


# What a piece of text between blanks says: the number of its topic, its nouns. None for nothing.
Told = tuple[int, tuple[str, ...]]


def labels(problem: str, solution: str) -> dict[str, str]:
    """Topic by vocabulary, difficulty by the number of steps, context by the commonest nouns."""
    return labels_of(problem, _telling(problem), solution)


def labels_of(problem: str, telling: Sequence[Told], solution: str) -> dict[str, str]:
    """The labels of a problem out of what its pieces tell."""
    return {
        "topic": _topic(problem, telling),
        "difficulty": difficulty(solution),
        "context": _context(telling),
    }


def topic(problem: str) -> str:
    """The first rule that speaks."""
    return _topic(problem, _telling(problem))


def difficulty(solution: str) -> str:
    """Up to two steps are easy, up to four medium; `unrated` where no step is written out."""
    count = count_steps(solution)
    if count == 0:
        return "unrated"
    return "easy" if count <= EASY_STEPS else "medium" if count <= MEDIUM_STEPS else "hard"


def context(problem: str) -> str:
    """The two commonest longer words: roughly, what the story is about."""
    return _context(_telling(problem))


def _telling(text: str) -> list[Told]:
    return [said for piece in text.split() if (said := _SAID[piece])]


def told(piece: str) -> Told | None:
    """What a piece of text between blanks says: the number of its topic, its nouns."""
    spoken = (number for number, (_, cue) in enumerate(TOPICS) if cue.search(piece))
    first = next(spoken, len(TOPICS))
    nouns = tuple(w for w in WORD.findall(piece) if w not in PLAIN)
    return (first, nouns) if nouns or first < len(TOPICS) else None


_SAID = Remembered(told)


def _topic(problem: str, telling: Sequence[Told]) -> str:
    first = min([number for number, _ in telling], default=len(TOPICS))
    if first and TWO_WORDS in problem.casefold() and _TWO_WORDS.search(problem):
        first = 0
    return TOPICS[first][0] if first < len(TOPICS) else OTHER_TOPIC


def _context(telling: Sequence[Told]) -> str:
    counts = Counter([noun for _, nouns in telling for noun in nouns])
    chosen: list[str] = []
    while counts and len(chosen) < CONTEXT_WORDS:
        # The first of the commonest: what `most_common` says after sorting all of them.
        chosen.append(max(counts, key=counts.__getitem__))
        del counts[chosen[-1]]
    return " and ".join(chosen) or "everyday life"
