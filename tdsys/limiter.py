"""The gauges of models in Redis, one for all workers; while Redis is away, one in each process.

One rule: whatever Redis does, a call is neither lost nor stopped. Without it each process keeps to
the settings by itself, and so all of them together may ask more often than one would.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tdsys import wire
from tdsys.core import throttling
from tdsys.core.throttling import Allowance, Came, Gauge, Standing, Wait, Why

KEY = f"{wire.PREFIX}model:"
FLIGHT = f"{wire.PREFIX}flight:"
# A model that nobody asks for so long is forgotten.
KEPT_SECONDS = 86_400
# A broker that was away is not asked again, and waited for, by every call.
AWAY_SECONDS = 5.0
CONSTANTS = (
    "PERMIT_SECONDS",
    "CUT",
    "SECONDS_BETWEEN_CUTS",
    "RECOVERY_SECONDS",
    "LEAST_SHARE",
    "LEAST_RATE",
    "LONGEST_PAUSE",
    "FAILURES",
    "FIRST_REST",
    "LONGEST_REST",
    "PROBE_WAIT",
    "FULL_WAIT",
    "FORGOTTEN",
    "WINDOW",
    "TOLERATED",
    "MEASURED",
    "MEASURED_SECONDS",
    "HARDLY_LESS",
    "FEWER_ANSWERS",
    "MOST_BY_CHANCE",
    "CHANCE_SECONDS",
    "SURE",
)
TAKE, GIVE_BACK, LOOK = "take", "give_back", "look"


def script() -> str:
    """The Lua script, with the constants of `tdsys.core.throttling`."""
    named = "".join(f"local {name} = {getattr(throttling, name)!r}\n" for name in CONSTANTS)
    return f"{named}local KEPT_SECONDS = {KEPT_SECONDS}\n" + (
        files("tdsys").joinpath("limiter.lua").read_text()
    )


class LocalLimiter:
    """Gauges of this process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gauges: defaultdict[str, Gauge] = defaultdict(Gauge)

    def take(self, model: str, permit: str, allowance: Allowance) -> Wait | None:
        """None: the call may be made now."""
        with self._lock:
            return self._gauges[model].take(permit, allowance, time.monotonic())

    def give_back(
        self, model: str, permit: str, allowance: Allowance, came: Came, pause: float = 0.0
    ) -> None:
        """Say what the call came to."""
        with self._lock:
            self._gauges[model].give_back(permit, allowance, came, pause, time.monotonic())

    def standing(self, model: str) -> Standing:
        """How a model is doing."""
        with self._lock:
            return self._gauges[model].standing(time.monotonic())._replace(is_shared=False)


class _Returns:
    """Permits of one process for a model: how many are out, and those of answered calls.

    An answer is no news that others must have at once, so it goes with the next question: half as
    many round trips. The last call on its way takes all along, so none is kept for long; a probe's,
    which all others wait for, is not kept at all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._out = 0
        self._answered: list[str] = []
        self._probe = ""

    def went(self, permit: str, *, is_probe: bool) -> None:
        """One more is out."""
        with self._lock:
            self._out += 1
            self._probe = permit if is_probe else self._probe

    def came(self, permit: str, *, can_wait: bool) -> list[str] | None:
        """One is back: what goes with it; None: it waits itself."""
        with self._lock:
            self._out = max(0, self._out - 1)
            if can_wait and self._out and permit != self._probe:
                self._answered.append(permit)
                return None
        return self.collected()

    def collected(self) -> list[str]:
        """Those that have waited; they do so no more."""
        with self._lock:
            answered, self._answered = self._answered, []
            return answered


class SharedLimiter:
    """Gauges in Redis; every worker that shares it keeps to them."""

    def __init__(self, broker: Redis) -> None:
        self._broker = broker
        self._script = broker.register_script(script())
        self._local = LocalLimiter()
        self._returns: defaultdict[str, _Returns] = defaultdict(_Returns)
        self._away_until = 0.0

    def take(self, model: str, permit: str, allowance: Allowance) -> Wait | None:
        """None: the call may be made now."""
        if self._is_away():
            return self._local.take(model, permit, allowance)
        answered = self._returns[model].collected()
        try:
            seconds, why, probe = self._ask(TAKE, model, permit, allowance, answered=answered)
        except RedisError:
            self._left()
            return self._local.take(model, permit, allowance)
        if why:
            return Wait(float(seconds), Why(why.decode()))
        self._returns[model].went(permit, is_probe=bool(probe))
        return None

    def give_back(
        self, model: str, permit: str, allowance: Allowance, came: Came, pause: float = 0.0
    ) -> None:
        """Say what the call came to; a permit that cannot be given back runs out."""
        # Where so many may be on their way, somebody may wait for this one.
        can_wait = came is Came.ANSWERED and allowance.in_flight is None
        answered = self._returns[model].came(permit, can_wait=can_wait)
        if answered is None:
            return
        if not self._is_away():
            try:
                self._ask(GIVE_BACK, model, permit, allowance, came, pause, answered)
            except RedisError:
                self._left()
            else:
                return
        self._local.give_back(model, permit, allowance, came, pause)

    def standing(self, model: str) -> Standing:
        """How a model is doing; while Redis is away, in this process."""
        try:
            if answered := self._returns[model].collected():
                last = answered.pop()
                self._ask(GIVE_BACK, model, last, Allowance(), Came.ANSWERED, 0.0, answered)
            rate, flying, state, *times = self._ask(LOOK, model, "", Allowance())
            broken_for, rests, pauses, calls = map(float, times)
        except RedisError:
            return self._local.standing(model)
        return Standing(
            float(rate) or None, int(flying), state.decode(), broken_for, rests, pauses, int(calls)
        )

    def models(self) -> Iterator[str]:
        """Every model that was asked in the last day; nothing while Redis is away."""
        try:
            for key in self._broker.scan_iter(match=f"{KEY}*"):
                yield key.decode().removeprefix(KEY)
        except RedisError:
            return

    def _ask(
        self,
        step: str,
        model: str,
        permit: str,
        allowance: Allowance,
        came: Came = Came.ANSWERED,
        pause: float = 0.0,
        answered: Sequence[str] = (),
    ) -> Any:
        most = allowance.in_flight or 0
        given = [step, permit, allowance.ceiling, most, came.value, pause, *answered]
        return self._script(keys=[KEY + model, FLIGHT + model], args=given)

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _left(self) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS
