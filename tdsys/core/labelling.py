"""Labels for problems that come without any: topic, difficulty and context by plain rules.

Rules, not a model: cheap, the same every time, and recorded as `labelled_by` on the example.
"""

from __future__ import annotations

import re
from collections import Counter

from tdsys.core.arithmetic import steps

VERSION = "rules_v1"


def _cue(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


TOPICS = (
    (
        "percent and ratio",
        _cue(
            r"%|\d/\d|\b(percent|half|twice|third|quarter|ratio|double|triple)"
            r"|\btimes as"
        ),
    ),
    ("money", _cue(r"\$|€|£|\b(dollars?|cents?|costs?|prices?|paid|earns?)\b")),
    ("time and speed", _cue(r"\b(hours?|minutes?|seconds?|days?|weeks?|months?|years?|miles?)\b")),
)
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


def labels(problem: str, solution: str) -> dict[str, str]:
    """Topic by vocabulary, difficulty by the number of steps, context by the commonest nouns."""
    return {
        "topic": topic(problem),
        "difficulty": difficulty(solution),
        "context": context(problem),
    }


def topic(problem: str) -> str:
    """The first rule that speaks."""
    return next((name for name, cue in TOPICS if cue.search(problem)), OTHER_TOPIC)


def difficulty(solution: str) -> str:
    """Up to two steps are easy, up to four medium; `unrated` where no step is written out."""
    count = len(steps(solution))
    if count == 0:
        return "unrated"
    return "easy" if count <= EASY_STEPS else "medium" if count <= MEDIUM_STEPS else "hard"


def context(problem: str) -> str:
    """The two commonest longer words: roughly, what the story is about."""
    words = Counter(w for w in WORD.findall(problem) if w not in PLAIN)
    return " and ".join(word for word, _ in words.most_common(CONTEXT_WORDS)) or "everyday life"
