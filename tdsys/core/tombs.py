"""What it takes to find everything that holds a content which is to be forgotten."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

# The tag of cached answers that may rest on any example of any domain.
SHARED_ANSWERS = "shared"
ERASED = "[forgotten]"
# Shorter texts ("12", "a bakery") are in what others wrote as well.
SHORTEST = 20
LONGEST = 200
# The only predictor of a program that is one, as DSPy calls it.
ALONE = "self"
# In an envelope: when the prompt lost something that was forgotten, and how many demos.
MARK = "forgotten"
# What else DSPy keeps of examples in a predictor's state.
RECORDS = frozenset({"traces", "train"})


class Mark(NamedTuple):
    """An eviction as a machine remembers it: its number and time name it in its database alone."""

    number: int
    at: datetime


class Eviction(NamedTuple):
    """That cached answers under a tag may not be kept."""

    number: int
    at: datetime
    tag: str


class Gone(NamedTuple):
    """What is forgotten: its fingerprints, texts that no other example has, what it asked for."""

    uids: frozenset[str]
    texts: frozenset[str]
    requests: tuple[Mapping[str, JsonValue], ...]


class Loss(NamedTuple):
    """When something of a prompt was forgotten; how many demos, none where it was other text."""

    at: datetime
    demos: int


class Spared(NamedTuple):
    """What is left of a program, and how many demos it lost."""

    state: dict[str, JsonValue]
    envelope: dict[str, JsonValue]
    demos: int


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


def spared(
    state: Mapping[str, JsonValue], envelope: Mapping[str, JsonValue], gone: Gone, *, at: datetime
) -> Spared:
    """A program without what is forgotten; its state and envelope lose the same demos.

    Demos and their origins are paired by their place in each predictor. Where a predictor has not
    as many of one as of the other, each is looked at by itself.
    """
    shown, named = _shown(state), _named(envelope)
    asked = _inputs(envelope)
    places = {
        name: _of_the_gone(shown.get(name, []), named.get(name, []), gone, asked)
        for name in {*shown, *named}
    }
    demos = sum(len(ours) for ours, _ in places.values())
    left = _erased_in(_without_demos(state, {name: a for name, (a, _) in places.items()}), gone)
    says = _erased_in(_without_origins(envelope, {n: b for n, (_, b) in places.items()}), gone)
    if left != state:
        before = says.get(MARK)
        mark: JsonValue = {"at": at.isoformat(), "demos": demos}
        says[MARK] = [*(before if isinstance(before, list) else []), mark]
    return Spared(left, says, demos)


def losses(envelope: Mapping[str, JsonValue]) -> list[Loss]:
    """What a program's prompt lost since it was made."""
    return [
        Loss(datetime.fromisoformat(at), demos)
        for mark in _listed(envelope.get(MARK))
        if isinstance(mark, dict)
        and isinstance(at := mark.get("at"), str)
        and isinstance(demos := mark.get("demos"), int)
    ]


def quoted(value: JsonValue | Mapping[str, JsonValue], texts: Collection[str]) -> set[str]:
    """Those of the texts that stand somewhere in a document."""
    return {text for held in _texts(value) for text in texts if text in held}


def _of_the_gone(
    demos: list[JsonValue], origins: list[JsonValue], gone: Gone, asked: Collection[str]
) -> tuple[set[int], set[int]]:
    """The places of the demos that go, and of the origins that go with them."""
    if len(demos) == len(origins):
        pairs = zip(demos, origins, strict=True)
        both = {n for n, (demo, origin) in enumerate(pairs) if _goes(demo, origin, gone, asked)}
        return both, both
    ours = {n for n, demo in enumerate(demos) if _goes(demo, None, gone, asked)}
    return ours, {n for n, origin in enumerate(origins) if _uid(origin, "uid") in gone.uids}


def _goes(demo: JsonValue, origin: JsonValue, gone: Gone, asked: Collection[str]) -> bool:
    """Whether a demo came from what is forgotten, or quotes what nobody else has said.

    Of an unknown origin it went when it asks for the same: a bootstrapped demo keeps the inputs.
    """
    uids = {_uid(origin, "uid"), _uid(demo, "dspy_uid")} - {None}
    if uids & gone.uids or quoted(demo, gone.texts):
        return True
    if uids or not asked or not isinstance(demo, dict) or not demo.keys() >= set(asked):
        return False
    return any(all(demo[name] == one.get(name) for name in asked) for one in gone.requests)


def _uid(value: JsonValue, name: str) -> str | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _shown(state: Mapping[str, JsonValue]) -> dict[str, list[JsonValue]]:
    """The demos of each predictor; a program that is one has its own on the top level."""
    if isinstance(own := state.get("demos"), list):
        return {ALONE: own}
    return {
        name: demos
        for name, part in state.items()
        if isinstance(part, dict) and isinstance(demos := part.get("demos"), list)
    }


def _named(envelope: Mapping[str, JsonValue]) -> dict[str, list[JsonValue]]:
    """Where each predictor's demos came from."""
    found: dict[str, list[JsonValue]] = {}
    for origin in _listed(envelope.get("demos")):
        found.setdefault(_uid(origin, "predictor") or ALONE, []).append(origin)
    return found


def _inputs(envelope: Mapping[str, JsonValue]) -> list[str]:
    """The fields a request consists of."""
    signature = envelope.get("signature")
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    return list(inputs) if isinstance(inputs, dict) else []


def _without_demos(
    state: Mapping[str, JsonValue], places: Mapping[str, set[int]]
) -> dict[str, JsonValue]:
    if isinstance(own := state.get("demos"), list):
        return {**state, "demos": _but(own, places[ALONE])}
    return {
        name: {**part, "demos": _but(_listed(part["demos"]), places[name])}
        if name in places and isinstance(part, dict) and "demos" in part
        else part
        for name, part in state.items()
    }


def _without_origins(
    envelope: Mapping[str, JsonValue], places: Mapping[str, set[int]]
) -> dict[str, JsonValue]:
    if not isinstance(origins := envelope.get("demos"), list):
        return dict(envelope)
    met: Counter[str] = Counter()
    kept: list[JsonValue] = []
    for origin in origins:
        name = _uid(origin, "predictor") or ALONE
        if met[name] not in places[name]:
            kept.append(origin)
        met[name] += 1
    return {**envelope, "demos": kept}


def _but(values: list[JsonValue], places: Collection[int]) -> list[JsonValue]:
    return [one for n, one in enumerate(values) if n not in places]


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _erased_in(document: Mapping[str, JsonValue], gone: Gone) -> dict[str, JsonValue]:
    """Without the texts of what is forgotten, and without records that are of it."""
    return {
        name: [one for one in inner if not _goes(one, None, gone, ())]
        if name in RECORDS and isinstance(inner, list)
        else _erased_value(inner, gone)
        for name, inner in document.items()
    }


def _erased_value(value: JsonValue, gone: Gone) -> JsonValue:
    if isinstance(value, dict):
        return _erased_in(value, gone)
    if isinstance(value, list):
        return [_erased_value(inner, gone) for inner in value]
    return _erased(value, gone.texts) if isinstance(value, str) else value


def _erased(state: str, texts: Collection[str]) -> str:
    """Without these; what stands behind the beginning of a long one belongs to it as well."""
    for text in sorted(texts, key=len, reverse=True):
        if text not in state:
            continue
        whole = len(text) < LONGEST
        state = state.replace(text, ERASED) if whole else state.partition(text)[0] + ERASED
    return state


def _texts(value: JsonValue | Mapping[str, JsonValue] | Iterable[JsonValue]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
