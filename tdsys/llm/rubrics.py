"""Rubrics and prompts of the judge: versioned files, read without importing DSPy."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from tdsys.core.rubric import Dimension

RUBRIC = "rubric_v2"
ESSENTIAL = "(essential)"
_CRITERION = re.compile(r"\d+\. ")
_BLANK = re.compile(r"\n\s*\n")


@lru_cache(maxsize=16)
def criteria(rubric: str = RUBRIC) -> dict[Dimension, tuple[str, ...]]:
    """The yes/no criteria of a rubric, by dimension."""
    found: dict[Dimension, tuple[str, ...]] = {}
    for part in _BLANK.split(text_of(rubric).strip()):
        title, *lines = part.splitlines()
        found[Dimension(title.partition(" - ")[0])] = tuple(
            _CRITERION.sub("", line, count=1) for line in lines
        )
    return found


@lru_cache(maxsize=16)
def essential(rubric: str = RUBRIC) -> dict[Dimension, frozenset[int]]:
    """Which criteria of each dimension, from 0, no other makes up for."""
    return {
        dimension: frozenset(n for n, text in enumerate(asked) if text.startswith(ESSENTIAL))
        for dimension, asked in criteria(rubric).items()
    }


@lru_cache(maxsize=16)
def text_of(name: str) -> str:
    """A file of this package, by its name without `.txt`."""
    return (files("tdsys.llm") / f"{name}.txt").read_text(encoding="utf-8")
