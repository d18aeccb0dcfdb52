"""Guess which of a file's fields are ours, from their names and a few records.

One rule: a guess is shown before it is used and written down as an ordinary mapping, so nothing
depends on how it was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core.answers import final_answer
from tdsys.core.conversion import FIELDS, NEEDED_FIELDS, REJECTED, at_path

# The names files use, the more telling first; compared without case, blanks and signs.
NAMES: Mapping[str, tuple[str, ...]] = {
    "problem": ("problem", "question", "prompt", "problemtext", "questiontext", "problemstatement",
                "statement", "instruction", "input", "query", "task", "text", "content"),
    "solution": ("solution", "rationale", "reasoning", "explanation", "working", "workedsolution",
                 "chainofthought", "cot", "steps", "output", "response", "completion", "generation",
                 "answertext"),
    "answer": ("answer", "finalanswer", "finalresult", "result", "expectedanswer", "groundtruth",
               "target", "label", "output", "response", "completion"),
    "topic": ("topic", "subject", "category", "type", "skill"),
    "difficulty": ("difficulty", "level", "grade"),
    "context": ("context",),
    "hints": ("hints", "hint"),
}  # fmt: skip
DEEPEST = 3

_SIGNS = re.compile(r"[^a-z0-9]+")


class Guess(NamedTuple):
    """A mapping, theirs to ours; which needed fields nothing fills; all fields that were seen."""

    mapping: dict[str, str]
    missing: tuple[str, ...]
    seen: tuple[str, ...]


def guess(records: Sequence[JsonValue], *, given: Sequence[str] = ()) -> Guess:
    """Which fields of the sample fill ours; what constants fill is `given`."""
    sample = [one for one in records if isinstance(one, dict)]
    seen = tuple(dict.fromkeys(path for one in sample for path in _paths(one)))
    chosen: dict[str, str] = {}
    for ours in FIELDS:
        if ours not in given and (theirs := _choice(ours, seen, sample, chosen)):
            chosen[theirs] = ours
    _marked_answer_is_the_solution(chosen, sample, given)
    filled = {*chosen.values(), *given}
    if "solution" in filled and _marks(_field(chosen, "solution"), sample):
        filled.add("answer")
    missing = tuple(name for name in NEEDED_FIELDS if name not in filled)
    return Guess({t: o for t, o in chosen.items() if t != o}, missing, seen)


def _choice(
    ours: str,
    seen: Sequence[str],
    sample: Sequence[Mapping[str, JsonValue]],
    chosen: Mapping[str, str],
) -> str | None:
    if ours in seen and ours not in chosen:
        return ours
    for name in NAMES[ours]:
        for path in seen:
            if path not in chosen and _plain(path) == name and _says(path, ours, sample):
                return path
    return None


def _says(path: str, ours: str, sample: Sequence[Mapping[str, JsonValue]]) -> bool:
    """Whether the field holds something that could be ours."""
    kinds = (str, int, float, list) if ours == "hints" else (str, int, float)
    return any(isinstance(value := at_path(one, path), kinds) and value != "" for one in sample)


def _marked_answer_is_the_solution(
    chosen: dict[str, str], sample: Sequence[Mapping[str, JsonValue]], given: Sequence[str]
) -> None:
    """GSM8K keeps the working in `answer`, and the answer behind `####` at its end."""
    answer = _field(chosen, "answer")
    if answer and "solution" not in {*chosen.values(), *given} and _marks(answer, sample):
        chosen[answer] = "solution"


def _marks(path: str, sample: Sequence[Mapping[str, JsonValue]]) -> bool:
    texts = [value for one in sample if isinstance(value := at_path(one, path), str)]
    return any(final_answer(text) is not None for text in texts)


def _field(chosen: Mapping[str, str], ours: str) -> str:
    return next((theirs for theirs, name in chosen.items() if name == ours), "")


def _paths(record: Mapping[str, JsonValue], before: str = "", depth: int = 1) -> Iterator[str]:
    """Every field by its path; the outer ones come first."""
    for name in record:
        if name != REJECTED or before:
            yield f"{before}{name}"
    for name, value in record.items():
        if isinstance(value, dict) and depth < DEEPEST and (name != REJECTED or before):
            yield from _paths(value, f"{before}{name}.", depth + 1)


def _plain(path: str) -> str:
    """The last name of a path without case and signs: `data.Final_Answer` is `finalanswer`."""
    return _SIGNS.sub("", path.rpartition(".")[2].lower())
