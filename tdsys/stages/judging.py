"""Ask a panel about examples, many at once, and never twice about the same content.

Two rules: an answer is in the ledger before anybody sees it, so a worker that is killed has paid
for nothing but the questions that were on their way; and nobody sees the answers on a block before
those on its canaries are in, so that a judge that should be stopped has admitted nothing; a judge
that is new stands all canaries first.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from tdsys.core.alerting import Severity
from tdsys.core.canaries import Canary, Outcome, sign
from tdsys.core.example import Candidate, Source, fingerprint
from tdsys.core.panel import together
from tdsys.core.policy import Policy
from tdsys.core.rubric import (
    Assessment,
    Judge,
    Judgement,
    Juror,
    Question,
    Unscored,
    Verdict,
    Verifier,
)
from tdsys.errors import ConfigurationError, TdsysError
from tdsys.stages.leases import Clock
from tdsys.store import Store, Tx, alerts, judgements

log = logging.getLogger("tdsys.judging")
AWAY = Unscored(reason="model_unavailable", detail="it has been away just now", transient=True)
UNPROVEN = Unscored(
    reason="judge_unproven", detail="it could not be asked about every canary yet", transient=True
)
NO_EVIDENCE = Verdict(checks=())
# A transaction for a handful costs hardly more than for one, and who waits for an answer can wait
# so much longer where threads have enough to do; at the end of a batch, where few are on their way,
# hardly any come meanwhile. What a death costs stays below what is on its way anyway.
GATHERING_SECONDS = 0.05
# Questions in hand for each that the judge takes at once: while a block is claimed, verified and
# put into clusters, and answers are written, the threads live on what was asked before.
AHEAD = 3


class Answered(NamedTuple):
    """A candidate with its evidence and what the panel said."""

    candidate: Candidate
    verdict: Verdict
    answer: Assessment | Unscored


@dataclass
class _Watched:
    """A canary on its way to one juror; `policy` says what would be admitted."""

    canary: Canary
    policy: Policy
    is_first: bool
    is_answered: bool = False
    # The first time it counts that nobody answered: what the juror is worth is not known.
    is_unproven: bool = False


@dataclass
class _Pending:
    """A candidate, and what each member of its panel has said so far."""

    candidate: Candidate
    verdict: Verdict
    content: bytes
    jurors: Sequence[Juror]
    canaries: Sequence[_Watched] = ()
    said: dict[str, Judgement | Unscored] = field(default_factory=dict)

    def is_complete(self) -> bool:
        return len(self.said) == len(self.jurors)

    def may_be_decided(self) -> bool:
        return all(canary.is_answered for canary in self.canaries)

    def answer(self) -> Assessment | Unscored:
        """Their word together; one without a usable answer leaves it unscored."""
        if any(canary.is_unproven for canary in self.canaries):
            return UNPROVEN
        said = [self.said[juror.key] for juror in self.jurors]
        missing = [one for one in said if isinstance(one, Unscored)]
        if missing:
            # An unusable answer counts even while another member is away: it needs a fresh sample.
            return next((one for one in missing if not one.transient), missing[0])
        return together([one for one in said if isinstance(one, Judgement)], self.verdict)


class _Asked(NamedTuple):
    """A question, who answers it, and what it is about."""

    question: Question
    juror: Juror
    about: _Pending | _Watched


class Panel:
    """Examples on their way through the judge; what is known already is not asked again."""

    def __init__(self, store: Store, judge: Judge, *, clock: Clock) -> None:
        self._store = store
        self._judge = judge
        self._clock = clock
        self._waiting: deque[_Asked] = deque()
        self._asked: dict[Future[Judgement | Unscored], _Asked] = {}
        self._complete: list[_Pending] = []
        self._introduced: set[str] = set()
        self._first: dict[tuple[str, str], _Watched] = {}
        # Outages in a row: enough of them, and nothing more is asked for now.
        self._outages = 0

    @property
    def is_away(self) -> bool:
        """Whether the model seems to be away: a whole width of questions in vain."""
        return self._outages >= self._judge.width

    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not (self._waiting or self._asked or self._complete)

    def has_room(self) -> bool:
        """Whether threads might have nothing to do before another block is there."""
        return len(self._waiting) + len(self._asked) < AHEAD * self._judge.width

    def put(
        self,
        tx: Tx,
        block: Sequence[tuple[Candidate, Verdict]],
        policy: Policy,
        *,
        canaries: Sequence[Canary] = (),
    ) -> None:
        """Have the policy's panel asked about each, but first about some of the canaries.

        ConfigurationError for a member that cannot work; then nobody is asked.
        """
        members = policy.judges.panel
        jurors = [self._judge.juror(member) for member in members]
        watched = self._watch(tx, canaries, policy)
        fresh = [_Pending(c, v, _content(c), jurors, watched) for c, v in block]
        keys = [(one.content, juror.key) for one in fresh for juror in jurors]
        known = judgements.known(tx, keys=keys)
        for one in fresh:
            for member, juror in zip(members, jurors, strict=True):
                if found := known.get((one.content, juror.key)):
                    one.said[juror.key] = found
                    continue
                sample = one.candidate.unusable_answers
                question = Question(one.candidate, one.verdict, member, sample)
                self._waiting.append(_Asked(question, juror, one))
            if one.is_complete():
                self._complete.append(one)

    def _watch(self, tx: Tx, canaries: Sequence[Canary], policy: Policy) -> list[_Watched]:
        """Ask each member about the canaries it has seen least, before the rest; a new one, all."""
        watched = []
        for member in policy.judges.panel if policy.judges.canaries else ():
            juror = self._judge.juror(member)
            seen = judgements.turns(tx, juror=juror.key)
            order = sorted(canaries, key=lambda one: (seen[one.name], one.name))
            new = sum(not seen[one.name] for one in canaries)
            for canary in order[: max(new, policy.judges.canaries)]:
                question = Question(_shown(canary), NO_EVIDENCE, member, seen[canary.name])
                watched.append(self._watched(question, juror, canary, policy))
        return watched

    def _watched(
        self, question: Question, juror: Juror, canary: Canary, policy: Policy
    ) -> _Watched:
        """The canary on its way; what another block waits for, too, is asked once."""
        key = (juror.key, canary.name)
        on_its_way = self._first.get(key)
        if not question.sample and on_its_way and not on_its_way.is_unproven:
            return on_its_way
        fresh = self._first[key] = _Watched(canary, policy, is_first=not question.sample)
        self._waiting.appendleft(_Asked(question, juror, fresh))
        return fresh

    def advance(self, *, at_most: float | None = None) -> list[Answered]:
        """Wait until something is answered, write it down, and give what is complete.

        Nothing where no answer comes in `at_most` seconds.
        """
        self._ask()
        answered = self._hear(at_most)
        if answered:
            with self._store.begin() as tx:
                self._write(tx, answered)
        done = [one for one in self._complete if one.may_be_decided()]
        self._complete = [one for one in self._complete if not one.may_be_decided()]
        return [Answered(one.candidate, one.verdict, one.answer()) for one in done]

    def _ask(self) -> None:
        """Keep the threads busy while this one writes; an absent model is left alone."""
        while self._waiting and self.is_away:
            self._take(self._waiting.popleft(), AWAY)
        while self._waiting:
            asked = self._waiting.popleft()
            self._asked[self._judge.ask(asked.question)] = asked

    def _hear(self, at_most: float | None) -> list[tuple[_Asked, Judgement | Unscored]]:
        if not self._asked or any(one.may_be_decided() for one in self._complete):
            return []
        if not wait(self._asked, at_most, FIRST_COMPLETED).done:
            return []
        share = min(1.0, len(self._asked) / (AHEAD * self._judge.width))
        done, _ = wait(self._asked, timeout=share * GATHERING_SECONDS)
        return [(self._asked.pop(future), _said(future)) for future in done]

    def _write(self, tx: Tx, answered: Sequence[tuple[_Asked, Judgement | Unscored]]) -> None:
        now = self._clock()
        self._introduce(tx, [asked.juror for asked, _ in answered], now)
        judgements.keep(tx, answered=list(_ledger(answered)), now=now)
        for asked, said in answered:
            away = isinstance(said, Unscored) and said.transient
            self._outages = self._outages + 1 if away else 0
            if isinstance(asked.about, _Watched):
                _note(tx, asked, asked.about, said, now)
            self._take(asked, said)

    def _introduce(self, tx: Tx, jurors: Sequence[Juror], now: datetime) -> None:
        fresh = {one.key: one for one in jurors if one.key not in self._introduced}
        judgements.introduce(tx, known=fresh.values(), now=now)
        self._introduced |= fresh.keys()

    def _take(self, asked: _Asked, said: Judgement | Unscored) -> None:
        if isinstance(asked.about, _Watched):
            away = isinstance(said, Unscored) and said.transient
            asked.about.is_unproven = away and asked.about.is_first
            asked.about.is_answered = True
            return
        asked.about.said[asked.juror.key] = said
        if asked.about.is_complete():
            self._complete.append(asked.about)


def assess(
    store: Store,
    candidates: Sequence[Candidate],
    *,
    policy: Policy,
    judge: Judge,
    verifier: Verifier,
    clock: Clock,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Answered]:
    """Verify and judge examples that are not stored; in their order. `tell` hears how many."""
    panel = Panel(store, judge, clock=clock)
    block = [(one, verifier.verify(one.domain, one.inputs, one.outputs)) for one in candidates]
    with store.begin() as tx:
        panel.put(tx, block, policy)
    found: dict[int, Answered] = {}
    while not panel.is_idle():
        done = panel.advance()
        found |= {one.candidate.id: one for one in done}
        tell(len(done))
    return [found[one.id] for one in candidates]


def verified(
    claimed: Sequence[Candidate], verifier: Verifier
) -> Iterator[tuple[Candidate, Verdict] | Answered]:
    """Each candidate with its evidence; a bug that one of them wakes is its own misfortune."""
    for candidate in claimed:
        try:
            yield candidate, verifier.verify(candidate.domain, candidate.inputs, candidate.outputs)
        except TdsysError:
            raise
        except Exception as bug:
            log.exception("example %d cannot be verified", candidate.id)
            yield Answered(candidate, NO_EVIDENCE, _crash(bug))


def unconfigured(
    block: Sequence[tuple[Candidate, Verdict]], wrong: ConfigurationError
) -> list[Answered]:
    """What is answered where a member of the panel cannot work at all."""
    answer = Unscored(reason="configuration", detail=str(wrong), transient=True)
    return [Answered(candidate, verdict, answer) for candidate, verdict in block]


def _said(future: Future[Judgement | Unscored]) -> Judgement | Unscored:
    bug = future.exception()
    if bug is None:
        return future.result()
    log.error("the judge crashed", exc_info=bug)
    return _crash(bug)


def _crash(bug: BaseException) -> Unscored:
    return Unscored(reason="crash", detail=f"{type(bug).__name__}: {bug}"[:300])


def _ledger(
    answered: Sequence[tuple[_Asked, Judgement | Unscored]],
) -> Iterator[judgements.Answered]:
    for (question, juror, about), said in answered:
        if isinstance(about, _Pending):
            yield judgements.Answered(about.content, juror, question.sample, said)


def _note(
    tx: Tx, asked: _Asked, about: _Watched, said: Judgement | Unscored, now: datetime
) -> None:
    """Write down what an answer on a canary shows, and tell people what they must know."""
    if isinstance(said, Unscored) and said.transient:
        return
    shows = sign(about.canary, said, about.policy)
    judgements.watched(
        tx,
        juror=asked.juror.key,
        canary=about.canary.name,
        outcome=shows.outcome,
        detail=shows.detail,
        sample=asked.question.sample,
        now=now,
    )
    if shows.outcome is Outcome.PASSED:
        alerts.fire(
            tx,
            key=f"judge_suspended:{asked.juror.key}",
            severity=Severity.CRITICAL,
            title=f"{asked.juror} would admit what is known to be bad",
            detail=f"canary {about.canary.name}; it admits nothing by itself any more",
            remedy=f"change the judge, or `tdsys judge resume {asked.juror.key}`",
            now=now,
        )
    elif shows.outcome is Outcome.REFUSED:
        alerts.fire(
            tx,
            key=f"canary_refused:{asked.juror.key}",
            severity=Severity.WARNING,
            title=f"{asked.juror} would not admit what is known to be good",
            detail=f"canary {about.canary.name}: {shows.detail}",
            remedy="look at `tdsys judge status`; calibrate, or change the judge or the bands",
            now=now,
        )


def _content(candidate: Candidate) -> bytes:
    return fingerprint(candidate.domain, candidate.inputs, candidate.outputs)


def _shown(canary: Canary) -> Candidate:
    """A canary as the judge sees any example."""
    return Candidate(
        id=-1,
        domain=canary.domain,
        topic="",
        difficulty="",
        source=Source.MANUAL,
        inputs=canary.inputs,
        outputs=canary.outputs,
    )
