"""Which words go with which topic of elementary mathematics, and whether a text fits a topic.

Its rule: it decides from the text alone, and a topic it does not know gets the benefit of the
doubt. In `lexicon.json` a topic has `defining` words (they settle it, and speak against any other
topic), `enough` words (they settle it, but occur elsewhere too) and `usual` words (they count
unless another topic's defining word stands beside them).
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from tdsys.core.example import level

WORD = re.compile(r"[^\W\d_]{4,}")
JOINED = re.compile(r"\s*(?:,|/|&|\b(?:and|with|in|of|by|on)\b)\s*")
NEVER = re.compile(r"(?!)")


class Fit(StrEnum):
    """How a text relates to a topic."""

    FITS = "fits"
    UNCLEAR = "unclear"
    DIFFERS = "differs"


class Entry(BaseModel):
    """One topic of the lexicon; cues are regular expressions of whole words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    defining: tuple[str, ...] = ()
    enough: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    anything: bool = False


class Cues(NamedTuple):
    """An entry's cues, ready to search."""

    defining: re.Pattern[str]
    enough: re.Pattern[str]
    usual: re.Pattern[str]


@lru_cache(maxsize=8192)
def judge(topic: str, text: str) -> Fit:
    """Whether a text is of a topic: its own vocabulary first, then that of all other topics."""
    own = entries(topic)
    if not own:
        return _by_shared_words(topic, text)
    if any(_settles(name, text) for name in own):
        return Fit.FITS
    usual = any(_cues()[name].usual.search(text) for name in own)
    return Fit.FITS if usual and not _speaks_of_another(own, text) else Fit.DIFFERS


def is_same(topic: str, other: str) -> bool:
    """Whether two labels name the same topic, as written or as synonyms."""
    if level(topic) == level(other):
        return True
    return bool(own := entries(topic)) and own == entries(other)


@lru_cache(maxsize=1024)
def entries(topic: str) -> frozenset[str]:
    """The known topics a label names; empty when it names none."""
    names = _names()
    label = level(topic)
    if label in names:
        return names[label]
    return frozenset().union(*(names[part] for part in JOINED.split(label) if part in names))


def _settles(name: str, text: str) -> bool:
    cues = _cues()[name]
    return bool(_lexicon()[name].anything or cues.defining.search(text) or cues.enough.search(text))


def _speaks_of_another(own: frozenset[str], text: str) -> bool:
    return any(cues.defining.search(text) for name, cues in _cues().items() if name not in own)


def _by_shared_words(topic: str, text: str) -> Fit:
    held = set(WORD.findall(text.casefold()))
    asked = WORD.findall(topic.casefold())
    return Fit.FITS if any(word in held for word in asked) else Fit.UNCLEAR


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, Entry]:
    text = (files("tdsys.llm.offline") / "lexicon.json").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Entry]).validate_json(text)


@lru_cache(maxsize=1)
def _names() -> dict[str, frozenset[str]]:
    names: dict[str, set[str]] = {}
    for entry, known in _lexicon().items():
        for name in known.names:
            names.setdefault(level(name), set()).add(entry)
    return {name: frozenset(found) for name, found in names.items()}


@lru_cache(maxsize=1)
def _cues() -> dict[str, Cues]:
    return {
        entry: Cues(_pattern(known.defining), _pattern(known.enough), _pattern(known.usual))
        for entry, known in _lexicon().items()
    }


def _pattern(cues: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_bounded, cues)), re.IGNORECASE) if cues else NEVER


def _bounded(cue: str) -> str:
    """A cue that begins or ends with a letter does so at a word's edge."""
    start = r"\b" if cue[0].isalpha() else ""
    end = r"(?!\w)" if cue[-1].isalnum() or cue[-1] in "?*)" else ""
    return f"{start}(?:{cue}){end}"
