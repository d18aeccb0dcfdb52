"""What an alert says, and which rules of a policy hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from tdsys.core.attribution import Contribution
from tdsys.core.dataset import lacking
from tdsys.core.example import Cell
from tdsys.core.policy import Policy
from tdsys.core.regressing import Regression
from tdsys.core.sections import AlertRules
from tdsys.core.trends import Shift, balance

RULES = (
    "no_capture",
    "rejected_share",
    "parked",
    "backlog",
    "backlog_days",
    "failed_run",
    "regression",
    "harmful_demos",
    "short_cell",
    "stale",
    "stale_program",
    "quality_drop",
    "imbalance",
    "budget",
    "import",
    "storage",
)
# Fired where they are found, not by looking at a domain now and then.
FOUND = ("judge_suspended", "canary_refused", "judge_drift")


RECENT = timedelta(days=14)
# With fewer admitted examples, or records, a share says little.
FEWEST_ADMITTED = 100
FEWEST_RECORDS = 20


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Whether what an alert says is so, or was so."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Imported(NamedTuple):
    """The newest import that ended; `failed` says why it did, or is empty."""

    filename: str
    read: int
    rejected: int
    failed: str


class Observed(NamedTuple):
    """What the rules look at in one domain.

    `heard_of`: its newest capture, or when the domain was made; `failed`: the newest run's reason.
    `decided` and `rejected` are of the newest decisions; `outdated`: when the active program was
    made, if its data changed since; `planned`: calls of 24 hours; `harmful`: demos of the active
    program. What no rule asks for is left out.
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
    newest_admitted: datetime | None = None
    outdated: datetime | None = None
    changes: Sequence[Shift] = ()
    planned: int = 0
    imported: Imported | None = None
    stored_bytes: int = 0
    regressed: Regression | None = None
    harmful: Sequence[Contribution] = ()


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
        *_about_the_program(seen, rules),
        *_about_cells(seen, policy),
        *_about_age(seen, rules, now),
        *_about_quality(seen, rules, now),
        *_about_balance(seen, policy),
        *_about_budget(seen, policy),
        *_about_imports(seen, rules),
        *_about_storage(seen, rules),
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


def _about_the_program(seen: Observed, rules: AlertRules) -> Iterator[Trouble]:
    worse = seen.regressed
    if rules.regression and worse is not None and worse.is_certain:
        yield Trouble(
            "regression",
            Severity.CRITICAL,
            f"the active program of {seen.domain} is worse than {worse.against}",
            f"{worse.gain:+.3f} ({worse.low:+.3f} to {worse.high:+.3f}) on the same test items, "
            f"{worse.requests} distinct requests",
            f"`tdsys optimize rollback --domain {seen.domain}` or activate a better one from "
            "`tdsys optimize history`; did the model, its settings or the metric change?",
        )
    if rules.harmful_demos and seen.harmful:
        yield Trouble(
            "harmful_demos",
            Severity.WARNING,
            f"the active program of {seen.domain} shows examples that do harm",
            "; ".join(f"{one.example[:12]} {_points(one)}" for one in seen.harmful),
            f"see `tdsys effectiveness recommend --domain {seen.domain}`: applied, they retire, "
            "and the next run makes a program without them",
        )


def _points(one: Contribution) -> str:
    if one.value is None or one.ci_low is None or one.ci_high is None:
        return ""
    return f"{one.value:+.3f} ({one.ci_low:+.3f} to {one.ci_high:+.3f})"


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


def _about_age(seen: Observed, rules: AlertRules, now: datetime) -> Iterator[Trouble]:
    days, last = rules.stale_days, seen.newest_admitted
    if days is not None and seen.has_version and last and now - last > timedelta(days=days):
        yield Trouble(
            "stale",
            Severity.WARNING,
            f"nothing new is admitted in {seen.domain}",
            f"nothing since {last:%Y-%m-%d}, alerts.stale_days is {days:g}",
            "see `tdsys report freshness`: is anything captured, and what becomes of it?",
        )
    days, made = rules.stale_program_days, seen.outdated
    if days is not None and made and now - made > timedelta(days=days):
        yield Trouble(
            "stale_program",
            Severity.WARNING,
            f"the program of {seen.domain} learned from data that changed since",
            f"made {made:%Y-%m-%d}, alerts.stale_program_days is {days:g}",
            "see `tdsys optimize status` for what the next run waits for",
        )


def _about_quality(seen: Observed, rules: AlertRules, now: datetime) -> Iterator[Trouble]:
    newest = {one.dimension: one for one in sorted(seen.changes, key=lambda one: one.day)}
    fallen = [
        one
        for one in newest.values()
        if rules.quality_drop is not None
        and -one.by >= rules.quality_drop
        and now.date() - one.day <= RECENT
    ]
    if fallen:
        yield Trouble(
            "quality_drop",
            Severity.WARNING,
            f"examples of {seen.domain} are scored lower than before",
            "; ".join(
                f"{one.dimension} {one.before:.2f} -> {one.after:.2f} on {one.day}"
                for one in fallen
            )
            + f"; alerts.quality_drop is {rules.quality_drop:g}",
            "see `tdsys report freshness`: another generator, judge, rubric or mix of topics?",
        )


def _about_balance(seen: Observed, policy: Policy) -> Iterator[Trouble]:
    least, held = policy.alerts.imbalance, seen.admitted
    if least is None or not seen.has_version or sum(held.values()) < FEWEST_ADMITTED:
        return
    even = balance(held, policy.wanted_cells(held))
    if even is not None and even < least:
        yield Trouble(
            "imbalance",
            Severity.INFO,
            f"the cells of {seen.domain} are uneven",
            f"balance {even:.2f} of 1, alerts.imbalance is {least:g}",
            f"see `tdsys report coverage`; `tdsys synthesize --domain {seen.domain}` fills gaps",
        )


def _about_budget(seen: Observed, policy: Policy) -> Iterator[Trouble]:
    share, most = policy.alerts.budget_share, policy.max_daily_calls
    if share is not None and most is not None and seen.planned >= share * most:
        yield Trouble(
            "budget",
            Severity.INFO,
            f"the runs of {seen.domain} have used up most of the day's calls",
            f"{seen.planned} planned of {most}, alerts.budget_share is {share:g}",
            "wait for tomorrow, raise max_daily_calls, or let runs start less often: see growth",
        )


def _about_imports(seen: Observed, rules: AlertRules) -> Iterator[Trouble]:
    share, last = rules.rejected_import, seen.imported
    if share is None or last is None:
        return
    many = last.read >= FEWEST_RECORDS and last.rejected > share * last.read
    if last.failed or many:
        yield Trouble(
            "import",
            Severity.WARNING,
            f"the newest import into {seen.domain} brought little",
            f"{last.filename}: {last.failed or f'{last.rejected} of {last.read} rejected'}, "
            f"alerts.rejected_import is {share:g}",
            "the import's page has each rejected record with its reason, and a file to repair",
        )


def _about_storage(seen: Observed, rules: AlertRules) -> Iterator[Trouble]:
    most, held = rules.storage_gb, seen.stored_bytes / 1e9
    if most is not None and held > most:
        yield Trouble(
            "storage",
            Severity.WARNING,
            f"the database takes more than {seen.domain} allows",
            f"{held:.1f} GB, alerts.storage_gb is {most:g}",
            "see `tdsys prune --dry-run`, and the caps of each policy's lifecycle",
        )
