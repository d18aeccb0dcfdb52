"""Verify, judge and decide the candidates that are due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tdsys.core.batch import is_lost
from tdsys.core.canaries import Canary, unless_suspended
from tdsys.core.embedding import Embedder
from tdsys.core.example import Candidate, Source, fingerprint
from tdsys.core.lifecycle import Move, State, after
from tdsys.core.policy import Policy
from tdsys.core.rubric import (
    TRUSTED,
    About,
    Assessment,
    Decision,
    Judge,
    Judgement,
    Verdict,
    Verifier,
    decide,
    ruled,
    veto,
)
from tdsys.errors import ConfigurationError
from tdsys.stages import clustering, embedding
from tdsys.stages.judging import Answered, Panel, unconfigured, verified
from tdsys.stages.leases import Clock, kept
from tdsys.store import Store, Tx, examples, judgements, making, policies

ACTOR = "scoring"
BLOCKS_PER_BELL = 20
BACKOFF_SECONDS = 5
LONGEST_BACKOFF = timedelta(minutes=10)
FIRST_LOOK, LONGEST_LOOK, LOOK_GROWTH = 0.03, 1.0, 1.1


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


def score_due(
    store: Store,
    *,
    judge: Judge,
    verifier: Verifier,
    clock: Clock,
    limits: Limits,
    canaries: Sequence[Canary] = (),
    embedder: Callable[[], Embedder] | None = None,
    tell: Callable[[], object] = lambda: None,
) -> Scored:
    """Work through what is due; `more` when the bell should ring again.

    `tell` is called when a batch has to make another for what was not admitted.

    The next block is claimed while answers on the last one are still on their way, so the model
    always has as many questions as it takes at once.
    """
    placing = _Placing(store, embedder, clock)
    return _Scoring(store, judge, verifier, clock, limits, canaries, placing, tell).run()


_Looked = tuple[Candidate, Verdict] | Answered


class _Scoring:
    """One bell's work."""

    def __init__(
        self,
        store: Store,
        judge: Judge,
        verifier: Verifier,
        clock: Clock,
        limits: Limits,
        canaries: Sequence[Canary],
        placing: _Placing,
        tell: Callable[[], object],
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._clock = clock
        self._limits = limits
        self._canaries = canaries
        self._placing = placing
        self._tell = tell
        self._panel = Panel(store, judge, clock=clock)
        self._held: dict[int, Candidate] = {}
        self._blocks = BLOCKS_PER_BELL
        self._decided = self._postponed = 0

    def run(self) -> Scored:
        with kept(self._prolong, lease=self._limits.lease):
            # What comes while the last answers are on their way is taken, too.
            look = FIRST_LOOK
            while (is_new := self._claim()) or not self._panel.is_idle():
                answered = self._panel.advance(at_most=look)
                self._record(answered)
                look = FIRST_LOOK if is_new or answered else longer(look)
        # Every further block would only burn its turn while the model is away; beat rings again.
        more = not (self._blocks or self._panel.is_away)
        return Scored(self._decided, self._postponed, more)

    def _prolong(self) -> bool:
        held = list(self._held.copy().values())
        if not held:
            return False
        with self._store.begin() as tx:
            return examples.prolong(tx, claimed=held, until=self._clock() + self._limits.lease)

    def _claim(self) -> bool:
        """Take another block while the judge has room for it; whether one was taken."""
        if not self._blocks or self._panel.is_away or not self._panel.has_room():
            return False
        with self._store.begin() as tx:
            claimed = examples.claim(
                tx, limit=self._limits.block, lease=self._limits.lease, now=self._clock()
            )
        if not claimed:
            return False
        self._blocks -= 1
        self._held |= {one.id: one for one in claimed}
        self._placing.place(claimed)
        self._record(self._put(claimed))
        return True

    def _put(self, claimed: Sequence[Candidate]) -> list[Answered]:
        """Have the judges asked; what needs or gets no question comes back at once."""
        looked = self._with_proofs(list(verified(claimed, self._verifier)))
        answered = [one for one in looked if isinstance(one, Answered)]
        blocks: dict[str, list[tuple[Candidate, Verdict]]] = {}
        for one in looked:
            if not isinstance(one, Answered):
                blocks.setdefault(one[0].domain, []).append(one)
        with self._store.begin() as tx:
            for domain, block in blocks.items():
                _, policy = policies.current(tx, domain=domain)
                try:
                    self._panel.put(tx, block, policy, canaries=self._canaries)
                except ConfigurationError as wrong:
                    answered += unconfigured(block, wrong)
        return answered

    def _with_proofs(self, looked: list[_Looked]) -> list[_Looked]:
        """What was proved while a synthetic example was made stands beside the verifier's word."""
        made = [
            one[0].id
            for one in looked
            if not isinstance(one, Answered) and one[0].source is Source.SYNTHETIC
        ]
        if not made:
            return looked
        with self._store.begin() as tx:
            proofs = making.proofs(tx, example_ids=made)
        return [
            one
            if isinstance(one, Answered)
            else (one[0], Verdict(checks=(*one[1].checks, *proofs.get(one[0].id, ()))))
            for one in looked
        ]

    def _record(self, answered: Sequence[Answered]) -> None:
        """Write decisions in one transaction."""
        if not answered:
            return
        with self._store.begin() as tx:
            settled, woken = _write(tx, answered, self._clock(), self._limits)
        if woken:
            self._tell()
        for one in answered:
            self._held.pop(one.candidate.id, None)
        self._decided += settled
        self._postponed += len(answered) - settled


class _Placing:
    """Looks for near-duplicates first, so that whatever is decided is in its cluster."""

    def __init__(self, store: Store, embedder: Callable[[], Embedder] | None, clock: Clock) -> None:
        self._store, self._embedder, self._clock = store, embedder, clock

    def place(self, claimed: Sequence[Candidate]) -> None:
        """Put a block into clusters, by its words and by its embeddings where there are any."""
        for domain in sorted({candidate.domain for candidate in claimed}):
            members = [candidate for candidate in claimed if candidate.domain == domain]
            clustering.place(self._store, domain=domain, examples=members)
            if self._embedder is not None:
                ids = [one.id for one in members]
                came = embedding.embed(
                    self._store, self._embedder, domain=domain, now=self._clock(), among=ids
                )
                if came.away:  # no block of this bell waits for it again
                    self._embedder = None


class Rules:
    """What decides about answers: the policies in force, and who may not admit."""

    def __init__(self, tx: Tx, answered: Sequence[Answered]) -> None:
        domains = {one.candidate.domain for one in answered}
        self._policies = {domain: policies.current(tx, domain=domain) for domain in domains}
        said = [s for one in answered for s in _judgements(one)]
        self._suspended = judgements.suspended(tx, keys={one.juror.key for one in said})

    def of(self, one: Answered) -> tuple[int, Policy]:
        """The policy of its domain, and its version."""
        return self._policies[one.candidate.domain]

    def bind(self, decision: Decision, one: Answered) -> Decision:
        """The decision, unless it rests on somebody who may not admit."""
        if not isinstance(one.answer, Assessment):
            return decision
        return unless_suspended(decision, one.answer, self._suspended)


def _judgements(one: Answered) -> tuple[Judgement, ...]:
    return one.answer.judgements if isinstance(one.answer, Assessment) else ()


def _write(tx: Tx, answered: Sequence[Answered], now: datetime, limits: Limits) -> tuple[int, bool]:
    """Write what is decided, or when each is asked about again.

    How many are decided now, and whether a batch makes another for one of them.
    """
    rules = Rules(tx, answered)
    decided, lost = [], []
    for one in answered:
        version, policy = rules.of(one)
        heard = examples.Heard(one.candidate, one.verdict, one.answer, version)
        decision = settle(one, policy, limits)
        if decision is None:
            due_at = now + backoff(one.candidate.attempts)
            examples.retry(tx, heard=heard, due_at=due_at, now=now)
            continue
        decision = rules.bind(decision, one)
        actor = _actor(one.candidate, decision)
        decided.append(examples.Decided(heard, decision, actor))
        to = after(State.CANDIDATE, decision.move)
        if is_lost(to, is_manual=policy.collection == "manual"):
            lost.append(one.candidate.id)
    settled = examples.record(tx, decided=decided, now=now)
    # As due as what is not begun, so that the end of a batch is not all made anew one by one.
    since = now - limits.lease / 2
    return len(settled), bool(lost) and making.wake(tx, example_ids=lost, since=since)


def settle(one: Answered, policy: Policy, limits: Limits) -> Decision | None:
    """The decision, or None when the judge should be asked again later."""
    if isinstance(one.answer, Assessment):
        found = decide(one.verdict, one.answer, policy)
        candidate = one.candidate
        content = fingerprint(candidate.domain, candidate.inputs, candidate.outputs)
        about = About(candidate.cell, content)
        return ruled(found, one.verdict, policy, about, trusted_by=candidate.trusted_by)
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


def longer(look: float) -> float:
    """How many seconds after a look for what is due that found nothing the next one comes.

    About a tenth of the time that nothing has come, for a model may take minutes.
    """
    return min(LOOK_GROWTH * look, LONGEST_LOOK)
