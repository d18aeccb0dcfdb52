"""Calibrate the judge: its scores beside what people decided, or beside a labelled file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from tdsys.core.calibration import (
    Compared,
    Findings,
    JudgeVersion,
    LabelledExample,
    Sampled,
    Stratum,
    calibrate,
    compared,
    missing,
    stratum,
    weights,
)
from tdsys.core.example import Candidate, Source, label
from tdsys.core.policy import Policy
from tdsys.core.rubric import Assessment, Judge, Unscored, Verifier
from tdsys.errors import ModelUnavailable, NotReady
from tdsys.stages.judging import Answered, assess
from tdsys.stages.leases import Clock
from tdsys.store import Store, calibrations, policies
from tdsys.store.calibrations import Fresh, Reviewed
from tdsys.store.engine import Tx

EVIDENCE = "decided by evidence"
MORE_LABELS = "label more examples"
MORE_REVIEWS = (
    "approve or reject more of what is in review; `audit_share` decides how much is drawn"
)
Origin = Literal["reviews", "file"]


class Calibration(BaseModel):
    """What a judge is worth in one domain, by whose labels, under which policy.

    `sampled` is empty for a file. `left_out` counts labels that say nothing about the scores.
    `spreads` is how the judge's scores lay when it was calibrated: what drift is measured from.
    """

    model_config = ConfigDict(frozen=True)

    domain: str
    source: Origin
    judge: JudgeVersion
    simulated: bool
    policy_version: int
    sampled: tuple[Sampled, ...]
    left_out: dict[str, int]
    spreads: dict[str, list[int]]
    findings: Findings


class Calibrated(NamedTuple):
    """A calibration, and the policy it was done under."""

    calibration: Calibration
    policy: Policy


class Wanted(NamedTuple):
    """Which domain is calibrated, for which precision of what is accepted, and who wants it."""

    domain: str
    precision: float
    author: str


class Weighed(NamedTuple):
    """People's words with the scores they are about, each with how many it stands for."""

    items: list[Compared]
    sampled: list[Sampled]
    left_out: Counter[str]
    simulated: bool


def by_reviews(store: Store, wanted: Wanted, *, clock: Clock, keep: bool = True) -> Calibrated:
    """Calibrate the judge that scored last by what people decided; NotReady with too few.

    Kept as a row unless `keep` is False.
    """
    domain = wanted.domain
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
        judge = calibrations.newest_judge(tx, domain=domain)
        if judge is None:
            raise NotReady(f"no example of {domain} is scored yet", remedy="see `tdsys status`")
        found = weighed(tx, domain=domain, judge=judge, policy=policy)
        enough([one.good for one in found.items], remedy=MORE_REVIEWS)
        made = Calibration(
            domain=domain,
            source="reviews",
            judge=judge,
            simulated=found.simulated,
            policy_version=version,
            sampled=tuple(found.sampled),
            left_out=dict(found.left_out),
            spreads=calibrations.spreads(tx, domain=domain, judge=judge),
            findings=calibrate(found.items, policy, wanted=wanted.precision),
        )
        if keep:
            _keep(tx, made, author=wanted.author, clock=clock)
    return Calibrated(made, policy)


def by_file(
    store: Store,
    wanted: Wanted,
    *,
    labelled: Sequence[LabelledExample],
    judge: Judge,
    verifier: Verifier,
    clock: Clock,
    tell: Callable[[int], None] = lambda _: None,
) -> Calibrated:
    """Verify and judge labelled examples, which are stored nowhere, and calibrate by them.

    `tell` hears how many are done. Examples that got no usable answer are left out and counted.
    """
    domain = wanted.domain
    with store.begin() as tx:
        version, policy = policies.current(tx, domain=domain)
    answered = assess(
        store,
        [_candidate(domain, one) for one in labelled],
        policy=policy,
        judge=judge,
        verifier=verifier,
        clock=clock,
        tell=tell,
    )
    items, left_out = _beside(labelled, answered, policy)
    scored = [one.answer for one in answered if isinstance(one.answer, Assessment)]
    if not scored:
        raise ModelUnavailable("the judge answered for none of them", remedy="see `tdsys status`")
    enough([one.good for one in items], remedy=MORE_LABELS)
    who = JudgeVersion(scored[0].judge_model, scored[0].rubric_version, scored[0].prompt_version)
    with store.begin() as tx:
        made = Calibration(
            domain=domain,
            source="file",
            judge=who,
            simulated=any(one.simulated for one in scored),
            policy_version=version,
            sampled=(),
            left_out=dict(left_out),
            spreads=calibrations.spreads(tx, domain=domain, judge=who),
            findings=calibrate(items, policy, wanted=wanted.precision),
        )
        _keep(tx, made, author=wanted.author, clock=clock)
    return Calibrated(made, policy)


def enough(goods: Sequence[bool], *, remedy: str) -> None:
    """NotReady, with how many more of which kind are needed, unless there are labels enough."""
    if lack := missing(goods):
        good = sum(goods)
        raise NotReady(
            f"{good} good and {len(goods) - good} bad are too few to calibrate by: {lack} needed",
            remedy=remedy,
        )


def weighed(
    tx: Tx, *, domain: str, judge: JudgeVersion, policy: Policy, since: datetime | None = None
) -> Weighed:
    """People's words about a judge's scores (made after `since`), weighed to speak for them all."""
    scored: Counter[Stratum] = Counter()
    for one in calibrations.outcomes(tx, domain=domain, judge=judge, since=since):
        if kind := stratum(one.move, one.reason):
            scored[kind] += one.n
    words = calibrations.reviewed(tx, domain=domain, judge=judge, since=since)
    pairs = [pair for pair in (_pair(one, policy) for one in words) if pair]
    labelled = Counter(kind for kind, _ in pairs)
    # One that was scored again since may be counted elsewhere; it stands for itself at least.
    sampled = [Sampled(kind, max(scored[kind], labelled[kind]), labelled[kind]) for kind in Stratum]
    each = weights(sampled)
    return Weighed(
        [item._replace(weight=each[kind]) for kind, item in pairs],
        sampled,
        Counter({EVIDENCE: len(words) - len(pairs)}),
        any(one.assessment.simulated for one in words),
    )


def _pair(one: Reviewed, policy: Policy) -> tuple[Stratum, Compared] | None:
    kind = stratum(one.move, one.reason)
    item = compared(one.verdict, one.assessment, policy, good=one.approved)
    return (kind, item) if kind and item else None


def _beside(
    labelled: Sequence[LabelledExample], answered: Sequence[Answered], policy: Policy
) -> tuple[list[Compared], Counter[str]]:
    items: list[Compared] = []
    left_out: Counter[str] = Counter()
    for told, one in zip(labelled, answered, strict=True):
        if isinstance(one.answer, Unscored):
            left_out[f"unscored: {one.answer.reason}"] += 1
            continue
        item = compared(one.verdict, one.answer, policy, good=told.good, given=told.given)
        if item is None:
            left_out[EVIDENCE] += 1
        else:
            items.append(item)
    return items, left_out


def _candidate(domain: str, one: LabelledExample) -> Candidate:
    return Candidate(
        id=one.line,
        domain=domain,
        topic=label(one.inputs, "topic", "general"),
        difficulty=label(one.inputs, "difficulty", "unrated"),
        source=Source.IMPORTED,
        inputs=one.inputs,
        outputs=one.outputs,
    )


def _keep(tx: Tx, made: Calibration, *, author: str, clock: Clock) -> None:
    fresh = Fresh(
        made.domain,
        made.source,
        made.judge,
        made.policy_version,
        made.simulated,
        made.findings.n,
        made.model_dump(mode="json"),
    )
    calibrations.put(tx, fresh=fresh, author=author, now=clock())
