"""The one way to a provider: each call of every role gets its permit, and its retries, here.

Its rule: DSPy retries nothing and waits for nothing by itself, so nobody waits twice; and a permit
is always given back with what the call came to, for the limiter of all workers learns from it.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

from dspy import lm15

from tdsys.core.throttling import Allowance, Came, Limiter, Wait, Why

# What a provider asks to be waited for longer is left to the row, which is tried again later.
LONGEST_WAIT = 60.0
# A wait is looked at again after so long: meanwhile it may have become another one.
LONGEST_SLEEP = 5.0
# Up to so much longer, so that not all come back at the same moment.
JITTER = 0.25
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
FAILURES = (lm15.ServerError, lm15.TimeoutError, lm15.TransportError)
# Raised before anything was sent.
NOT_SENT = (lm15.ConfigurationError, lm15.CapabilityError, lm15.LockTimeoutError)


class Route(NamedTuple):
    """Whom to ask, under which gauge, and how patiently.

    `retries`: so many times again after a refusal or failure; `patience`: seconds to wait for a
    model that nobody asks because it has failed.
    """

    model: str
    gauge: str
    retries: int
    patience: float


class Gateway:
    """Makes calls under the limiter of their model, for all threads of this process."""

    def __init__(
        self, limiter: Limiter, allowance: Callable[[str], Allowance] = lambda _: Allowance()
    ) -> None:
        self._limiter, self._allowance = limiter, allowance
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def call(self, route: Route, ask: Callable[[], Any]) -> Any:
        """What `ask` returns, or its last lm15 error; TransportError when nobody may ask."""
        allowance, began = self._allowance(route.model), time.monotonic()
        for turn in range(route.retries + 1):
            permit = self._permit(route, allowance)
            try:
                answer = ask()
            except BaseException as error:
                came, pause = _came(error), float(getattr(error, "retry_after", None) or 0)
                self._limiter.give_back(route.gauge, permit, allowance, came, pause)
                is_late = time.monotonic() - began > max(LONGEST_WAIT, route.patience)
                if came not in {Came.LIMITED, Came.FAILED} or turn == route.retries or is_late:
                    raise
            else:
                self._limiter.give_back(route.gauge, permit, allowance, Came.ANSWERED)
                return answer
            if not pause:  # what a provider asked for is waited for by all, before the permit
                _sleep(min(FIRST_BACKOFF * 2**turn, LONGEST_BACKOFF))
        raise AssertionError  # the last turn has returned or raised

    def _permit(self, route: Route, allowance: Allowance) -> str:
        permit, until = uuid4().hex, time.monotonic() + route.patience
        # One of this process asks; the others wait behind it and cost nothing.
        with self._turns[route.gauge]:
            while wait := self._limiter.take(route.gauge, permit, allowance):
                is_late = wait.why is Why.BROKEN and time.monotonic() + wait.seconds > until
                if is_late or wait.seconds > max(LONGEST_WAIT, route.patience):
                    raise _unavailable(wait)
                _sleep(min(wait.seconds, LONGEST_SLEEP))
        return permit


class GatedEngine:
    """A provider's engine as DSPy calls it, behind the gateway."""

    def __init__(self, engine: Any, gateway: Gateway, route: Route) -> None:
        self._engine, self._gateway, self._route = engine, gateway, route

    def complete(self, request: lm15.Request) -> lm15.Response:
        """One answer, or the provider's error."""
        return self._gateway.call(self._route, lambda: self._engine.complete(request))


def _came(error: BaseException) -> Came:
    """What an error says about the provider: a refused key or prompt is an answer."""
    if isinstance(error, lm15.RateLimitError):
        return Came.LIMITED
    if isinstance(error, NOT_SENT) or not isinstance(error, lm15.LM15Error):
        return Came.DROPPED
    return Came.FAILED if isinstance(error, FAILURES) else Came.ANSWERED


def _unavailable(wait: Wait) -> lm15.TransportError:
    if wait.why is Why.BROKEN:
        told = "it has failed again and again and is left alone"
    else:
        told = "it asked to be left alone"
    return lm15.TransportError(f"nobody was asked: {told} for another {wait.seconds:.0f} s")


def _sleep(seconds: float) -> None:
    time.sleep(seconds * (1 + JITTER * random.random()))  # noqa: S311  # nothing secret
