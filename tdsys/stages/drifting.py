"""Does each judge still do what it was calibrated for? Asked of what it scored since; no model."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError

from tdsys.core.agreement import kappa
from tdsys.core.alerting import Severity
from tdsys.core.calibration import JudgeVersion, accepted
from tdsys.core.drift import FEWEST_LABELS, FEWEST_SCORES, less_agreement, less_precise, shifted
from tdsys.core.lifecycle import Move
from tdsys.core.policy import Policy
from tdsys.errors import InvalidInput
from tdsys.stages.calibrating import Calibration, weighed
from tdsys.stages.policies import readable
from tdsys.store import Store, alerts, calibrations, policies
from tdsys.store.calibrations import Kept
from tdsys.store.engine import Tx

WINDOW = timedelta(days=14)


class Watched(NamedTuple):
    """What was found of one domain's judge; nothing where it is as it was, or too little is known.

    `labels` people gave and `scores` it made in the window.
    """

    domain: str
    labels: int
    scores: int
    found: list[str]


def watch(store: Store, *, now: datetime) -> list[Watched]:
    """Compare each calibrated domain's last two weeks with its calibration; fire, or resolve."""
    with store.begin() as tx:
        domains = calibrations.calibrated(tx)
    return [_watch(store, domain, now) for domain in domains]


def key(domain: str) -> str:
    """Under which the alert of a domain's judge fires."""
    return f"judge_drift:{domain}"


def _watch(store: Store, domain: str, now: datetime) -> Watched:
    with store.begin() as tx:
        kept = calibrations.latest(tx, domain=domain)
        assert kept is not None  # noqa: S101  # calibrations are never deleted
        seen = _looked(tx, kept, now)
        if seen.found:
            alerts.fire(
                tx,
                key=key(domain),
                severity=Severity.WARNING,
                title=f"the judge of {domain} is not what it was when it was calibrated",
                detail="; ".join(seen.found),
                remedy=f"decide what is in review, then `{_command(domain)}`",
                now=now,
                domain=domain,
            )
        elif _is_over(tx, kept, seen):
            alerts.resolve(tx, key=key(domain), now=now)
    return seen


def _command(domain: str) -> str:
    return shlex.join(["tdsys", "judge", "calibrate", "--domain", domain])


def _is_over(tx: Tx, kept: Kept, seen: Watched) -> bool:
    """Whether an alert can be taken back: enough is known again, or the judge calibrated anew."""
    fired = [one for one in alerts.listed(tx, domain=kept.domain) if one.key == key(kept.domain)]
    anew = any(kept.at > one.first_seen_at for one in fired)
    return anew or (seen.labels >= FEWEST_LABELS and seen.scores >= FEWEST_SCORES)


def _looked(tx: Tx, kept: Kept, now: datetime) -> Watched:
    judge = calibrations.newest_judge(tx, domain=kept.domain)
    if judge is not None and judge != kept.judge:
        return Watched(kept.domain, 0, 0, [_another(kept.judge, judge)])
    since = max(kept.at, now - WINDOW)
    try:
        before = Calibration.model_validate(kept.document)
        policy = _policy(tx, kept)
    except (ValidationError, InvalidInput):
        return Watched(kept.domain, 0, 0, ["its calibration is of another program version"])
    items = weighed(tx, domain=kept.domain, judge=kept.judge, policy=policy, since=since).items
    spreads = calibrations.spreads(tx, domain=kept.domain, judge=kept.judge, since=since)
    accepts = [one.move is Move.ADMIT for one in items]
    agreed = kappa(accepts, [o.good for o in items], weights=[o.weight for o in items])
    told = [
        less_agreement(before.findings.kappa, agreed),
        less_precise(before.findings.accepted.precision, accepted(items, accepts).precision),
        *shifted(before.spreads, spreads),
    ]
    scored = max((sum(counts) for counts in spreads.values()), default=0)
    return Watched(kept.domain, len(items), scored, [one for one in told if one])


def _policy(tx: Tx, kept: Kept) -> Policy:
    """The policy of then, so that thresholds changed on purpose are no drift."""
    versions = policies.history(tx, domain=kept.domain)
    (then,) = [one for one in versions if one.version == kept.policy_version]
    return readable(then.document, where=f"{kept.domain}, policy version {then.version}")


def _another(then: JudgeVersion, now: JudgeVersion) -> str:
    return f"{' '.join(then)} was calibrated, {' '.join(now)} judges now"
