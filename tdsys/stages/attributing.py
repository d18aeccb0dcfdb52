"""Measure what each example contributes as a demo, within a budget of calls, on any worker."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from shlex import quote
from typing import NamedTuple
from uuid import UUID

from tdsys.core import attribution, dataset
from tdsys.core.attribution import Candidate, Contribution, Probed, Prober, Row
from tdsys.core.dataset import Member, Split
from tdsys.core.example import canonical
from tdsys.core.grading import GenerationGrader
from tdsys.core.policy import Signature
from tdsys.core.program import Grader, Item, ItemScore, Trial
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
from tdsys.stages.leases import Clock, kept
from tdsys.stages.scoring import backoff
from tdsys.store import Store, Tx, attributions, datasets, policies, programs, runs
from tdsys.store.attributions import Asked, Attribution, Claimed, Counted, Opening
from tdsys.store.datasets import DatasetVersion
from tdsys.store.effect_schema import AttributionState

PROBES_AT_ONCE = 48
MOST_DEATHS = 5
# A bell does no more than this, so that an optimization that is due gets its turn.
SECONDS_PER_BELL = 20.0
SEED = 11
TRIALS_OF_RUNS = 20

log = logging.getLogger("tdsys.attributing")


class Planned(NamedTuple):
    """What an attribution would take and tell, before it is begun.

    `error` is the standard error to expect of a contribution, with the scores there are already;
    `calls_for` what an error of 0.03 would take in all.
    """

    version: DatasetVersion
    pool: list[str]
    left_out: int
    items: list[str]
    budget: int
    scores_before: int
    error: float
    calls_for: int


class UnderWay(NamedTuple):
    """An attribution that is open, and how far it is."""

    whole: Attribution
    counted: Counted


class Shown(NamedTuple):
    """An attribution with how far it is, and what it found; `under_way` is another, if any is."""

    whole: Attribution
    version: DatasetVersion
    counted: Counted
    contributions: list[Contribution]
    under_way: UnderWay | None = None


class Worked(NamedTuple):
    """What one bell achieved; `more` when the bell should ring again."""

    probes: int
    finished: int
    more: bool


class Means(NamedTuple):
    """What prompts are tried and graded with; `metric` gives an installed one by its name."""

    prober: Prober
    verifier: Verifier
    metric: Callable[[str], Grader] | None = None


def context_of(model: str, signature: Signature, metric: str | None) -> str:
    """Under which name scores are evidence for each other: model, metric and fields are one."""
    held = [model, metric or GenerationGrader.name, signature.model_dump(mode="json")]
    return hashlib.sha256(canonical(held)).hexdigest()


def planned(store: Store, *, domain: str, budget: int | None, model: str) -> Planned:
    """What an attribution of the newest version would be; NotReady where there is nothing to try.

    `model` is the name answers of the program's model are stored under.
    """
    with store.begin() as tx:
        policies.current(tx, domain=domain)
        version = datasets.latest(tx, domain=domain)
        if version is None:
            raise NotReady(
                f"{domain} has no dataset version yet", remedy="see `tdsys optimize status`"
            )
        members = datasets.members(tx, version_id=version.id)
        live = programs.incumbent(tx, domain=domain)
        context = context_of(model, version.signature, _metric(tx, domain))
        before = attributions.evidence(tx, domain=domain, context=context)
    in_program = set(_demos(live.envelope.get("demos"))) if live else set()
    train = [m for m in members if m.split is Split.TRAIN]
    pool = attribution.prescreened(
        [Candidate(m.example.fingerprint, m.cluster, m.example.quality,
                   m.example.fingerprint in in_program) for m in train]
    )  # fmt: skip
    if len(pool) < attribution.FEWEST_CANDIDATES:
        raise NotReady(
            f"{len(pool)} examples can be demos, {attribution.FEWEST_CANDIDATES} are needed",
            remedy="add examples, or raise shares.train in the policy",
        )
    calls = attribution.usual_calls(len(pool)) if budget is None else budget
    if calls < attributions.CALLS_AT_MOST:
        raise InvalidInput(
            f"a budget of {calls} buys nothing: one prompt may take {attributions.CALLS_AT_MOST}",
            remedy=f"give at least {attribution.CALLS_PER_CANDIDATE} for each example",
        )
    return Planned(
        version, pool, len(train) - len(pool),
        [m.example.fingerprint for m in members if m.split is Split.VAL],
        calls, len(before),
        attribution.expected_error(calls + len(before), len(pool)),
        attribution.calls_for(attribution.WANTED_ERROR, len(pool)),
    )  # fmt: skip


def begin(
    store: Store, plan: Planned, *, model: str, simulated: bool, actor: str, clock: Clock
) -> UUID:
    """Queue the prompts of a plan; NotReady where one is open.

    Also where the data is another by now: what would be stale from its first call on is not
    worth any.
    """
    with store.begin() as tx:
        policies.hold(tx, domain=plan.version.domain)
        if programs.is_outdated(tx, domain=plan.version.domain, version_id=plan.version.id):
            raise NotReady(
                f"the data of {plan.version.domain} is another than version {plan.version.name} by "
                "now, so what would be found is out of date",
                remedy=_newer(tx, plan.version.domain),
            )
        earlier = attributions.listed(tx, domain=plan.version.domain, limit=1000)
        context = context_of(model, plan.version.signature, _metric(tx, plan.version.domain))
        # Another seed each time: prompts that were tried before would tell nothing new.
        seed = SEED + len(earlier)
        found = attributions.open_(
            tx,
            opening=Opening(
                plan.version.domain, plan.version.id, context,
                model, simulated, seed, plan.pool, plan.budget, actor,
            ),
            tries=attribution.probes(plan.pool, plan.items, calls=plan.budget, seed=seed),
            now=clock(),
        )  # fmt: skip
    if found is None:
        raise NotReady(
            f"an attribution of {plan.version.domain} is open",
            remedy="`tdsys effectiveness show` follows it, `effectiveness cancel` ends it",
        )
    return found


def _newer(tx: Tx, domain: str) -> str:
    """How the domain comes to a newer version."""
    build = f"`tdsys dataset build --domain {quote(domain)}`"
    if policies.current(tx, domain=domain)[1].optimization == "hold":
        return f"freeze a newer one by {build}; the policy has optimization: hold, so none comes"
    return f"a newer one comes by itself once examples settle, or by {build}"


def shown(store: Store, *, domain: str) -> Shown:
    """A domain's newest attribution that says something, beside an open one; or that, if none."""
    with store.begin() as tx:
        policies.current(tx, domain=domain)
        all_ = attributions.listed(tx, domain=domain, limit=50)
        if not all_:
            raise NotReady(
                f"nothing of {domain} was attributed yet",
                remedy=f"`tdsys effectiveness attribute --domain {quote(domain)} --dry-run` tells "
                "what it takes",
            )
        done = [one for one in all_ if one.state is AttributionState.FINISHED]
        found = _shown(tx, (done or all_)[0])
        open_ = next((one for one in all_ if one.is_open and one.id != found.whole.id), None)
        if open_ is None:
            return found
        return found._replace(under_way=UnderWay(open_, attributions.counted(tx, id=open_.id)))


def newest(store: Store, *, domains: Collection[str] | None) -> list[Attribution]:
    """The newest attribution of each domain, of these or of all."""
    with store.begin() as tx:
        return attributions.newest(tx, domains=domains)


def newest_of(store: Store, *, domain: str) -> Shown | None:
    """As `shown`; None where nothing was attributed."""
    try:
        return shown(store, domain=domain)
    except NotReady:
        return None


def followed(store: Store, *, attribution_id: UUID) -> Shown:
    """One attribution."""
    with store.begin() as tx:
        return _shown(tx, attributions.find(tx, id=attribution_id))


def _shown(tx: Tx, whole: Attribution) -> Shown:
    return Shown(
        whole,
        datasets.version(tx, id=whole.version_id),
        attributions.counted(tx, id=whole.id),
        attributions.contributions(tx, id=whole.id),
    )


def cancel(store: Store, *, domain: str, clock: Clock) -> bool:
    """End the domain's open attribution; its scores stay as evidence. False: there is none."""
    with store.begin() as tx:
        found = [one for one in attributions.going(tx) if one.domain == domain]
        for one in found:
            attributions.close(
                tx, id=one.id, state=AttributionState.CANCELLED, found=[], scores=0, error=None,
                reason="cancelled on request", now=clock(),
            )  # fmt: skip
    return bool(found)


def work_due(
    store: Store,
    *,
    means: Means,
    clock: Clock,
    lease: timedelta,
    share: Callable[[], object] = lambda: None,
    only: UUID | None = None,
    seconds: float = SECONDS_PER_BELL,
    patience: float = 0.0,
) -> Worked:
    """Try prompts until none is due or the time is up; whatever is over is estimated and closed.

    `share` is called when others could try some meanwhile. Where they all are in other hands
    already, it waits for so much `patience`, in seconds.
    """
    began, tried, ended = time.monotonic(), 0, 0
    material: dict[int, _Material] = {}
    while time.monotonic() - began < seconds:
        with store.begin() as tx:
            open_ = [one for one in attributions.going(tx) if only in {None, one.id}]
        worked = [_Trying(store, one, means, material, clock, lease).settle(share) for one in open_]
        tried += sum(one.probes for one in worked)
        ended += sum(one.finished for one in worked)
        if not any(one.more for one in worked):
            if open_ and not ended:
                time.sleep(patience)
            return Worked(tried, ended, more=False)
    return Worked(tried, ended, more=True)


class _Material(NamedTuple):
    items: dict[str, Item]
    signature: Signature
    grader: Grader
    metric: str | None


class _Trying:
    """One open attribution in this worker's hands, for one block of prompts."""

    def __init__(
        self,
        store: Store,
        whole: Attribution,
        means: Means,
        material: dict[int, _Material],
        clock: Clock,
        lease: timedelta,
    ) -> None:
        self._store, self._whole, self._means, self._known = store, whole, means, material
        self._clock, self._lease = clock, lease

    def settle(self, share: Callable[[], object]) -> Worked:
        """Try a block; `more` when another may be due."""
        if self._whole.model != self._means.prober.model:
            return self._fail(
                f"it was begun on {self._whole.model}, this worker has {self._means.prober.model}"
            )
        with self._store.begin() as tx:
            claimed = attributions.claim(
                tx, id=self._whole.id, limit=PROBES_AT_ONCE, lease=self._lease, now=self._clock()
            )
        if not claimed:
            return self._ended()
        if len(claimed) == PROBES_AT_ONCE:
            share()
        dead = [one for one in claimed if one.deaths >= MOST_DEATHS]
        self._give_up(dead)
        return self._try([one for one in claimed if one not in dead])

    def _try(self, claimed: Sequence[Claimed]) -> Worked:
        try:
            with kept(lambda: self._prolong(claimed), lease=self._lease) as stop:
                probed = self._probed(claimed, stop.is_set)
        except Cancelled:
            return Worked(0, 0, more=False)
        except (NotReady, ConfigurationError, Conflict, InvalidInput) as never:
            return self._fail(str(never))
        except ModelUnavailable as away:
            return self._again(claimed, str(away))
        except StoreUnavailable:
            raise
        except Exception as bug:
            log.exception("attribution %s failed", self._whole.id)
            return self._fail(f"{type(bug).__name__}: {bug}")
        with self._store.begin() as tx:
            asked = [
                Asked(one, told.scores, told.calls)
                for one, told in zip(claimed, probed, strict=True)
            ]
            attributions.record(tx, asked=asked)
        return Worked(len(claimed), 0, more=True)

    def _probed(self, claimed: Sequence[Claimed], stop: Callable[[], bool]) -> list[Probed]:
        if not claimed:
            return []
        version = self._whole.version_id
        if version not in self._known:
            self._known[version] = _material(self._store, self._means, version)
        material = self._known[version]
        now = context_of(self._whole.model, material.signature, material.metric)
        if now != self._whole.context:
            raise NotReady("the policy's metric is another since it was begun", remedy="begin anew")
        tries = [
            ([material.items[uid] for uid in one.probe.demos],
             [material.items[uid] for uid in one.probe.items])
            for one in claimed
        ]  # fmt: skip
        return self._means.prober.probe(
            material.signature, tries, grader=material.grader, should_stop=stop
        )

    def _give_up(self, dead: Sequence[Claimed]) -> None:
        """A prompt that takes its worker along again and again is unscored, and says so."""
        reason = f"its worker died {MOST_DEATHS} times"
        asked = [
            Asked(one, [ItemScore(uid=uid, value=None, error=reason) for uid in one.probe.items],
                  2 * len(one.probe.items))
            for one in dead
        ]  # fmt: skip
        with self._store.begin() as tx:
            attributions.record(tx, asked=asked)

    def _prolong(self, claimed: Sequence[Claimed]) -> bool:
        with self._store.begin() as tx:
            return attributions.prolong(tx, claimed=claimed, until=self._clock() + self._lease)

    def _again(self, claimed: Sequence[Claimed], reason: str) -> Worked:
        with self._store.begin() as tx:
            due_at = self._clock() + backoff(max(one.attempts for one in claimed))
            attributions.release(tx, claimed=claimed, due_at=due_at, reason=reason)
        return Worked(0, 0, more=False)

    def _ended(self) -> Worked:
        with self._store.begin() as tx:
            whole = attributions.find(tx, id=self._whole.id)
            if not (whole.is_open and attributions.is_over(tx, whole=whole)):
                return Worked(0, 0, more=False)
            rows = evidence(tx, whole)
        from tdsys.core.estimating import estimate  # noqa: PLC0415  # numpy, for this one moment

        found = estimate(rows, whole.pool)
        return self._close(
            AttributionState.FINISHED, found.contributions, found.scores, found.error, found.because
        )

    def _fail(self, reason: str) -> Worked:
        return self._close(AttributionState.FAILED, [], 0, None, reason)

    def _close(
        self,
        state: AttributionState,
        found: Sequence[Contribution],
        scores: int,
        error: float | None,
        reason: str,
    ) -> Worked:
        try:
            with self._store.begin() as tx:
                attributions.close(
                    tx, id=self._whole.id, state=state, found=found, scores=scores, error=error,
                    reason=reason, now=self._clock(),
                )  # fmt: skip
        except Conflict:
            return Worked(0, 0, more=False)
        return Worked(0, 1, more=False)


def evidence(tx: Tx, whole: Attribution) -> list[Row]:
    """All that speaks about the pool: scores of this and earlier attributions, and of runs."""
    rows = attributions.evidence(tx, domain=whole.domain, context=whole.context)
    for run in runs.runs(tx, domain=whole.domain, limit=TRIALS_OF_RUNS):
        fields = datasets.version(tx, id=run.version_id).signature
        rules = policies.document(tx, domain=run.domain, version=run.policy_version)
        metric = rules.get("metric")
        context = context_of(whole.model, fields, str(metric) if metric else None)
        # Prompts of an installed program differ by more than their demos from the plain one here.
        is_plain = not rules.get("program")
        if is_plain and context == whole.context and is_on(run.model, whole.model):
            for trial in runs.trials(tx, run_id=run.id):
                rows += trial_rows(str(run.id), trial)
    return rows


def is_on(run_model: str, model: str) -> bool:
    """Whether a run was on the model that an attribution names."""
    return run_model == model or (run_model == "offline" and model.startswith("offline/"))


def trial_rows(run: str, trial: Trial) -> list[Row]:
    """A trial of an optimizer as evidence; what an example did bootstrapped is another matter.

    There only its inputs were used, and its outputs were the model's own.
    """
    demos = tuple(
        demo.uid if demo.role == "labeled" and demo.uid else f"{demo.uid}, {demo.role}"
        for demo in trial.demos
    )
    context = f"{run}: {hashlib.sha256(trial.instruction.encode()).hexdigest()[:16]}"
    return [
        Row(demos, item.uid, item.value, context, f"{run}/{trial.number}")
        for item in trial.items
        if item.value is not None
    ]


def _metric(tx: Tx, domain: str) -> str | None:
    return policies.current(tx, domain=domain)[1].metric


def _material(store: Store, means: Means, version_id: int) -> _Material:
    """What prompts of a version are made of; versions never change."""
    with store.begin() as tx:
        version = datasets.version(tx, id=version_id)
        members = datasets.members(tx, version_id=version_id)
        name = _metric(tx, version.domain)
    items = {
        split: items_of(members, split, version.signature) for split in (Split.TRAIN, Split.VAL)
    }
    known = [*items[Split.TRAIN], *items[Split.VAL]]
    grader: Grader = GenerationGrader(version.domain, known, means.verifier)
    if name is not None and means.metric is not None:
        grader = means.metric(name)
    return _Material({item.uid: item for item in known}, version.signature, grader, name)


def items_of(members: Sequence[Member], split: Split, signature: Signature) -> list[Item]:
    """A split as programs see it."""
    return [dataset.item(m.example, signature) for m in members if m.split is split]


def _demos(found: object) -> list[str]:
    if not isinstance(found, list):
        return []
    return [str(one["uid"]) for one in found if isinstance(one, dict) and one.get("uid")]
