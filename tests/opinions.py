"""People beside a judge: examples it scored, and what somebody said of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import audited, decide
from tdsys.stages import curation
from tdsys.store import Store, Tx
from tests.factories import NOW, make_assessment, make_captures, make_verdict
from tests.stored import claim, count, ingest
from tests.stored import decide as recorded

# A person sees everything that scores decide.
ALL = Policy(audit_share=1)


def scored(
    tx: Tx, *values: float, policy: Policy = ALL, now: datetime = NOW, **over: Any
) -> list[int]:
    """Examples of these scores, decided as the pipeline would by this policy; their ids."""
    first = count(tx, "examples")
    ingest(tx, make_captures(first + len(values), domain="sums")[first:])
    claimed = claim(tx, now=now)
    verdict = make_verdict()
    for candidate, value in zip(claimed, values, strict=True):
        answer = make_assessment(value).model_copy(update=over)
        lot = candidate.id.to_bytes(32, "big")
        decision = audited(decide(verdict, answer, policy), verdict, policy, lot)
        assert recorded(tx, candidate, decision, answer=answer, now=now)
    return [candidate.id for candidate in claimed]


def says(store: Store, example_id: int, *, good: bool, now: datetime = NOW) -> None:
    move = Move.APPROVE if good else Move.REJECT
    curation.move(store, example_id=example_id, move=move, reason="seen", actor="bo", now=now)


def people(store: Store, *words: tuple[float, bool], now: datetime = NOW, **over: Any) -> list[int]:
    """Examples of these scores that a person called good or bad."""
    with store.begin() as tx:
        ids = scored(tx, *(value for value, _ in words), now=now, **over)
    for example_id, (_, good) in zip(ids, words, strict=True):
        says(store, example_id, good=good, now=now)
    return ids
