"""Run the optimizer on a frozen version and keep the program if it is the better one."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core import budget, dataset, regressing
from tdsys.core.comparison import Comparison, compare
from tdsys.core.dataset import Member, Split
from tdsys.core.example import canonical
from tdsys.core.grading import GenerationGrader
from tdsys.core.policy import Policy, Signature
from tdsys.core.program import Artefact, Grader, Item, ItemScore, Optimizer, Plan, Recipe
from tdsys.core.rubric import Verifier
from tdsys.errors import (
    Cancelled,
    ConfigurationError,
    Conflict,
    InvalidInput,
    ModelUnavailable,
    NotReady,
    StoreUnavailable,
)
from tdsys.stages.following import Follower
from tdsys.stages.leases import Clock, kept
from tdsys.stages.scoring import backoff
from tdsys.store import Store, Tx, datasets, measurements, policies, programs, runs
from tdsys.store.datasets import DatasetVersion
from tdsys.store.programs import StoredProgram
from tdsys.store.runs import Run

# Claims that neither an outage nor an end explains: its worker died each time.
MOST_DEATHS = 5
# Of the test items; with fewer answers a comparison says little about the program.
ANSWERED_SHARE = 0.9

Sides = dict[Split, list[Item]]

log = logging.getLogger("tdsys.optimizing")


class Finished(NamedTuple):
    """How one claim of a run ended; `state` is due when it waits for the model."""

    domain: str
    state: str
    reason: str


class _Material(NamedTuple):
    """What one run works on."""

    version: DatasetVersion
    sides: Sides
    rival: StoredProgram | None
    metric: str
    grader: Grader
    recipe: Recipe


class _Tested(NamedTuple):
    """A compiled program and how it did against its rival."""

    artefact: Artefact
    comparison: Comparison
    before: Sequence[ItemScore]
    after: Sequence[ItemScore]
    unanswered: int


class Means(NamedTuple):
    """What a run works with; `price` is in US dollars for a million tokens, if known."""

    optimizer: Optimizer
    verifier: Verifier
    threads: int = 16
    price: float | None = None


def run_due(
    store: Store,
    *,
    optimizer: Optimizer,
    verifier: Verifier,
    clock: Clock,
    lease: timedelta,
    threads: int = 16,
    price: float | None = None,
) -> list[Finished]:
    """Run what is due until nothing is; a killed run is claimed again and replays.

    `price` is in US dollars for a million tokens.
    """
    means = Means(optimizer, verifier, threads, price)
    finished: list[Finished] = []
    while True:
        with store.begin() as tx:
            run = runs.claim(tx, lease=lease, now=clock())
        if run is None:
            return finished
        finished.append(_Running(store, run, means, clock, lease).settle())
        # The threads of a run leave connections to the cache behind, in cycles: megabytes a run.
        gc.collect()


def best(store: Store, *, domain: str) -> StoredProgram | None:
    """The newest program of a domain, active or not."""
    with store.begin() as tx:
        return next(iter(programs.programs(tx, domain=domain)), None)


class _Running:
    """One claimed run: keeps its lease, writes its trials, ends in exactly one state."""

    def __init__(
        self,
        store: Store,
        run: Run,
        means: Means,
        clock: Clock,
        lease: timedelta,
    ) -> None:
        self._store, self._run, self._means = store, run, means
        self._clock, self._lease = clock, lease
        self._follower = Follower(store, run, clock, means.price)

    def settle(self) -> Finished:
        """Run to an end and record it, whatever the end is."""
        if self._run.attempts - self._run.outages > MOST_DEATHS:
            return self._end("failed", f"its worker died {MOST_DEATHS} times")
        try:
            with kept(self._extend, lease=self._lease) as stop:
                return self._work(stop.is_set)
        except Cancelled as asked:
            return self._end("cancelled", str(asked))
        except (NotReady, ConfigurationError, InvalidInput) as blocked:
            return self._end("failed", str(blocked))
        except ModelUnavailable as away:
            return self._again(str(away))
        except (Conflict, StoreUnavailable):
            raise
        except Exception as bug:
            log.exception("run %s failed", self._run.id)
            return self._end("failed", f"{type(bug).__name__}: {bug}")

    def _work(self, lost: Callable[[], bool]) -> Finished:
        material = self._read()
        optimizer, recipe = self._means.optimizer, material.recipe
        fields, grader = material.version.signature, material.grader
        train, val = material.sides[Split.TRAIN], material.sides[Split.VAL]
        if blockers := optimizer.blockers(fields, train, val, grader=grader, recipe=recipe):
            raise NotReady("; ".join(blockers))
        should_stop = self._follower.unwanted(lost)
        artefact = optimizer.optimize(
            fields,
            train,
            val,
            grader=grader,
            recipe=recipe,
            on_trial=self._follower.trial,
            on_progress=self._follower.spent,
            should_stop=should_stop,
        )
        self._follower.testing()
        before = self._scores(material, material.rival, should_stop)
        after = self._scores(material, artefact.state, should_stop)
        return self._keep(material, _compared(artefact, material, before, after))

    def _since(self, tx: Tx, material: _Material, now: Sequence[ItemScore]) -> Comparison | None:
        """How the rival does now beside how it did when it was made, by the same metric."""
        rival = material.rival
        if rival is None or rival.envelope.get("metric") != material.metric:
            return None
        asked = (canonical(item.inputs).decode() for item in material.sides[Split.TEST])
        answers = [(one.uid, one.value, a) for one, a in zip(now, asked, strict=True)]
        return regressing.again(measurements.made_by(tx, run_id=rival.run_id), answers)

    def _read(self) -> _Material:
        with self._store.begin() as tx:
            version = datasets.version(tx, id=self._run.version_id)
            members = datasets.members(tx, version_id=self._run.version_id)
            incumbent = programs.incumbent(tx, domain=self._run.domain)
            ruled = policies.document(tx, domain=self._run.domain, version=self._run.policy_version)
        policy = Policy.model_validate(ruled)
        sides = {split: _items(members, split, version.signature) for split in Split}
        rival = incumbent if incumbent and _rivals(incumbent, self._run, version) else None
        grader = self._grader(policy, sides[Split.TRAIN] + sides[Split.VAL])
        recipe = self._recipe(policy, version, sides)
        return _Material(
            version, sides, rival, policy.metric or GenerationGrader.name, grader, recipe
        )

    def _grader(self, policy: Policy, known: Sequence[Item]) -> Grader:
        if policy.metric is not None:
            return self._means.optimizer.metric(policy.metric)
        return GenerationGrader(self._run.domain, known, self._means.verifier)

    def _recipe(self, policy: Policy, version: DatasetVersion, sides: Sides) -> Recipe:
        plan = self._planned(policy, version, sides)
        return Recipe(
            method=plan.method,
            auto=self._run.auto,
            seed=self._run.seed,
            program=policy.program,
            max_calls=policy.max_calls,
            failed_share=policy.failed_share,
            answers=plan.evaluation_calls,
            in_flight=budget.in_flight(plan, self._means.threads, wanted=policy.in_flight),
            domain=self._run.domain,
        )

    def _planned(self, policy: Policy, version: DatasetVersion, sides: Sides) -> Plan:
        """The run's plan; of an installed program it is only known now how often it asks."""
        plan = self._run.plan
        asks = self._means.optimizer.predictors(version.signature, policy.program)
        if asks > 1:
            train, val = (len(sides[split]) for split in (Split.TRAIN, Split.VAL))
            plan = budget.planned(policy, train, val, predictors=asks)
            with self._follower.held() as tx:
                runs.replan(tx, run_id=self._run.id, plan=plan)
        if plan.calls_at_most > policy.max_calls:
            raise NotReady(
                f"a run of {policy.program} may take {plan.calls_at_most} calls, "
                f"the policy allows {policy.max_calls}",
                remedy="raise max_calls or take a smaller auto",
            )
        self._follower.begin(plan)
        return plan

    def _scores(
        self,
        material: _Material,
        program: StoredProgram | dict[str, JsonValue] | None,
        should_stop: Callable[[], bool],
    ) -> list[ItemScore]:
        """How a program does on the test items; a rival may be of another installed program."""
        recipe = material.recipe
        if isinstance(program, StoredProgram):
            recipe = recipe.model_copy(update={"program": program.envelope.get("program")})
            program = program.state
        return self._means.optimizer.evaluate(
            material.version.signature,
            program,
            material.sides[Split.TEST],
            grader=material.grader,
            should_stop=should_stop,
            recipe=recipe,
        )

    def _keep(self, material: _Material, tested: _Tested) -> Finished:
        """Store the program and end the run in one transaction, if the run is still ours."""
        comparison = tested.comparison
        against = "incumbent" if material.rival else "unoptimized"
        scores = (
            f"{comparison.before:.3f} ({against}) -> {comparison.after:.3f} "
            f"on {comparison.items} test items"
        )
        with self._follower.held() as tx:
            hindrance = self._hindrance(tx, material, comparison)
            activate = not hindrance
            reason = (
                f"not activated: {scores}; {hindrance}" if hindrance else f"activated: {scores}"
            )
            programs.keep(
                tx,
                domain=self._run.domain,
                run_id=self._run.id,
                version_id=self._run.version_id,
                state=tested.artefact.state,
                envelope=self._envelope(material, tested, against),
                comparison=comparison,
                activate=activate,
                now=self._clock(),
            )
            stale = programs.is_outdated(
                tx, domain=self._run.domain, version_id=self._run.version_id
            )
            reason += "; stale: its data has moved since" if stale else ""
            since = self._since(tx, material, tested.before)
            measurements.keep(tx, run_id=self._run.id, before=tested.before, after=tested.after)
            outcome = {
                "activated": activate,
                "stale": stale,
                **comparison.model_dump(),
                "rival": material.rival and material.rival.id,
                "since": since and since.model_dump(),
            }
            self._finish(tx, "finished", reason, outcome)
        return Finished(self._run.domain, "finished", reason)

    def _hindrance(self, tx: Tx, material: _Material, comparison: Comparison) -> str:
        """Why the program does not become the active one by itself; empty when it does."""
        # Held, so that nobody activates another one after it was looked at.
        policies.hold(tx, domain=self._run.domain)
        rules = policies.current(tx, domain=self._run.domain)[1].activation
        active = programs.incumbent(tx, domain=self._run.domain)
        compared_with = material.rival.id if material.rival else None
        if not comparison.beats(rules.margin):
            return (
                f"the gain, {comparison.gain:+.3f}, may be {comparison.gain_low:+.3f}, "
                f"activation.margin is {rules.margin:g}"
            )
        if active and active.id != compared_with and _rivals(active, self._run, material.version):
            return "it was compared with a program that is no longer the active one"
        return "it waits for a person, activation.by" if rules.by == "person" else ""

    def _envelope(self, material: _Material, tested: _Tested, against: str) -> dict[str, JsonValue]:
        made = tested.artefact
        return {
            "signature": material.version.signature.model_dump(),
            "dataset_fingerprint": material.version.fingerprint,
            "optimizer": material.recipe.method,
            "program": material.recipe.program,
            "metric": material.metric,
            "model": made.model,
            "simulated": made.simulated,
            "seed": self._run.seed,
            "auto": self._run.auto,
            "planned_calls": self._run.plan.calls_at_most,
            "calls": made.calls,
            "tokens": made.tokens,
            "compared_with": against,
            "unanswered": tested.unanswered,
            "instruction": made.instruction,
            "dspy_version": made.dspy_version,
            "demos": [d.model_dump() for d in made.demos],
            "comparison": tested.comparison.model_dump(),
        }

    def _extend(self) -> bool:
        """Keep the lease; True when the work should stop."""
        with self._store.begin() as tx:
            try:
                asked = runs.hold(tx, run=self._run)
            except Conflict:
                return True
            runs.extend(tx, run_id=self._run.id, until=self._clock() + self._lease)
            return asked

    def _end(self, state: str, reason: str) -> Finished:
        with self._store.begin() as tx:
            runs.hold(tx, run=self._run)
            self._finish(tx, state, reason, {})
        return Finished(self._run.domain, state, reason)

    def _finish(self, tx: Tx, state: str, reason: str, outcome: dict[str, JsonValue]) -> None:
        runs.finish(
            tx,
            run_id=self._run.id,
            state=state,
            reason=reason,
            outcome=outcome,
            now=self._clock(),
        )

    def _again(self, reason: str) -> Finished:
        """Give the run back: an outage is nobody's fault and counts as no death."""
        with self._store.begin() as tx:
            runs.hold(tx, run=self._run)
            due_at = self._clock() + backoff(self._run.outages + 1)
            runs.release(tx, run_id=self._run.id, reason=reason, due_at=due_at)
        return Finished(self._run.domain, "due", reason)


def _items(members: Sequence[Member], split: Split, signature: Signature) -> list[Item]:
    return [dataset.item(m.example, signature) for m in members if m.split is split]


def _rivals(program: StoredProgram, run: Run, version: DatasetVersion) -> bool:
    """Whether a program answers this version's requests; one of other fields cannot."""
    theirs = Signature.model_validate(program.envelope["signature"])
    same = (theirs.inputs, theirs.outputs) == (version.signature.inputs, version.signature.outputs)
    return same and program.run_id != run.id


def _compared(
    artefact: Artefact,
    material: _Material,
    before: Sequence[ItemScore],
    after: Sequence[ItemScore],
) -> _Tested:
    """Compare on the items both programs answered; an item without an answer has no score."""
    requests = [canonical(i.inputs).decode() for i in material.sides[Split.TEST]]
    answered = [
        (b.value, a.value, request)
        for b, a, request in zip(before, after, requests, strict=True)
        if b.value is not None and a.value is not None
    ]
    missing = len(requests) - len(answered)
    if len(answered) < ANSWERED_SHARE * len(requests):
        errors = [s.error for s in (*before, *after) if s.value is None]
        raise NotReady(
            f"{missing} of {len(requests)} test items got no usable answer: {errors[0]}",
            remedy="look at what the model answers, then `tdsys optimize retry`",
        )
    olds, news, asked = zip(*answered, strict=True)
    return _Tested(artefact, compare(olds, news, asked), before, after, missing)
