"""The story of one example, from where it came from to what was learned from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core.rubric import Check
from tdsys.errors import InvalidInput
from tdsys.store import Store, histories, making, neighbours
from tdsys.store.histories import Scored, Step, Used, Whole
from tdsys.store.making import MadeAs
from tdsys.store.neighbours import Neighbour


class Event(NamedTuple):
    """One sentence of the story; `what` says which kind it is."""

    at: str
    what: str
    told: str


class Story(NamedTuple):
    """An example and what happened to it, in the order of time."""

    example: Whole
    events: list[Event]


def story(store: Store, *, example_id: int) -> Story:
    """The whole story of an example; InvalidInput when there is none of that number."""
    with store.begin() as tx:
        found = histories.whole(tx, example_id=example_id)
        made = making.made_as(tx, example_id=example_id)
        beside = neighbours.nearest(tx, example_id=example_id, limit=1) if found else []
    if found is None:
        raise InvalidInput(f"there is no example {example_id}", remedy="see `tdsys examples list`")
    first = _at(found.created_at)
    later = [event for one in found.scores for event in _judgement(one)]
    later += [_move(one) for one in found.steps]
    used = sorted(found.used, key=lambda one: one.version_id)
    quality = "" if found.quality is None else f", quality {found.quality:.2f}"
    events = [
        *(Event(first, "came", told) for told in _origin(found, made)),
        *sorted(later, key=lambda one: one.at),
        *(event for one in used for event in _use(one)),
        *(Event("", "nearest", _neighbour(one)) for one in beside),
        Event("", "now", f"{found.state}: {found.reason or 'not decided yet'}{quality}"),
    ]
    return Story(found, events)


def _origin(found: Whole, made: MadeAs | None) -> Iterator[str]:
    simulated = ", SIMULATED" if found.simulated else ""
    yield f"{found.source}, {found.topic}, {found.difficulty}{simulated}"
    provenance = found.metadata.get("provenance")
    if isinstance(provenance, dict):
        yield "; ".join(f"{name}: {_short(value)}" for name, value in provenance.items())
    if made:
        yield (
            f"attempt {made.number} of batch {made.batch_id} by {made.strategy}: "
            f"{made.calls} calls, {made.tokens} tokens"
        )
        yield from map(_check, made.evidence)
    if found.imported:
        yield f"vouched for in import {found.imported[0]}, {found.imported[1]}"
    if found.repeated:
        yield f"came {found.repeated} more times and was stored once"


def _judgement(one: Scored) -> Iterator[Event]:
    at = _at(one.created_at)
    if one.verdict is not None:
        yield from (Event(at, "check", _check(check)) for check in one.verdict.checks)
        return
    by = f"{one.judge_model}{', simulated' if one.simulated else ''}"
    for name, value in one.values.items():
        yield Event(at, "judge", f"{name}: {value:.2f} by {by}: {one.rationales.get(name, '')}")
    if not one.values:
        yield Event(at, "judge", f"no usable answer: {one.reason}")


def _move(one: Step) -> Event:
    detail = f", {one.detail}" if one.detail else ""
    told = (
        f"{one.from_state} -> {one.to_state} by {one.actor}: {one.reason}{detail} "
        f"(policy version {one.policy_version})"
    )
    return Event(_at(one.at), "moved", told)


def _use(one: Used) -> Iterator[Event]:
    yield Event("", "dataset", f"in version {one.name} of {one.domain}, split {one.split}")
    for program in one.programs:
        role = "as" if program in one.demo_in else "not as"
        told = f"program {program} was made of it, {role} a demo in its prompt"
        yield Event("", "program", told)


def _neighbour(one: Neighbour) -> str:
    cluster = "the same cluster" if one.same_cluster else "another cluster"
    embedded = "" if one.embedded is None else f", {one.embedded:.2f} by embedding"
    alike = f"likeness {one.likeness:.2f}{embedded}"
    return f"example {one.example_id}, {one.state}: {alike}, in {cluster}"


def _check(one: Check) -> str:
    evidence = f": {one.evidence}" if one.evidence else ""
    return f"check {one.name} {one.outcome}{evidence}"


def _short(value: JsonValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
