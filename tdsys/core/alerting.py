"""What an alert says, and which rules of a policy hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from tdsys.core.dataset import lacking
from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tdsys.core.sections import AlertRules

RULES = (
    "no_capture",
    "rejected_share",
    "parked",
    "backlog",
    "backlog_days",
    "failed_run",
    "short_cell",
)
# Fired where they are found, not by looking at a domain now and then.
FOUND = ("judge_suspended", "canary_refused", "judge_drift")


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Whether what an alert says is so, or was so."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Observed(NamedTuple):
    """What the rules look at in one domain.

    `heard_of`: its newest capture, or when the domain was made; `failed`: the newest run's reason.
    `decided` and `rejected` are of the newest decisions. What no rule asks for is left out.
    """

    domain: str
    heard_of: datetime | None
    decided: int
    rejected: int
    parked: int
    in_review: int
    longest_in_review: datetime | None
    failed: str | None
    has_version: bool
    admitted: Mapping[Cell, int]


class Trouble(NamedTuple):
    """A rule that holds, and what a person reads."""

    rule: str
    severity: Severity
    title: str
    detail: str
    remedy: str


def key(rule: str, domain: str) -> str:
    """The one thing that fires or not."""
    return f"{rule}: {domain}"


def troubles(seen: Observed, policy: Policy, *, now: datetime) -> list[Trouble]:
    """Every rule of the policy that holds now."""
    rules = policy.alerts
    return [
        *_about_captures(seen, policy, now),
        *_about_decisions(seen, rules),
        *_about_people(seen, rules, now),
        *_about_runs(seen, rules),
        *_about_cells(seen, policy),
    ]


def _about_captures(seen: Observed, policy: Policy, now: datetime) -> Iterator[Trouble]:
    hours = policy.alerts.no_capture_hours
    if policy.collection == "off" or hours is None or seen.heard_of is None:
        return
    if now - seen.heard_of > timedelta(hours=hours):
        yield Trouble(
            "no_capture",
            Severity.WARNING,
            f"nothing is captured in {seen.domain}",
            f"nothing since {seen.heard_of:%Y-%m-%d %H:%M}, alerts.no_capture_hours is {hours:g}",
            "see `tdsys spool producers`: does a generator run, does it hold records back?",
        )


def _about_decisions(seen: Observed, rules: AlertRules) -> Iterator[Trouble]:
    share, of = rules.rejected_share, rules.rejected_of
    if share is not None and seen.decided >= of and seen.rejected > share * seen.decided:
        yield Trouble(
            "rejected_share",
            Severity.WARNING,
            f"much is rejected in {seen.domain}",
            f"{seen.rejected} of the newest {seen.decided}, alerts.rejected_share is {share:g}",
            "see `tdsys report quality` for the reasons: is it the generator, or the policy?",
        )
    if rules.parked is not None and seen.parked > rules.parked:
        yield Trouble(
            "parked",
            Severity.WARNING,
            f"many examples of {seen.domain} are parked",
            f"{seen.parked}, alerts.parked is {rules.parked}",
            "see `tdsys examples list --state parked`; what is mended can be unparked",
        )


def _about_people(seen: Observed, rules: AlertRules, now: datetime) -> Iterator[Trouble]:
    if rules.backlog is not None and seen.in_review > rules.backlog:
        yield Trouble(
            "backlog",
            Severity.WARNING,
            f"many examples of {seen.domain} wait for a person",
            f"{seen.in_review}, alerts.backlog is {rules.backlog}",
            "review some, or let the policy admit or reject more by itself",
        )
    days, since = rules.backlog_days, seen.longest_in_review
    if days is not None and since is not None and now - since > timedelta(days=days):
        yield Trouble(
            "backlog_days",
            Severity.INFO,
            f"an example of {seen.domain} waits long for a person",
            f"since {since:%Y-%m-%d}, alerts.backlog_days is {days:g}",
            "see `tdsys examples list --state in_review`, the oldest is first",
        )


def _about_runs(seen: Observed, rules: AlertRules) -> Iterator[Trouble]:
    if rules.failed_run and seen.failed is not None:
        yield Trouble(
            "failed_run",
            Severity.CRITICAL,
            f"the newest run of {seen.domain} failed",
            seen.failed,
            "mend the cause, then `tdsys optimize retry`; it is tried again each hour",
        )


def _about_cells(seen: Observed, policy: Policy) -> Iterator[Trouble]:
    # Before the first version that is what planning says; an alert would say it from day one.
    if not (policy.alerts.short_cell and seen.has_version):
        return
    if short := lacking(seen.admitted, policy):
        yield Trouble(
            "short_cell",
            Severity.INFO,
            f"cells of {seen.domain} are below their minimum",
            "; ".join(short),
            "see `tdsys report coverage`; capture or import some, or lower cells.min",
        )
