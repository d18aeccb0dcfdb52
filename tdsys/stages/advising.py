"""What is amiss with a domain's examples, what to do about it, doing it, and taking it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import product
from shlex import quote
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue

from tdsys.core import dataset, suspecting
from tdsys.core.advising import Advice, AdviceState, Kind, advice
from tdsys.core.attribution import Contribution
from tdsys.core.batch import Kind as BatchKind
from tdsys.core.calibration import JudgeVersion
from tdsys.core.dataset import Member, Split
from tdsys.core.lifecycle import Move, State, way
from tdsys.core.policy import Policy
from tdsys.core.program import Item, Trial
from tdsys.core.rubric import decide
from tdsys.core.sketching import problem_of
from tdsys.core.suspecting import Known, ProgramScore, Standards, Suspect, suspects
from tdsys.core.versions import Leaving, Tombstone
from tdsys.errors import Conflict, InvalidInput, NotReady
from tdsys.stages import attributing, filling
from tdsys.stages.filling import Request, Supply
from tdsys.stages.leases import Clock
from tdsys.store import (
    Store,
    Tx,
    attributions,
    batches,
    calibrations,
    datasets,
    examples,
    impacts,
    policies,
    recommendations,
    runs,
)
from tdsys.store.attributions import Attribution
from tdsys.store.datasets import DatasetVersion, Step
from tdsys.store.effect_schema import AttributionState
from tdsys.store.impacts import Known as Measured
from tdsys.store.recommendations import Fact, Recommendation

RUNS_LOOKED_AT = 10
ATTRIBUTIONS_LOOKED_AT = 20
BECAUSE = "recommended"
MOVES = {Kind.RETIRE: Move.RETIRE, Kind.REJUDGE: Move.REPLAY, Kind.FIX_LABEL: Move.FLAG}
CAN_GO_BACK = frozenset({Kind.RETIRE})


class Survey(NamedTuple):
    """All that speaks about the members of a domain's newest version."""

    version: DatasetVersion
    policy: Policy
    members: list[Known]
    contributions: list[Contribution]
    whole: Attribution | None
    tested: list[ProgramScore]
    suspects: list[Suspect]


class Applied(NamedTuple):
    """What following a recommendation did, or would do; `before` was the newest version then."""

    recommendation: Recommendation
    moved: list[int]
    version: DatasetVersion | None = None
    before: int | None = None
    policy_version: int | None = None
    batches: Sequence[str] = ()
    dry_run: bool = False
    impact: Measured | None = None


def survey(store: Store, *, domain: str, clock: Clock) -> Survey:
    """Look at the newest version from every side; NotReady where there is none."""
    with store.begin() as tx:
        _, policy = policies.current(tx, domain=domain)
        version = datasets.latest(tx, domain=domain)
        if version is None:
            raise NotReady(
                f"{domain} has no dataset version yet", remedy="see `tdsys optimize status`"
            )
        judge = calibrations.newest_judge(tx, domain=domain)
        held = datasets.members(tx, version_id=version.id, whole=False)
        members = _known(tx, domain, held, policy, judge)
        whole = _newest(tx, domain)
        found = attributions.contributions(tx, id=whole.id) if whole else []
        tested = _tested(tx, domain)
    standards = Standards(
        judge.rubric_version if judge else None, policy.lifecycle.retire_after_days, clock()
    )
    named = {one.example: one for one in found}
    return Survey(
        version, policy, members, found, whole, tested, suspects(members, named, tested, standards)
    )


def recommend(store: Store, *, domain: str, clock: Clock) -> list[Recommendation]:
    """Work out what to do and make it the open recommendations."""
    seen = survey(store, domain=domain, clock=clock)
    found = _advice(store, seen)
    with store.begin() as tx:
        policies.hold(tx, domain=domain)  # as whoever begins to measure what one changes
        return recommendations.keep(
            tx,
            domain=domain,
            version_id=seen.version.id,
            attribution_id=seen.whole.id if seen.whole else None,
            found=found,
            now=clock(),
        )


def unmeasured(store: Store, *, domain: str) -> str | None:
    """Why none, or none of some, is called redundant, and what to do; None: all were measured."""
    with store.begin() as tx:
        all_ = attributions.listed(tx, domain=domain, limit=ATTRIBUTIONS_LOOKED_AT)
        if whole := _newest(tx, domain):
            held = datasets.members(tx, version_id=whole.version_id, whole=False)
            clusters = {m.example.fingerprint: m.cluster for m in held if m.split is Split.TRAIN}
            return suspecting.not_looked_at(clusters, whole.pool)
    done = [one for one in all_ if one.state is AttributionState.FINISHED]
    measured = "was measured before the data changed" if done else "was not measured yet"
    remedy = f"`tdsys effectiveness attribute --domain {quote(domain)}`"
    if any(one.is_open for one in all_):
        remedy = "wait for the attribution under way"
    none = "so none is called harmful or redundant"
    return f"What each example is worth {measured}, {none}: {remedy}"


def listed(store: Store, *, domain: str) -> list[Recommendation]:
    """A domain's recommendations with what became of them, the newest first."""
    with store.begin() as tx:
        return recommendations.listed(tx, domain=domain)


def found(store: Store, *, id: int) -> Recommendation:  # noqa: A002
    """One recommendation; NotFound without one."""
    with store.begin() as tx:
        return recommendations.find(tx, id=id)


def apply(
    store: Store, *, id: int, supply: Callable[[], Supply], model: str, actor: str, clock: Clock,  # noqa: A002
    dry_run: bool = False, despite_impact: bool = False,
) -> Applied:  # fmt: skip
    """Follow a recommendation: by moves of the lifecycle, a policy, or a batch.

    Retirements are followed by a new dataset version. Conflict where it is not open any more,
    NotReady where following it was measured to do harm to this model, unless `despite_impact`.
    """
    with store.begin() as tx:
        one = recommendations.find(tx, id=id)
        measured = impacts.of(tx, recommendation_id=id, model=model)
    if one.state is not AdviceState.OPEN:
        raise Conflict(f"recommendation {id} is {one.state}", remedy="ask for fresh ones")
    if dry_run:
        return Applied(one, _movable(store, one), dry_run=True, impact=measured)
    if not despite_impact:
        _refuse_worse(one, measured)
    done = Applied(one, [], impact=measured)
    if one.kind in MOVES:
        done = _moved(store, done, actor, clock)
    elif one.kind is Kind.CHANGE_THRESHOLD:
        done = _with_policy(store, done, actor, clock)
    else:
        done = _with_batches(store, done, supply(), model, actor, clock)
    with store.begin() as tx:
        return done._replace(recommendation=recommendations.find(tx, id=id))


def _refuse_worse(one: Recommendation, measured: Measured | None) -> None:
    if measured and measured.verdict and measured.verdict.is_worse:
        raise NotReady(
            f"the measured impact of recommendation {one.id} is {measured.verdict.told}",
            remedy=f"to follow it all the same: `{despite(one)}`, or tick the box on the page",
        )


def despite(one: Recommendation) -> str:
    """The command that follows what was measured to do harm."""
    return f"tdsys effectiveness apply {one.id} --despite-impact"


def revert(store: Store, *, id: int, actor: str, clock: Clock) -> Recommendation:  # noqa: A002
    """Take back what applying a recommendation did.

    Retired examples are admitted again as they were, and the dataset version of before is the
    newest again. A policy's field has its former value, batches are cancelled.
    """
    with store.begin() as tx:
        one = recommendations.find(tx, id=id, hold=True)
        if one.state is not AdviceState.APPLIED:
            raise Conflict(
                f"recommendation {id} is {one.state}, not applied",
                remedy="there is nothing to take back",
            )
        if one.kind in MOVES and one.kind not in CAN_GO_BACK:
            raise InvalidInput(
                f"recommendation {id} put examples before the judge or a person",
                remedy="what they decided stands; move examples by `tdsys examples move`",
            )
        _restore(tx, one, actor, clock)
        _freeze_again(tx, one, clock)
        _put_back(tx, one, actor, clock)
        for batch_id in _texts(one, "batches"):
            batches.cancel(tx, batch_id=UUID(batch_id), now=clock())  # one that ended stays
        recommendations.reverted(tx, id=id, now=clock())
        return recommendations.find(tx, id=id)


def freeze(
    tx: Tx,
    *,
    version: DatasetVersion,
    because: str,
    now: datetime,
    after: DatasetVersion | None = None,
) -> DatasetVersion:
    """Freeze a version's members that are admitted still, each in its split; NotReady if few are.

    A minor version `after` the newest, by itself that very one: nothing else changes, so what
    comes of the next run comes of their leaving. What was admitted meanwhile is planning's
    business.
    """
    members = datasets.members(tx, version_id=version.id, whole=False)
    facts = recommendations.facts(tx, example_ids=[m.example.id for m in members])
    left = [m for m in members if _is_there(m, facts)]
    for split in Split:
        if (count := sum(m.split is split for m in left)) < dataset.SMALLEST_SPLIT:
            raise NotReady(
                f"only {count} examples would be left for {split}",
                remedy="collect more examples first",
            )
    gone = [
        Tombstone(m.example.id, m.example.fingerprint, m.split, Leaving.LEFT, because)
        for m in (datasets.members(tx, version_id=after.id, whole=False) if after else members)
        if not _is_there(m, facts)
    ]
    return datasets.freeze(
        tx,
        domain=version.domain,
        fingerprint=dataset.fingerprint(left, version.signature),
        signature=version.signature,
        policy_version=version.policy_version,
        members=left,
        now=now,
        step=Step((after or version).id, major=False, because=because, removed=gone),
    )


def _is_there(member: Member, facts: Mapping[int, Fact]) -> bool:
    """Whether it is admitted still, as what it was: an edited example is another one."""
    fact, example = facts.get(member.example.id), member.example
    return fact is not None and (fact.state, fact.fingerprint) == (
        State.ADMITTED,
        example.fingerprint,
    )


def _newest(tx: Tx, domain: str) -> Attribution | None:
    """The newest attribution that says something and is of the data as it is."""
    done = attributions.listed(tx, domain=domain, limit=ATTRIBUTIONS_LOOKED_AT)
    return next(
        (one for one in done if one.state is AttributionState.FINISHED and not one.stale), None
    )


def _known(
    tx: Tx, domain: str, members: Sequence[Member], policy: Policy, judge: JudgeVersion | None
) -> list[Known]:
    facts = recommendations.facts(tx, example_ids=[m.example.id for m in members])
    reviewed = calibrations.reviewed(tx, domain=domain, judge=judge) if judge else []
    words = {
        one.example_id: (
            one.approved,
            decide(one.verdict, one.assessment, policy).move is Move.ADMIT,
        )
        for one in reviewed
    }
    found = []
    for member in (one for one in members if _is_there(one, facts)):
        example, fact = member.example, facts[member.example.id]
        approved, accepted = words.get(example.id, (None, None))
        found.append(
            Known(
                example.fingerprint, example.id, member.split, member.cluster, example.topic,
                example.difficulty, example.quality, problem_of(example.outputs),
                str(example.outputs.get("answer", "")), fact.stored_at,
                fact.rubric, approved, accepted,
            )
        )  # fmt: skip
    return found


def _tested(tx: Tx, domain: str) -> list[ProgramScore]:
    """Scores of whole validation splits by the programs that runs tried, each program once."""
    tried: dict[object, tuple[str, Trial]] = {}
    for run in runs.runs(tx, domain=domain, limit=RUNS_LOOKED_AT):
        for trial in runs.trials(tx, run_id=run.id):
            if trial.kind == "full":
                prompt = (run.version_id, run.model, trial.instruction, trial.demos)
                tried.setdefault(prompt, (f"{run.id}/{trial.number}", trial))
    return [
        ProgramScore(name, trial.score, item.uid, item.value)
        for name, trial in tried.values()
        for item in trial.items
        if item.value is not None
    ]


def _advice(store: Store, seen: Survey) -> list[Advice]:
    """With what the scores say of sums of contributions, if there are any."""

    def unknown(_: Mapping[str, float]) -> None:
        return None

    if seen.whole is None:
        return advice(seen.members, seen.suspects, [], seen.tested, seen.policy, unknown)
    from tdsys.core.estimating import estimate  # noqa: PLC0415  # numpy, for this one moment

    with store.begin() as tx:
        rows = attributing.evidence(tx, seen.whole)
    found = estimate(rows, seen.whole.pool)
    return advice(
        seen.members,
        seen.suspects,
        seen.contributions,
        seen.tested,
        seen.policy,
        found.contrast if found.is_enough else unknown,
    )


def _movable(store: Store, one: Recommendation) -> list[int]:
    """The examples it is about that are admitted still."""
    with store.begin() as tx:
        return _admitted(tx, one)


def _admitted(tx: Tx, one: Recommendation) -> list[int]:
    wanted = set(one.examples)
    placed = datasets.placed(tx, version_id=one.version_id)
    ids = sorted(found.example_id for name, found in placed.items() if name in wanted)
    facts = recommendations.facts(tx, example_ids=ids)
    return [
        id_
        for id_, fact in sorted(facts.items())
        if fact.state == State.ADMITTED and fact.fingerprint in wanted
    ]


def _moved(store: Store, done: Applied, actor: str, clock: Clock) -> Applied:
    """Move its examples, all or none, the reason on record with each."""
    one = done.recommendation
    with store.begin() as tx:
        policies.hold(tx, domain=one.domain)
        version, _ = policies.current(tx, domain=one.domain)
        done = done._replace(moved=_admitted(tx, one))
        recommendations.applied(tx, id=one.id, actor=actor, now=clock())
        for example_id in done.moved:
            examples.move(
                tx, example_id=example_id, move=MOVES[one.kind], reason=BECAUSE,
                detail=f"recommendation {one.id}: {one.title}; {one.reason}", actor=actor,
                policy_version=version, now=clock(),
            )  # fmt: skip
        latest = datasets.latest(tx, domain=one.domain)
        if one.kind is Kind.RETIRE and latest:
            said = f"recommendation {one.id}: {one.title}"
            made = freeze(tx, version=latest, because=said, now=clock())
            done = done._replace(before=latest.id, version=made)
        return _noted(tx, done)


def _with_policy(store: Store, done: Applied, actor: str, clock: Clock) -> Applied:
    one = done.recommendation
    with store.begin() as tx:
        policies.hold(tx, domain=one.domain)
        _, policy = policies.current(tx, domain=one.domain)
        limit = _change(one).get("admit_quality")
        if isinstance(limit, int | float) and limit <= policy.admit_quality:
            raise Conflict(
                f"admit_quality is {policy.admit_quality:g} by now", remedy="ask for fresh ones"
            )
        changed = Policy.model_validate({**policy.model_dump(), **_change(one)})
        version = policies.put(tx, domain=one.domain, policy=changed, author=actor, now=clock())
        recommendations.applied(tx, id=one.id, actor=actor, now=clock())
        return _noted(tx, done._replace(policy_version=version))


def _with_batches(
    store: Store, done: Applied, supply: Supply, model: str, actor: str, clock: Clock
) -> Applied:
    """A batch of synthetic examples for each cell; first all are planned, then all are begun."""
    one = done.recommendation
    drafted = [
        filling.draft(
            store,
            supply,
            Request(
                kind=BatchKind.SYNTHESIS, domain=one.domain, count=int(str(_change(one)["count"])),
                topics=(topic,), difficulties=(difficulty,), model=model,
            ),
        )
        for topic, difficulty in one.cells
    ]  # fmt: skip
    with store.begin() as tx:
        recommendations.applied(tx, id=one.id, actor=actor, now=clock())
        begun = [str(filling.opened(tx, each, actor=actor, now=clock())) for each in drafted]
        return _noted(tx, done._replace(batches=begun))


def _noted(tx: Tx, done: Applied) -> Applied:
    """Written down in the transaction that did it, or it could not be taken back."""
    recommendations.amend(tx, id=done.recommendation.id, done=_kept(done))
    return done


def _kept(done: Applied) -> dict[str, JsonValue]:
    return {
        "moved": list[JsonValue](done.moved),
        "version_before": done.before,
        "version_after": done.version.id if done.version else None,
        "policy_version": done.policy_version,
        "batches": list[JsonValue](done.batches),
    }


def _restore(tx: Tx, one: Recommendation, actor: str, clock: Clock) -> None:
    moved = (one.done or {}).get("moved")
    ids = [int(str(n)) for n in moved] if isinstance(moved, list) else []
    facts = recommendations.facts(tx, example_ids=ids)
    version, _ = policies.current(tx, domain=one.domain)
    back = [id_ for id_ in ids if id_ in facts and facts[id_].state == State.RETIRED]
    for example_id, move in product(back, way(State.RETIRED, State.ADMITTED)):
        examples.move(
            tx, example_id=example_id, move=move, reason=BECAUSE,
            detail=f"recommendation {one.id} was taken back", actor=actor,
            policy_version=version, now=clock(),
        )  # fmt: skip


def _freeze_again(tx: Tx, one: Recommendation, clock: Clock) -> None:
    """The version of before, unless planning went on from what was made of it."""
    latest = datasets.latest(tx, domain=one.domain)
    made, former = ((one.done or {}).get(f"version_{when}") for when in ("after", "before"))
    if one.kind is not Kind.RETIRE or latest is None or latest.id != made or former is None:
        return
    before = datasets.version(tx, id=int(str(former)))
    if before.id != latest.id:
        because = f"recommendation {one.id} was taken back"
        freeze(tx, version=before, because=because, now=clock(), after=latest)


def _put_back(tx: Tx, one: Recommendation, actor: str, clock: Clock) -> None:
    """The field as it was before; where somebody changed it since, theirs stays."""
    if one.kind is not Kind.CHANGE_THRESHOLD or one.done is None:
        return
    number = int(str(one.done["policy_version"]))
    policies.hold(tx, domain=one.domain)
    _, policy = policies.current(tx, domain=one.domain)
    former = policies.document(tx, domain=one.domain, version=number - 1)
    now = policy.model_dump()
    fields = {name: former[name] for name, ours in _change(one).items() if now[name] == ours}
    if not fields:
        return
    changed = Policy.model_validate({**policy.model_dump(), **fields})
    policies.put(tx, domain=one.domain, policy=changed, author=actor, now=clock())


def _change(one: Recommendation) -> dict[str, JsonValue]:
    found = one.subject.get("change")
    return found if isinstance(found, dict) else {}


def _texts(one: Recommendation, name: str) -> list[str]:
    found = (one.done or {}).get(name)
    return [str(text) for text in found] if isinstance(found, list) else []


def items_without(
    members: Sequence[Member], gone: Sequence[str], version: DatasetVersion
) -> list[Item]:
    """The training items of a version but for some examples."""
    left_out = set(gone)
    kept = [m for m in members if m.example.fingerprint not in left_out]
    return attributing.items_of(kept, Split.TRAIN, version.signature)
