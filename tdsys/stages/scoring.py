"""Verify, judge and decide the candidates that are due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from tdsys.core.example import Candidate
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.core.rubric import (
    TRUSTED,
    Assessment,
    Decision,
    Judge,
    Unscored,
    Verdict,
    Verifier,
    decide,
    endorsed,
    veto,
)
from tdsys.errors import TdsysError
from tdsys.stages import clustering
from tdsys.stages.leases import kept
from tdsys.store import Store, examples, policies

log = logging.getLogger("tdsys.scoring")
Clock = Callable[[], datetime]
ACTOR = "scoring"
BLOCKS_PER_BELL = 20
BACKOFF_SECONDS = 5
LONGEST_BACKOFF = timedelta(minutes=10)


class Limits(NamedTuple):
    """How many candidates are claimed at once, for how long, and how often each is tried."""

    block: int
    lease: timedelta
    max_attempts: int


class Scored(NamedTuple):
    """What one bell achieved."""

    decided: int
    postponed: int
    more: bool


class Answered(NamedTuple):
    """A candidate with its evidence and the judge's answer."""

    candidate: Candidate
    verdict: Verdict
    answer: Assessment | Unscored


def score_due(
    store: Store, *, judge: Judge, verifier: Verifier, clock: Clock, limits: Limits
) -> Scored:
    """Work through what is due, block by block; `more` when the bell should ring again."""
    decided = postponed = 0
    for _ in range(BLOCKS_PER_BELL):
        with store.begin() as tx:
            claimed = examples.claim(tx, limit=limits.block, lease=limits.lease, now=clock())
        if not claimed:
            return Scored(decided, postponed, more=False)
        with kept(partial(_prolong, store, claimed, clock, limits), lease=limits.lease):
            _place(store, claimed)
            answered = think(claimed, judge=judge, verifier=verifier)
        settled = _record(store, answered, clock=clock, limits=limits)
        decided += settled
        postponed += len(answered) - settled
        if _is_away(answered):
            # Every further block would only burn its turn; beat rings again.
            return Scored(decided, postponed, more=False)
    return Scored(decided, postponed, more=True)


def _prolong(store: Store, claimed: list[Candidate], clock: Clock, limits: Limits) -> bool:
    with store.begin() as tx:
        return examples.prolong(tx, claimed=claimed, until=clock() + limits.lease)


def _place(store: Store, claimed: list[Candidate]) -> None:
    """Look for near-duplicates first, so that whatever is decided is in its cluster."""
    for domain in sorted({candidate.domain for candidate in claimed}):
        members = [candidate for candidate in claimed if candidate.domain == domain]
        clustering.place(store, domain=domain, examples=members)


def _is_away(answered: list[Answered]) -> bool:
    return all(isinstance(one.answer, Unscored) and one.answer.transient for one in answered)


def think(claimed: list[Candidate], *, judge: Judge, verifier: Verifier) -> list[Answered]:
    """Evidence first, then the judge; no transaction is open meanwhile.

    Whoever got an unusable answer is asked for a fresh sample. A bug that one candidate wakes
    must not hold up its neighbours: then each is thought about alone.
    """
    try:
        return _think(claimed, judge=judge, verifier=verifier)
    except TdsysError:
        raise
    except Exception as bug:
        if len(claimed) > 1:
            return [a for c in claimed for a in think([c], judge=judge, verifier=verifier)]
        log.exception("example %d cannot be scored", claimed[0].id)
        detail = f"{type(bug).__name__}: {bug}"[:300]
        return [Answered(claimed[0], Verdict(checks=()), Unscored(reason="crash", detail=detail))]


def _think(claimed: list[Candidate], *, judge: Judge, verifier: Verifier) -> list[Answered]:
    verdicts = {c.id: verifier.verify(c.domain, c.inputs, c.outputs) for c in claimed}
    answered: list[Answered] = []
    for attempt in sorted({c.unusable_answers for c in claimed}):
        group = [c for c in claimed if c.unusable_answers == attempt]
        answers = judge.assess(group, [verdicts[c.id] for c in group], attempt=attempt)
        answered += [Answered(c, verdicts[c.id], a) for c, a in zip(group, answers, strict=True)]
    return answered


def _record(store: Store, answered: list[Answered], *, clock: Clock, limits: Limits) -> int:
    """Write a block in one transaction; how many candidates left their state."""
    with store.begin() as tx:
        rules = {d: policies.current(tx, domain=d) for d in {a.candidate.domain for a in answered}}
        settled = 0
        for one in answered:
            version, policy = rules[one.candidate.domain]
            decision = settle(one, policy, limits)
            if decision is None:
                assert isinstance(one.answer, Unscored)  # noqa: S101  # settle decides the rest
                examples.retry(
                    tx,
                    candidate=one.candidate,
                    verdict=one.verdict,
                    answer=one.answer,
                    policy_version=version,
                    due_at=clock() + backoff(one.candidate.attempts),
                    now=clock(),
                )
                continue
            settled += examples.record(
                tx,
                candidate=one.candidate,
                verdict=one.verdict,
                answer=one.answer,
                decision=decision,
                policy_version=version,
                actor=_actor(one.candidate, decision),
                now=clock(),
            )
    return settled


def settle(one: Answered, policy: Policy, limits: Limits) -> Decision | None:
    """The decision, or None when the judge should be asked again later."""
    if isinstance(one.answer, Assessment):
        decision = decide(one.verdict, one.answer, policy)
        by = one.candidate.trusted_by
        return endorsed(decision, one.verdict, by=by) if by else decision
    if refuted := veto(one.verdict):
        return refuted
    if one.answer.transient or one.candidate.unusable_answers + 1 < limits.max_attempts:
        return None
    return Decision(move=Move.PARK, reason=one.answer.reason, detail=one.answer.detail)


def _actor(candidate: Candidate, decision: Decision) -> str:
    return candidate.trusted_by or ACTOR if decision.reason == TRUSTED else ACTOR


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts: from five seconds, doubling, to ten minutes."""
    return min(timedelta(seconds=BACKOFF_SECONDS * 2 ** min(attempts - 1, 10)), LONGEST_BACKOFF)
