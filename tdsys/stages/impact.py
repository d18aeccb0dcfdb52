"""Measure what following a recommendation changes, by runs that differ in nothing else.

Both sides of a pair learn from the dataset version the recommendation was made for, one of them
without the examples it retires: the same seed, validation and test split, metric and model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from tdsys.core import budget
from tdsys.core.advising import Kind
from tdsys.core.comparison import FEWEST_REQUESTS
from tdsys.core.dataset import Split
from tdsys.core.example import canonical
from tdsys.core.grading import GenerationGrader
from tdsys.core.impact import Finding, Impact, Pair
from tdsys.core.impact import impact as compared
from tdsys.core.policy import Policy
from tdsys.core.program import Grader, Item, ItemScore, Optimizer, Recipe
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
from tdsys.stages.advising import items_without
from tdsys.stages.attributing import is_on, items_of
from tdsys.stages.following import OFFLINE
from tdsys.stages.leases import Clock, kept, unwanted
from tdsys.stages.scoring import backoff
from tdsys.store import Store, Tx, datasets, impacts, policies, recommendations
from tdsys.store.datasets import DatasetVersion
from tdsys.store.effect_schema import Arm, AttributionState
from tdsys.store.impacts import Claimed, Known, Measurement, Run
from tdsys.store.recommendations import Recommendation

MOST_DEATHS = 5
SEEDS = 2

log = logging.getLogger("tdsys.impact")


class Planned(NamedTuple):
    """What a measurement on `model` would take: no calls where it was `measured` so already."""

    recommendation: Recommendation
    seeds: list[int]
    model: str
    calls: int
    measured: Measurement | None = None


class Shown(NamedTuple):
    """A measurement with its runs."""

    recommendation: Recommendation
    measurement: Measurement
    runs: list[Run]


class _Material(NamedTuple):
    version: DatasetVersion
    policy: Policy
    train: dict[Arm, list[Item]]
    val: list[Item]
    test: list[Item]


def planned(store: Store, *, id: int, model: str, seeds: int = SEEDS) -> Planned:  # noqa: A002
    """What measuring would take; InvalidInput where there is nothing to take away.

    `model` is the name of the program's model.
    """
    with store.begin() as tx:
        one = recommendations.find(tx, id=id)
    if one.kind is not Kind.RETIRE:
        raise InvalidInput(
            f"recommendation {id} retires nothing, so there is no pair of runs to compare",
            remedy="compare the next optimization with the last: `tdsys optimize status`",
        )
    found = _read(store, one)
    plans = [
        budget.planned(found.policy, len(found.train[arm]), len(found.val)).calls_at_most
        for arm in Arm
    ]
    calls = seeds * (sum(plans) + 2 * len(found.test))
    wanted = list(range(found.policy.seed, found.policy.seed + seeds))
    with store.begin() as tx:
        found_before = impacts.of(tx, recommendation_id=id, model=model)
        measured = _measured(tx, found_before, wanted)
    return Planned(one, wanted, model, 0 if measured else calls, measured)


def begin(store: Store, plan: Planned, *, clock: Clock) -> bool:
    """Queue the pairs; False where one is open, or where these very pairs were compared.

    Conflict where the recommendation is about other data by now, or where it is being measured on
    another model.
    """
    one = plan.recommendation
    with store.begin() as tx:
        policies.hold(tx, domain=one.domain)  # as whoever makes recommendations anew
        if recommendations.find(tx, id=one.id).version_id != one.version_id:
            raise Conflict(
                f"recommendation {one.id} is about a newer version", remedy="plan it anew"
            )
        found = impacts.of(tx, recommendation_id=one.id, model=plan.model)
        if found and found.is_open and found.newest.model != plan.model:
            raise Conflict(
                f"the impact of recommendation {one.id} is being measured on {found.newest.model}, "
                f"not on {plan.model}",
                remedy=f"wait, or end that: `tdsys effectiveness cancel --impact {one.id}`",
            )
        if (found and found.is_open) or _measured(tx, found, plan.seeds):
            return False
        new = impacts.open_(
            tx, recommendation_id=one.id, seeds=plan.seeds, model=plan.model,
            planned_calls=plan.calls, now=clock(),
        )  # fmt: skip
    return new is not None


def _measured(tx: Tx, found: Known | None, seeds: Sequence[int]) -> Measurement | None:
    """The verdict of these very pairs, where it is the newest."""
    if found is None or found.verdict is None:
        return None
    paired = {run.seed for run in impacts.runs(tx, impact_id=found.verdict.id)}
    return found.verdict if paired == set(seeds) else None


def cancel(store: Store, *, id: int, clock: Clock) -> bool:  # noqa: A002
    """End a recommendation's open measurement; a run that is under way ends within seconds.

    False: there is none.
    """
    with store.begin() as tx:
        recommendations.find(tx, id=id)
        found = impacts.of(tx, recommendation_id=id, model=None)
        if found is None:
            return False
    reason = "cancelled on request"
    return _end(store, found.newest.id, AttributionState.CANCELLED, reason, now=clock())


def shown(
    store: Store,
    *,
    id: int,  # noqa: A002
    model: str,
    measured: Measurement | None = None,
) -> Shown:
    """A recommendation's newest measurement on a model, or this one; NotReady without one."""
    with store.begin() as tx:
        one = recommendations.find(tx, id=id)
        found = impacts.of(tx, recommendation_id=id, model=model)
        if found is None:
            raise NotReady(
                f"the impact of recommendation {id} was not measured on {model} yet",
                remedy=f"`tdsys effectiveness impact {id} --dry-run` tells what it takes",
            )
        one_of = measured or found.newest
        return Shown(one, one_of, impacts.runs(tx, impact_id=one_of.id))


def of_domain(store: Store, *, domain: str, model: str) -> dict[int, Known]:
    """What was measured on a model of each of a domain's recommendations, by its id."""
    with store.begin() as tx:
        return impacts.of_domain(tx, domain=domain, model=model)


def work_due(
    store: Store,
    *,
    optimizer: Optimizer,
    verifier: Verifier,
    clock: Clock,
    lease: timedelta,
    only: int | None = None,
) -> int:
    """Make one run that is due, and close what is complete; how many were made, 0 or 1.

    `only`: the recommendation whose runs are made; a worker makes all.
    """
    with store.begin() as tx:
        claimed = impacts.claim(tx, lease=lease, now=clock(), only=only)
    made = 0
    if claimed is not None:
        made = _Running(store, claimed, optimizer, verifier, clock, lease).settle()
    # Also what somebody else made and did not live to compare.
    _close_complete(store, clock=clock)
    return made


def _close_complete(store: Store, *, clock: Clock) -> None:
    with store.begin() as tx:
        complete = impacts.complete(tx)
    for one in complete:
        try:
            result = _compared(store, one)
        except Conflict as lost:
            _end(store, one.id, AttributionState.FAILED, str(lost), now=clock())
            continue
        is_verdict = result is not None and result.finding is not Finding.UNANSWERED
        state = AttributionState.FINISHED if is_verdict else AttributionState.FAILED
        reason = told(result) if result else "no test item got an answer"
        told_ = result.model_dump(mode="json", by_alias=True) if result else None
        outcome = {**told_, "simulated": one.model == OFFLINE} if told_ else None
        _end(store, one.id, state, reason, now=clock(), outcome=outcome)


def _compared(store: Store, one: Measurement) -> Impact | None:
    with store.begin() as tx:
        asked = recommendations.find(tx, id=one.recommendation_id)
        all_ = impacts.runs(tx, impact_id=one.id)
    values = {(run.seed, run.arm): tuple(s.value for s in run.scores or ()) for run in all_}
    seeds = sorted({run.seed for run in all_})
    pairs = [Pair(with_=values[s, Arm.WITH], without=values[s, Arm.WITHOUT]) for s in seeds]
    test = _read(store, asked).test
    return compared(pairs, [canonical(item.inputs).decode() for item in test])


def _end(
    store: Store,
    id_: int,
    state: AttributionState,
    reason: str,
    *,
    now: datetime,
    outcome: dict[str, JsonValue] | None = None,
) -> bool:
    """Close a measurement; False where somebody else had."""
    try:
        with store.begin() as tx:
            impacts.close(tx, impact_id=id_, state=state, outcome=outcome, reason=reason, now=now)
    except Conflict as ended:
        log.info("%s", ended)
        return False
    return True


class _Running:
    """One claimed run: keeps its lease, writes its scores, closes the measurement at the end."""

    def __init__(
        self,
        store: Store,
        claimed: Claimed,
        optimizer: Optimizer,
        verifier: Verifier,
        clock: Clock,
        lease: timedelta,
    ) -> None:
        self._store, self._claimed, self._run = store, claimed, claimed.run
        self._optimizer, self._verifier = optimizer, verifier
        self._clock, self._lease = clock, lease

    def settle(self) -> int:
        """Run to an end and record it, whatever the end is."""
        if self._run.attempts - self._run.outages > MOST_DEATHS:
            return self._fail(f"its worker died {MOST_DEATHS} times")
        try:
            found = self._material()
            with kept(self._extend, lease=self._lease) as stop:
                scores, calls = self._scores(found, unwanted(stop.is_set, self._is_ended))
        except Cancelled:
            return 0
        except (NotReady, ConfigurationError, Conflict, InvalidInput) as blocked:
            return self._fail(str(blocked))
        except ModelUnavailable:
            return self._again()
        except StoreUnavailable:
            raise
        except Exception as bug:
            log.exception("a run of measurement %s failed", self._run.impact_id)
            return self._fail(f"{type(bug).__name__}: {bug}")
        with self._store.begin() as tx:
            impacts.record(tx, run=self._run, scores=scores, calls=calls)
        return 1

    def _material(self) -> _Material:
        begun_on, here = self._claimed.model, self._optimizer.model
        if not is_on(begun_on, here):
            raise Conflict(f"it was begun on {begun_on}, this worker has {here}")
        with self._store.begin() as tx:
            one = recommendations.find(tx, id=self._claimed.recommendation_id)
        return _read(self._store, one)

    def _scores(
        self, found: _Material, should_stop: Callable[[], bool]
    ) -> tuple[list[ItemScore], int]:
        # What both sides know, so that both are graded alike.
        known = [*found.train[Arm.WITH], *found.val]
        name = found.policy.metric
        grader: Grader = (
            GenerationGrader(found.version.domain, known, self._verifier)
            if name is None
            else self._optimizer.metric(name)
        )
        fields, train = found.version.signature, found.train[self._run.arm]
        recipe = _recipe(found, train, self._run.seed)
        made = self._optimizer.optimize(
            fields,
            train,
            found.val,
            grader=grader,
            recipe=recipe,
            on_trial=lambda _: None,
            on_progress=lambda _: None,
            should_stop=should_stop,
        )
        scores = self._optimizer.evaluate(
            fields,
            made.state,
            found.test,
            grader=grader,
            should_stop=should_stop,
            recipe=recipe,
        )
        return scores, made.calls + len(scores)

    def _fail(self, reason: str) -> int:
        id_ = self._run.impact_id
        _end(self._store, id_, AttributionState.FAILED, reason, now=self._clock())
        return 1

    def _is_ended(self) -> bool:
        with self._store.begin() as tx:
            return impacts.is_lost(tx, run=self._run)

    def _extend(self) -> bool:
        with self._store.begin() as tx:
            return impacts.extend(tx, run=self._run, until=self._clock() + self._lease)

    def _again(self) -> int:
        with self._store.begin() as tx:
            due_at = self._clock() + backoff(self._run.outages + 1)
            impacts.release(tx, run=self._run, due_at=due_at)
        return 0


def _recipe(found: _Material, train: Sequence[Item], seed: int) -> Recipe:
    """As planning would have it, but with this seed."""
    plan = budget.planned(found.policy, len(train), len(found.val))
    return Recipe(
        method=plan.method,
        auto=found.policy.auto,
        seed=seed,
        program=found.policy.program,
        max_calls=found.policy.max_calls,
        failed_share=found.policy.failed_share,
        answers=plan.evaluation_calls,
        in_flight=found.policy.in_flight,
        domain=found.version.domain,
    )


def told(found: Impact) -> str:
    """The verdict in one sentence."""
    pairs = found.seeds * found.items
    if found.finding is Finding.NOT_ENOUGH:
        return f"{found.finding}: fewer than {FEWEST_REQUESTS} distinct requests in the test split"
    if found.finding is Finding.UNANSWERED:
        return f"{found.finding}: {found.unanswered} of {pairs} pairs of answers cannot be read"
    missing = f"; {found.unanswered} of {pairs} pairs unanswered" if found.unanswered else ""
    return (
        f"{found.finding}: {found.with_:.3f} with them, {found.without:.3f} without; gain "
        f"{found.gain:+.3f}, 95 % between {found.gain_low:+.3f} and {found.gain_high:+.3f}, over "
        f"{found.requests} requests and {found.seeds} seeds{missing}"
    )


def _read(store: Store, one: Recommendation) -> _Material:
    with store.begin() as tx:
        version = datasets.version(tx, id=one.version_id)
        members = datasets.members(tx, version_id=version.id)
        # The one it was frozen under, for that never changes between two runs.
        former = policies.document(tx, domain=one.domain, version=version.policy_version)
    return _Material(
        version,
        Policy.model_validate(former),
        {
            Arm.WITH: items_without(members, (), version),
            Arm.WITHOUT: items_without(members, one.examples, version),
        },
        items_of(members, Split.VAL, version.signature),
        items_of(members, Split.TEST, version.signature),
    )
