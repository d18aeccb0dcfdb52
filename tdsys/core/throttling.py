"""How often a model may be asked: what every call does to its gauge, and how long the next waits.

One rule: a gauge is moved by two steps only, `take` and `give_back`, and they are the whole truth:
`tdsys.limiter` keeps it in Redis by a script that does the same, and a test holds the two equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

# A permit of a process that was killed is free again after this: longer than any answer takes.
PERMIT_SECONDS = 150.0
# Of the rate at which a model refused; AIMD as in TCP (Chiu and Jain 1989), one cut a round trip.
CUT = 0.7
SECONDS_BETWEEN_CUTS = 1.0
# Of the last so many calls this share may be refused: who asks as often as may be meets the limit.
WINDOW = 60
TOLERATED = 0.05
# Some refuse by chance, however seldom they are asked. So many calls after a cut, or so many
# seconds, tell: where hardly less is refused but fewer are answered, the cut is taken back, and as
# much is borne with until it is looked at again.
MEASURED = 30
MEASURED_SECONDS = 20.0
HARDLY_LESS = 0.6
FEWER_ANSWERS = 0.85
MOST_BY_CHANCE = 0.45
CHANCE_SECONDS = 60.0
# Standard errors of a share of so few calls.
SURE = 3.0
# So long from nothing back to the rate at which it refused.
RECOVERY_SECONDS = 60.0
# Where a setting names a rate, no refusal takes it below this share of it; else one in ten seconds.
LEAST_SHARE = 0.1
LEAST_RATE = 0.1
LONGEST_PAUSE = 3600.0
# So many failures in a row, of all workers together, and nobody asks any more.
FAILURES = 5
FIRST_REST = 5.0
# One call of all workers together; whoever waits for the model waits that long at the most.
LONGEST_REST = 15.0
PROBE_WAIT = 1.0
# How soon to look again where as many are on their way as may be.
FULL_WAIT = 0.02
FORGOTTEN = 2.0


class Allowance(NamedTuple):
    """What a setting allows one model; None: as many as it takes."""

    per_minute: float | None = None
    in_flight: int | None = None

    @property
    def ceiling(self) -> float:
        """Calls a second; 0: no setting says."""
        return (self.per_minute or 0.0) / 60.0


class Why(StrEnum):
    """What a call waits for: the rate, others to come back, the provider's wish, its recovery."""

    RATE = "rate"
    FULL = "full"
    PAUSED = "paused"
    BROKEN = "broken"


class Came(StrEnum):
    """What a call came to; dropped: nobody was asked, or nobody knows."""

    ANSWERED = "answered"
    LIMITED = "limited"
    FAILED = "failed"
    DROPPED = "dropped"


class Wait(NamedTuple):
    """Not now; look again after so many seconds."""

    seconds: float
    why: Why


class Standing(NamedTuple):
    """How a model is doing; `rate` in calls a second, None: no limit is known.

    `broken_for`: seconds since nobody asks it; `rests` and `pauses`: seconds until somebody may.
    `calls` were made since it was asked first, or again after a day.
    """

    rate: float | None
    in_flight: int
    state: str
    broken_for: float
    rests: float
    pauses: float
    calls: int = 0
    is_shared: bool = True


class Limiter(Protocol):
    """Hands out permits for calls; every one is given back, or runs out."""

    def take(self, model: str, permit: str, allowance: Allowance) -> Wait | None:
        """None: the call may be made now."""
        ...

    def give_back(
        self, model: str, permit: str, allowance: Allowance, came: Came, pause: float = 0.0
    ) -> None:
        """Say what the call came to; `pause` is what a provider asked for, in seconds."""
        ...


@dataclass
class Gauge:
    """A model's state; times are seconds of one clock that only goes forward.

    `flight` holds when each permit was granted; `level` calls may be made at once, more come at
    `rate`. `count` calls began since `since`; `pace` was their rate before. `ok` were answered and
    `no` refused of those that began after the last `cut`, `before` it that share was refused; 0: it
    is measured. The share `chance` is borne with until `bears`. `calls` is all of them.
    """

    rate: float = 0.0
    level: float = 0.0
    at: float = 0.0
    peak: float = 0.0
    cut: float = 0.0
    until: float = 0.0
    ok: float = 0.0
    no: float = 0.0
    before: float = 0.0
    chance: float = 0.0
    bears: float = 0.0
    calls: float = 0.0
    pace: float = 0.0
    count: float = 0.0
    since: float = 0.0
    fails: float = 0.0
    broken: float = 0.0
    rest: float = 0.0
    probe_at: float = 0.0
    probe: str = ""
    flight: dict[str, float] = field(default_factory=dict)

    def take(self, permit: str, allowance: Allowance, now: float) -> Wait | None:
        """A permit, or how long to wait for one."""
        self._forget_the_dead(now)
        if wait := self._refused(allowance, now):
            return wait
        self._refill(allowance.ceiling, now)
        if self.rate and self.level < 1:
            return Wait((1 - self.level) / self.rate, Why.RATE)
        self.level -= 1 if self.rate else 0
        if now - self.since >= 1:
            self.pace, self.count, self.since = self.count / (now - self.since), 0, now
        self.count += 1
        self.calls += 1
        self.flight[permit] = now
        if self.broken:
            self.probe = permit
        return None

    def give_back(
        self, permit: str, allowance: Allowance, came: Came, pause: float, now: float
    ) -> None:
        """What a permit was used for; of one that ran out nobody knows when it was granted."""
        self._forget_the_dead(now)
        granted = self.flight.pop(permit, 0.0)
        is_probe, self.probe = self.probe == permit, "" if self.probe == permit else self.probe
        if came is Came.FAILED:
            self._fail(now, is_probe=is_probe)
        elif came is not Came.DROPPED:
            self.fails = self.broken = self.rest = 0.0
        if came is Came.LIMITED:
            self.until = max(self.until, now + min(pause, LONGEST_PAUSE))
        # What was sent before the last cut says nothing about the rate since.
        if came in {Came.ANSWERED, Came.LIMITED} and granted > self.cut:
            self._hear(allowance.ceiling, now, is_refused=came is Came.LIMITED)

    def standing(self, now: float) -> Standing:
        """How it is doing now."""
        self._forget_the_dead(now)
        state = "closed" if not self.broken else "open" if now < self.probe_at else "half open"
        return Standing(
            rate=self.rate or None,
            in_flight=len(self.flight),
            state=state,
            broken_for=now - self.broken if self.broken else 0.0,
            rests=max(0.0, self.probe_at - now) if self.broken else 0.0,
            pauses=max(0.0, self.until - now),
            calls=int(self.calls),
        )

    def _forget_the_dead(self, now: float) -> None:
        oldest = now - PERMIT_SECONDS
        self.flight = {name: at for name, at in self.flight.items() if at > oldest}

    def _refused(self, allowance: Allowance, now: float) -> Wait | None:
        if self.broken and now < self.probe_at:
            return Wait(self.probe_at - now, Why.BROKEN)
        if self.broken and self.probe in self.flight:
            return Wait(PROBE_WAIT, Why.BROKEN)
        if now < self.until:
            return Wait(self.until - now, Why.PAUSED)
        if allowance.in_flight and len(self.flight) >= allowance.in_flight:
            return Wait(FULL_WAIT, Why.FULL)
        return None

    def _refill(self, ceiling: float, now: float) -> None:
        """What has come since: calls, and at a rate that was cut, a little more of the rate."""
        passed = max(0.0, now - self.at)
        if not self.rate and ceiling:
            self.rate, self.level = ceiling, max(1.0, ceiling)
        elif self.rate and self.cut and not self.before:
            self.rate += passed * (ceiling or self.peak) / RECOVERY_SECONDS
        elif ceiling and not self.cut:  # the setting may allow more than it did
            self.rate = max(self.rate, ceiling)
        if ceiling and self.rate >= ceiling:
            self.rate, self.cut = ceiling, 0.0
        elif not ceiling and self.rate >= FORGOTTEN * self.peak:
            self.rate = self.cut = 0.0
        self.level = min(max(1.0, self.rate), self.level + passed * self.rate)
        self.at = now

    def _hear(self, ceiling: float, now: float, *, is_refused: bool) -> None:
        self.no += is_refused
        self.ok += not is_refused
        if self.ok + self.no > WINDOW:
            self.ok, self.no = self.ok / 2, self.no / 2
        is_measured = self.ok + self.no >= MEASURED or now - self.cut >= MEASURED_SECONDS
        if self.before and is_measured:
            self._weigh(now)
        if is_refused and now - self.cut >= SECONDS_BETWEEN_CUTS and self._is_too_often(now):
            self._slow_down(ceiling, now)

    def _is_too_often(self, now: float) -> bool:
        """Whether more is refused than is borne with, beyond what so few calls may hide."""
        heard = self.ok + self.no
        share = self.no / heard
        borne = max(TOLERATED, self.chance if now < self.bears else 0.0)
        is_clear = not self.before or share > MOST_BY_CHANCE + heard**-0.5
        return is_clear and share > borne + SURE * math.sqrt(borne * (1 - borne) / heard)

    def _weigh(self, now: float) -> None:
        """What the last cut has brought; one that brought nothing is taken back."""
        share = self.no / (self.ok + self.no)
        fewer = self.rate * (1 - share) <= FEWER_ANSWERS * self.peak * (1 - self.before)
        is_chance = fewer and HARDLY_LESS * self.before <= share <= MOST_BY_CHANCE
        # What is refused beyond what is borne with already is no chance.
        if is_chance and now >= self.bears:
            self.chance, self.bears = share, now + CHANCE_SECONDS
            self.rate = max(self.rate, self.peak)
        self.before = 0.0

    def _slow_down(self, ceiling: float, now: float) -> None:
        self._refill(ceiling, now)
        self.before, self.ok, self.no = self.no / (self.ok + self.no), 0.0, 0.0
        seen = max(self.pace, self.count / max(1.0, now - self.since))
        self.peak = self.rate or seen
        least = ceiling * LEAST_SHARE if ceiling else min(LEAST_RATE, self.peak)
        self.rate = max(least, self.peak * CUT)
        self.level, self.cut = min(0.0, self.level), now

    def _fail(self, now: float, *, is_probe: bool) -> None:
        if is_probe:
            self.rest = min(self.rest * 2, LONGEST_REST)
            self.probe_at = now + self.rest
        elif not self.broken:
            self.fails += 1
            if self.fails >= FAILURES:
                self.broken, self.rest, self.probe_at = now, FIRST_REST, now + FIRST_REST
