"""What it takes to find everything that holds a content which is to be forgotten."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping

from pydantic import JsonValue

# The tag of cached answers that may rest on any example of any domain.
SHARED_ANSWERS = "shared"
ERASED = "[forgotten]"
# Shorter texts ("12", "a bakery") are in what others wrote as well.
SHORTEST = 20
LONGEST = 200


def answers_in(domain: str) -> str:
    """The tag of cached answers that may rest on any example of a domain: its demos."""
    return f"domain:{domain}"


def telling(payload: Mapping[str, JsonValue]) -> set[str]:
    """How the texts of a payload begin, all that are not short: by that they are recognised.

    Records of others are cut somewhere, and then a whole text is in none of them.
    """
    return {text[:LONGEST] for text in _texts(dict(payload)) if len(text.strip()) >= SHORTEST}


def forms(text: str) -> set[str]:
    """How a text may stand in a raw record: as it is, or inside JSON, escaped or not."""
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


def without(
    state: JsonValue, uids: Collection[str], texts: Collection[str]
) -> tuple[JsonValue, int]:
    """A state without demos that are, or quote, what is forgotten; how many those were."""
    if isinstance(state, dict):
        parts = {name: without(inner, uids, texts) for name, inner in state.items()}
        return {name: part for name, (part, _) in parts.items()}, sum(n for _, n in parts.values())
    if isinstance(state, list):
        kept = [inner for inner in state if not _tells(inner, uids, texts)]
        parts_ = [without(inner, uids, texts) for inner in kept]
        lost = len(state) - len(kept) + sum(n for _, n in parts_)
        return [part for part, _ in parts_], lost
    if isinstance(state, str) and (said := [text for text in texts if text in state]):
        return _erased(state, said), len(said)
    return state, 0


def _erased(state: str, said: Collection[str]) -> str:
    """Without these; what stands behind the beginning of a long one belongs to it as well."""
    for text in said:
        if len(text) < LONGEST:
            state = state.replace(text, ERASED)
        elif (place := state.find(text)) >= 0:
            state = state[:place] + ERASED
    return state


def _tells(demo: JsonValue, uids: Collection[str], texts: Collection[str]) -> bool:
    """Whether a demo is of these examples, or holds one of these texts."""
    if not isinstance(demo, dict):
        return False
    if demo.get("dspy_uid", demo.get("uid")) in uids:
        return True
    return any(text in held for held in _texts(demo) for text in texts)


def _texts(value: JsonValue | Iterable[JsonValue]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
