"""The story of one example, from where it came from to what was learned from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import JsonValue

from tdsys.core.rubric import Dimension, Verdict
from tdsys.store import Store, histories
from tdsys.store.histories import History


class Event(NamedTuple):
    """One sentence of the story; `what` says which kind it is."""

    at: str
    what: str
    told: str


def history(store: Store, *, example_id: int) -> History:
    """Everything that is known; InvalidInput when there is no such example."""
    with store.begin() as tx:
        return histories.history(tx, example_id=example_id)


def story(found: History) -> list[Event]:
    """What happened to an example, in the order of time."""
    now = found.now
    first = _at(now.created_at)
    events = [Event(first, "came", told) for told in _origin(found)]
    later = [*_judgements(found.scores), *_moves(found.moves)]
    events += sorted(later, key=lambda one: one.at)
    events += [
        Event(_at(one.at), "dataset", f"in version {one.number} of {now.domain}, split {one.split}")
        for one in found.datasets
    ]
    events += [Event("", "program", told) for told in _programs(found)]
    quality = "" if now.quality is None else f", quality {now.quality:.2f}"
    return [*events, Event("", "now", f"{now.state}: {now.reason or 'not decided yet'}{quality}")]


def _origin(found: History) -> Iterator[str]:
    now, made = found.now, found.made_as
    simulated = ", SIMULATED" if now.simulated else ""
    yield f"{now.source}, {now.topic}, {now.difficulty}{simulated}"
    metadata = now.payload.get("metadata")
    provenance = metadata.get("provenance") if isinstance(metadata, dict) else None
    if isinstance(provenance, dict):
        yield "; ".join(f"{name}: {_short(value)}" for name, value in provenance.items())
    if made:
        yield (
            f"attempt {made.number} of batch {made.batch} by {made.strategy}: "
            f"{made.calls} calls, {made.tokens} tokens"
        )
        checks = made.evidence if isinstance(made.evidence, list) else []
        for one in checks:
            yield _check(one)
    if found.trusted_by:
        yield f"{found.trusted_by} vouched for its file"


def _judgements(scores: list[dict[str, Any]]) -> Iterator[Event]:
    for row in scores:
        at = _at(row["created_at"])
        if row["verdict"] is not None:
            for one in Verdict.model_validate(row["verdict"]).checks:
                yield Event(at, "check", _check(one.model_dump(mode="json")))
        elif row["outcome"] == "scored":
            by = f"{row['judge_model']}{', simulated' if row['simulated'] else ''}"
            for d in Dimension:
                told = f"{d}: {row[d.value]:.2f} by {by}: {row['rationales'].get(d.value, '')}"
                yield Event(at, "judge", told)
        else:
            yield Event(at, "judge", f"no usable answer: {row['reason']}")


def _moves(moves: list[dict[str, Any]]) -> Iterator[Event]:
    for row in moves:
        detail = f", {row['detail']}" if row["detail"] else ""
        told = (
            f"{row['from_state']} -> {row['to_state']} by {row['actor']}: {row['reason']}{detail} "
            f"(policy version {row['policy_version']})"
        )
        yield Event(_at(row["at"]), "moved", told)


def _programs(found: History) -> Iterator[str]:
    for one in found.programs:
        standing = "active" if one.active else "not active"
        stale = ", stale" if one.stale else ""
        role = (
            "as a demo in its prompt"
            if found.now.fingerprint in one.demos
            else "without being a demo"
        )
        yield f"program {one.id} ({standing}{stale}) was made of it, {role}"


def _check(one: JsonValue) -> str:
    told = one if isinstance(one, dict) else {}
    evidence = f": {told['evidence']}" if told.get("evidence") else ""
    return f"check {told.get('name')} {told.get('outcome')}{evidence}"


def _short(value: JsonValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _at(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
