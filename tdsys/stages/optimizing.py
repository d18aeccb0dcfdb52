"""Decide when a domain is ready, freeze a version, run the optimizer, keep the better program."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue

from tdsys.core import dataset
from tdsys.core.budget import plan as budget
from tdsys.core.comparison import Comparison, compare
from tdsys.core.dataset import Admitted, Member, Split
from tdsys.core.grading import GenerationGrader
from tdsys.core.policy import Policy, Signature
from tdsys.core.program import Artefact, Item, ItemScore, Optimizer, Trial
from tdsys.core.rubric import Verifier
from tdsys.core.similarity import clusters
from tdsys.errors import Cancelled, ConfigurationError, ModelUnavailable, NotReady
from tdsys.stages.scoring import Clock, backoff
from tdsys.store import Store, Tx, datasets, examples, policies, programs, runs
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run

HEARTBEAT_SECONDS = 5
MAX_RUN_ATTEMPTS = 5
OPEN = ("due", "running")


class Considered(NamedTuple):
    """What planning found for one domain: a queued run, or the reasons against one."""

    domain: str
    run_id: UUID | None
    because: tuple[str, ...]


class Draft(NamedTuple):
    """A dataset version that is not frozen yet."""

    signature: Signature
    members: list[Member]
    fingerprint: str
    left_out: int


class DomainStatus(NamedTuple):
    """Where one domain stands: its newest run, or why there is none."""

    domain: str
    run: Run | None
    program: StoredProgram | None
    because: tuple[str, ...]


class Finished(NamedTuple):
    """How one run ended."""

    domain: str
    state: str
    reason: str


def status(store: Store, *, domain: str | None, clock: Clock) -> list[DomainStatus]:
    """Every domain (or one) with its newest run, its active program and what it waits for."""
    with store.begin() as tx:
        rules = policies.currents(tx)
        return [
            _status(tx, name, policy, clock())
            for name, (_, policy) in sorted(rules.items())
            if domain in {None, name}
        ]


def best(store: Store, *, domain: str) -> StoredProgram | None:
    """The newest program of a domain, active or not."""
    with store.begin() as tx:
        return next(iter(programs.programs(tx, domain=domain)), None)


def _status(tx: Tx, domain: str, policy: Policy, now: datetime) -> DomainStatus:
    run = runs.last_for(tx, domain=domain)
    because = _not_yet(tx, domain, policy, now)
    if not because and run is None:
        drafted = draft(examples.admitted(tx, domain=domain), policy)
        because = dataset.shortcomings(drafted.members, policy)
    return DomainStatus(domain, run, programs.incumbent(tx, domain=domain), tuple(because))


def plan_due(store: Store, *, model: str, clock: Clock) -> list[Considered]:
    """Consider every domain; each ready one gets a frozen version and a queued run."""
    with store.begin() as tx:
        rules = policies.currents(tx)
    return [
        _consider(store, domain, policy, version, model=model, clock=clock)
        for domain, (version, policy) in sorted(rules.items())
    ]


def draft(admitted: Sequence[Admitted], policy: Policy) -> Draft:
    """Select, cluster and divide the admitted examples that fit the signature."""
    signature = dataset.signature_of(admitted, policy)
    usable = [e for e in admitted if not dataset.unusable(e, signature)]
    chosen = dataset.select(usable, cap=policy.max_examples)
    texts = [
        " ".join(str(v) for v in e.outputs.values() if isinstance(v, str))
        if "problem" not in e.outputs
        else str(e.outputs["problem"])
        for e in chosen
    ]
    members = dataset.divide(chosen, clusters(texts), shares=policy.shares)
    return Draft(
        signature, members, dataset.fingerprint(members, signature), len(admitted) - len(usable)
    )


def _consider(
    store: Store, domain: str, policy: Policy, version: int, *, model: str, clock: Clock
) -> Considered:
    with store.begin() as tx:
        if reasons := _not_yet(tx, domain, policy, clock()):
            return Considered(domain, None, tuple(reasons))
        admitted = examples.admitted(tx, domain=domain)
        latest = datasets.latest(tx, domain=domain)
    drafted = draft(admitted, policy)
    if missing := dataset.shortcomings(drafted.members, policy):
        return Considered(domain, None, tuple(missing))
    if latest and not dataset.has_grown(len(drafted.members), latest.size, policy):
        return Considered(domain, None, (f"not {policy.growth:.0%} more since the last version",))
    return _enqueue(store, domain, policy, version, drafted, model=model, clock=clock)


def _not_yet(tx: Tx, domain: str, policy: Policy, now: datetime) -> list[str]:
    """Cheap reasons to wait, before any example is read."""
    if policy.optimization == "hold":
        return ["the policy holds optimization"]
    if (last := runs.last_for(tx, domain=domain)) and last.state in OPEN:
        return [f"a run is {last.state}"]
    if waiting := examples.pending(tx, domain=domain):
        return [f"{waiting} candidates are not decided yet"]
    arrival = examples.last_arrival(tx, domain=domain)
    if arrival is None:
        return ["no examples"]
    if now - arrival < timedelta(seconds=policy.settle_seconds):
        return [f"examples arrived less than {policy.settle_seconds} s ago"]
    return []


def _enqueue(
    store: Store,
    domain: str,
    policy: Policy,
    version: int,
    drafted: Draft,
    *,
    model: str,
    clock: Clock,
) -> Considered:
    train, val = (_size(drafted.members, s) for s in (Split.TRAIN, Split.VAL))
    cost = budget(n_train=train, n_val=val, auto=policy.auto)
    if cost.calls_at_most > policy.max_calls:
        return Considered(
            domain,
            None,
            (f"a run may take {cost.calls_at_most} calls, the policy allows {policy.max_calls}",),
        )
    with store.begin() as tx:
        frozen = datasets.freeze(
            tx,
            domain=domain,
            fingerprint=drafted.fingerprint,
            signature=drafted.signature,
            policy_version=version,
            members=drafted.members,
            now=clock(),
        )
        run_id = runs.enqueue(
            tx,
            domain=domain,
            version_id=frozen.id,
            seed=policy.seed,
            auto=policy.auto,
            model=model,
            plan=cost,
            now=clock(),
        )
    because = f"version {frozen.number} with {len(drafted.members)} examples"
    return Considered(domain, run_id, (because if run_id else "a run is open",))


def run_due(
    store: Store, *, optimizer: Optimizer, verifier: Verifier, clock: Clock, lease: timedelta
) -> list[Finished]:
    """Run what is due until nothing is; a killed run is claimed again and replays."""
    finished: list[Finished] = []
    while True:
        with store.begin() as tx:
            run = runs.claim(tx, lease=lease, now=clock())
        if run is None:
            return finished
        one = _Running(store, run, optimizer, verifier, clock, lease)
        finished.append(one.settle())


class _Running:
    """One claimed run: keeps its lease, writes its trials, ends in exactly one state."""

    def __init__(
        self,
        store: Store,
        run: Run,
        optimizer: Optimizer,
        verifier: Verifier,
        clock: Clock,
        lease: timedelta,
    ) -> None:
        self._store, self._run, self._optimizer = store, run, optimizer
        self._verifier, self._clock, self._lease = verifier, clock, lease
        self._beat_at = time.monotonic()
        self._stop = False

    def settle(self) -> Finished:
        """Run to an end and record it."""
        try:
            verdict = self._work()
        except Cancelled as stop:
            return self._finish("cancelled", str(stop))
        except (NotReady, ConfigurationError) as blocked:
            return self._finish("failed", str(blocked))
        except ModelUnavailable as away:
            return self._again(str(away))
        return self._finish("finished", verdict.reason, verdict.outcome)

    def _work(self) -> _Verdict:
        with self._store.begin() as tx:
            version = datasets.version(tx, id=self._run.version_id)
            members = datasets.members(tx, version_id=self._run.version_id)
            incumbent = programs.incumbent(tx, domain=self._run.domain)
        sides = {
            s: [dataset.item(m.example, version.signature) for m in members if m.split is s]
            for s in Split
        }
        grader = GenerationGrader(
            self._run.domain, sides[Split.TRAIN] + sides[Split.VAL], self._verifier
        )
        self._gate(version.signature, sides, grader)
        self._progress("optimizing")
        artefact = self._optimizer.optimize(
            version.signature,
            sides[Split.TRAIN],
            sides[Split.VAL],
            grader=grader,
            auto=self._run.auto,
            seed=self._run.seed,
            on_trial=self._trial,
            should_stop=self._should_stop,
        )
        self._progress("testing")
        rival = incumbent if incumbent and _same_fields(incumbent, version.signature) else None
        before = self._test(
            version.signature, rival.state if rival else None, sides[Split.TEST], grader
        )
        after = self._test(version.signature, artefact.state, sides[Split.TEST], grader)
        return self._keep(
            artefact,
            compare(before, after),
            version.fingerprint,
            version.signature,
            against="incumbent" if rival else "unoptimized",
        )

    def _gate(
        self, signature: Signature, sides: dict[Split, list[Item]], grader: GenerationGrader
    ) -> None:
        if blockers := self._optimizer.blockers(
            signature, sides[Split.TRAIN], sides[Split.VAL], grader=grader, auto=self._run.auto
        ):
            raise NotReady("; ".join(blockers))

    def _test(
        self,
        signature: Signature,
        state: dict[str, JsonValue] | None,
        items: Sequence[Item],
        grader: GenerationGrader,
    ) -> list[float]:
        scores = self._optimizer.evaluate(signature, state, items, grader=grader)
        return _numbers(scores)

    def _keep(
        self,
        artefact: Artefact,
        comparison: Comparison,
        fingerprint: str,
        signature: Signature,
        *,
        against: str,
    ) -> _Verdict:
        envelope: dict[str, JsonValue] = {
            "signature": signature.model_dump(),
            "dataset_fingerprint": fingerprint,
            "metric": GenerationGrader.name,
            "model": artefact.model,
            "simulated": artefact.simulated,
            "seed": self._run.seed,
            "auto": self._run.auto,
            "calls": artefact.calls,
            "tokens": artefact.tokens,
            "compared_with": against,
            "instruction": artefact.instruction,
            "dspy_version": artefact.dspy_version,
            "demos": [d.model_dump() for d in artefact.demos],
            "comparison": comparison.model_dump(),
        }
        with self._store.begin() as tx:
            programs.keep(
                tx,
                domain=self._run.domain,
                run_id=self._run.id,
                version_id=self._run.version_id,
                state=artefact.state,
                envelope=envelope,
                comparison=comparison,
                activate=comparison.is_better,
                now=self._clock(),
            )
        reason = (
            f"{'activated' if comparison.is_better else 'not activated'}: "
            f"{comparison.before:.3f} ({against}) -> {comparison.after:.3f} "
            f"on {comparison.items} test items"
        )
        return _Verdict(reason, {"activated": comparison.is_better, **comparison.model_dump()})

    def _trial(self, trial: Trial) -> None:
        with self._store.begin() as tx:
            runs.add_trial(tx, run_id=self._run.id, trial=trial)
            runs.progress(
                tx,
                run_id=self._run.id,
                document={
                    "phase": "optimizing",
                    "trials": trial.number,
                    "planned": self._run.plan.trials + 1,
                    "last": trial.score,
                    "calls": trial.calls,
                },
            )

    def _progress(self, phase: str) -> None:
        with self._store.begin() as tx:
            runs.progress(tx, run_id=self._run.id, document={"phase": phase})

    def _should_stop(self) -> bool:
        """Asked often by the optimizer; keeps the lease and hears a cancel every few seconds."""
        if time.monotonic() - self._beat_at > HEARTBEAT_SECONDS:
            self._beat_at = time.monotonic()
            with self._store.begin() as tx:
                self._stop = runs.extend(tx, run_id=self._run.id, until=self._clock() + self._lease)
        return self._stop

    def _finish(
        self, state: str, reason: str, outcome: dict[str, JsonValue] | None = None
    ) -> Finished:
        with self._store.begin() as tx:
            runs.finish(
                tx,
                run_id=self._run.id,
                state=state,
                reason=reason,
                outcome=outcome or {},
                now=self._clock(),
            )
        return Finished(self._run.domain, state, reason)

    def _again(self, reason: str) -> Finished:
        if self._run.attempts >= MAX_RUN_ATTEMPTS:
            return self._finish("failed", f"after {self._run.attempts} attempts: {reason}")
        with self._store.begin() as tx:
            runs.release(
                tx,
                run_id=self._run.id,
                reason=reason,
                due_at=self._clock() + backoff(self._run.attempts),
            )
        return Finished(self._run.domain, "due", reason)


class _Verdict(NamedTuple):
    reason: str
    outcome: dict[str, JsonValue]


def _same_fields(program: StoredProgram, signature: Signature) -> bool:
    """A program of other fields cannot answer this version's requests."""
    return program.envelope["signature"] == signature.model_dump()


def _size(members: Sequence[Member], split: Split) -> int:
    return sum(m.split is split for m in members)


def _numbers(scores: Sequence[ItemScore]) -> list[float]:
    """The values; an item without one makes the whole comparison impossible, never a zero."""
    failed = [s for s in scores if s.value is None]
    if failed:
        raise ModelUnavailable(
            f"{len(failed)} of {len(scores)} test items got no answer: {failed[0].error}"
        )
    return [s.value for s in scores if s.value is not None]
