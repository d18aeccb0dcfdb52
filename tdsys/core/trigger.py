"""Whether a domain is optimized now: every reason for it and against it, from what is known.

One rule: a run starts when something speaks for it and nothing against it; whoever asks hears both.
Nothing is read or remembered here, so the same facts give the same ruling, as often as one asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tdsys.core.policy import Policy
from tdsys.core.sections import QuietHours

# A steady stream must not put planning off for ever.
PATIENCE = timedelta(minutes=10)
AGAIN_AFTER = timedelta(hours=1)
# With the data as they were these would make the same run again.
ABOUT_DATA = frozenset({"growth", "demos", "judge", "drift"})


class Arrived(NamedTuple):
    """When a domain's first and its newest example came."""

    first: datetime
    last: datetime


class LastRun(NamedTuple):
    """The domain's newest run: `size` and `began_at` are those of the version it learned from."""

    state: str
    model: str
    judge: str | None
    size: int
    began_at: datetime
    queued_at: datetime
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.finished_at is None


class Drafted(NamedTuple):
    """The version a run would learn from: what it lacks, its calls, whether it is the last one."""

    lacks: tuple[str, ...]
    is_the_last: bool
    size: int
    calls: int


class Spent(NamedTuple):
    """What runs queued in the last 24 hours may take, and the price of a call in US dollars.

    Without a price nothing is known about money, and no limit on it holds.
    """

    calls: int = 0
    dollars_per_call: float | None = None


class Known(NamedTuple):
    """All that a ruling is made from.

    `new` examples came since the last run's version; `lost_demos` of the active program were
    lost since then; `judge` scored last; `drifts_since` is when its alert began.
    `drafted` is None before the examples were read.
    """

    now: datetime
    policy: Policy
    arrived: Arrived | None
    undecided: int = 0
    last: LastRun | None = None
    new: int = 0
    rules_changed: bool = False
    lost_demos: int = 0
    model: str | None = None
    judge: str | None = None
    drifts_since: datetime | None = None
    drafted: Drafted | None = None
    spent: Spent = Spent()


class Reason(NamedTuple):
    """One thing that speaks for a run now, or against it."""

    code: str
    speaks_for: bool
    says: str


class Ruling(NamedTuple):
    """Whether to run, with every reason; `cost` in US dollars at most, None: not known."""

    reasons: tuple[Reason, ...]
    calls: int | None
    cost: float | None

    @property
    def would_run(self) -> bool:
        """Something speaks for it and nothing against it."""
        return bool(self.pro) and not self.con

    @property
    def pro(self) -> tuple[str, ...]:
        """What speaks for it, in words."""
        return tuple(one.says for one in self.reasons if one.speaks_for)

    @property
    def con(self) -> tuple[str, ...]:
        """What speaks against it, in words."""
        return tuple(one.says for one in self.reasons if not one.speaks_for)


def decide(known: Known) -> Ruling:
    """The ruling; before anything is drafted it holds as far as one can tell without examples."""
    pro = list(_for(known))
    con = [*_against(known), *_unlike_before(known, pro), *_about_draft(known, pro)]
    calls = known.drafted.calls if known.drafted else None
    return Ruling((*pro, *con), calls, _dollars(calls, known.spent))


def is_quiet(hours: QuietHours, now: datetime) -> bool:
    """Whether no run may begin, by the clock on the wall of that place."""
    there = now.astimezone(ZoneInfo(hours.timezone)).time()
    starts, ends = time.fromisoformat(hours.starts), time.fromisoformat(hours.ends)
    if starts < ends:
        return starts <= there < ends
    return there >= starts or there < ends


def _for(known: Known) -> Iterator[Reason]:
    last, rules = known.last, known.policy.trigger
    if last is None:
        yield Reason("first", speaks_for=True, says="it would be the first run")
        return
    if known.new and (why := _grown(known, last)):
        yield Reason("growth", speaks_for=True, says=why)
    if rules.demos and known.lost_demos:
        says = f"{known.lost_demos} demos of the active program were edited, left or are forgotten"
        yield Reason("demos", speaks_for=True, says=says)
    if known.rules_changed:
        says = "by the policy in force a run would come out otherwise than the last"
        yield Reason("rules", speaks_for=True, says=says)
    yield from _other_models(known, last)
    if rules.drift and known.drifts_since and known.drifts_since > last.queued_at:
        says = f"the judge drifts since {known.drifts_since:%Y-%m-%d %H:%M} UTC"
        yield Reason("drift", speaks_for=True, says=says)
    if last.state == "failed" and last.finished_at and known.now - last.finished_at > AGAIN_AFTER:
        yield Reason("failed", speaks_for=True, says="the last run failed over an hour ago")


def _other_models(known: Known, last: LastRun) -> Iterator[Reason]:
    rules = known.policy.trigger
    if rules.model and known.model not in {None, last.model}:
        says = f"the program runs on {known.model}, the last run was for {last.model}"
        yield Reason("model", speaks_for=True, says=says)
    if rules.judge and known.judge and last.judge and known.judge != last.judge:
        says = f"{known.judge} judges, when the last run was queued it was {last.judge}"
        yield Reason("judge", speaks_for=True, says=says)


def _grown(known: Known, last: LastRun) -> str:
    """Why what is new is enough; empty when it is not."""
    share, count = known.policy.growth, known.policy.trigger.new_examples
    if count is not None and known.new >= count:
        return f"{known.new} new examples, trigger.new_examples is {count}"
    if known.new >= last.size * share:
        return f"{known.new} new examples, growth is {share:.0%} of {last.size}"
    return ""


def _against(known: Known) -> Iterator[Reason]:
    """What speaks against any run now."""
    policy, last = known.policy, known.last
    if policy.optimization == "hold":
        yield Reason("hold", speaks_for=False, says="the policy holds optimization")
    if last and last.is_open:
        says = f"a run is {last.state}; what comes meanwhile is for the one after it"
        yield Reason("open", speaks_for=False, says=says)
    yield from _unsettled(known)
    rest = timedelta(minutes=policy.trigger.cooldown_minutes)
    if last and last.finished_at and known.now - last.finished_at < rest:
        says = (
            f"the last run ended less than {policy.trigger.cooldown_minutes:g} minutes ago, "
            f"at {last.finished_at:%H:%M} UTC"
        )
        yield Reason("cooldown", speaks_for=False, says=says)
    hours = policy.trigger.quiet_hours
    if hours and is_quiet(hours, known.now):
        says = f"no run begins from {hours.starts} to {hours.ends}, {hours.timezone}"
        yield Reason("quiet_hours", speaks_for=False, says=says)


def _unsettled(known: Known) -> Iterator[Reason]:
    arrived, quiet = known.arrived, known.policy.settle_seconds
    if arrived is None:
        yield Reason("empty", speaks_for=False, says="no examples")
        return
    if known.undecided:
        says = f"{known.undecided} candidates are not decided yet"
        yield Reason("undecided", speaks_for=False, says=says)
    waited = known.now - max(arrived.first, known.last.began_at if known.last else arrived.first)
    if waited < PATIENCE and known.now - arrived.last < timedelta(seconds=quiet):
        says = f"examples arrived less than {quiet} s ago"
        yield Reason("settling", speaks_for=False, says=says)


def _unlike_before(known: Known, pro: list[Reason]) -> Iterator[Reason]:
    """What speaks against a run that would be the last one once more."""
    last, drafted = known.last, known.drafted
    if last is None or last.is_open:
        return
    if not pro:
        count = known.policy.trigger.new_examples
        or_count = "" if count is None else f", or {count} of them,"
        says = (
            f"{known.new} new examples, {known.policy.growth:.0%} of {last.size}{or_count} "
            "start the next run"
        )
        yield Reason("nothing_new", speaks_for=False, says=says)
    elif drafted and drafted.is_the_last and {one.code for one in pro} <= ABOUT_DATA:
        says = "the same examples as in the last run would be chosen again"
        yield Reason("same", speaks_for=False, says=says)


def _about_draft(known: Known, pro: list[Reason]) -> Iterator[Reason]:
    """What speaks against the very run that would be made."""
    drafted, spent, policy = known.drafted, known.spent, known.policy
    if drafted is None:
        return
    yield from (Reason("lacking", speaks_for=False, says=one) for one in drafted.lacks)
    if drafted.lacks or not pro:
        return
    if drafted.calls > policy.max_calls:
        says = f"a run may take {drafted.calls} calls, the policy allows {policy.max_calls}"
        yield Reason("max_calls", speaks_for=False, says=says)
    most = policy.max_daily_calls
    if most is not None and drafted.calls + spent.calls > most:
        says = (
            f"a run may take {drafted.calls} calls and those of the last 24 hours {spent.calls}, "
            f"max_daily_calls is {most}"
        )
        yield Reason("max_daily_calls", speaks_for=False, says=says)
    yield from _too_dear(known, drafted.calls)


def _too_dear(known: Known, calls: int) -> Iterator[Reason]:
    rules, spent = known.policy.trigger, known.spent
    cost, before = _dollars(calls, spent), _dollars(spent.calls, spent)
    if cost is None or before is None:
        return
    if rules.max_cost is not None and cost > rules.max_cost:
        says = f"a run may cost ${cost:.2f}, trigger.max_cost is ${rules.max_cost:.2f}"
        yield Reason("max_cost", speaks_for=False, says=says)
    if rules.max_daily_cost is not None and cost + before > rules.max_daily_cost:
        says = (
            f"a run may cost ${cost:.2f} and those of the last 24 hours ${before:.2f}, "
            f"trigger.max_daily_cost is ${rules.max_daily_cost:.2f}"
        )
        yield Reason("max_daily_cost", speaks_for=False, says=says)


def _dollars(calls: int | None, spent: Spent) -> float | None:
    if calls is None or spent.dollars_per_call is None:
        return None
    return calls * spent.dollars_per_call
