"""An optimization has its own worker, its own connections, and a bounded share of a model."""

from __future__ import annotations

import json

import pytest

from tdsys import runtime
from tdsys.core.throttling import Allowance, Came, Why
from tdsys.embedded.programs import WORKERS
from tdsys.limiter import LocalLimiter
from tdsys.wire import Queue, Task

NAME = "openai/small"


@pytest.mark.criterion("7.5")
def test_no_other_queue_waits_behind_an_optimization() -> None:
    alone = [queues for queues in WORKERS.values() if Queue.OPTIMIZATION in queues]
    assert alone == [(Queue.OPTIMIZATION,)]
    assert Queue.OPTIMIZATION not in {Task.PLAN.queue, Task.PUBLISH.queue, Task.SCORE.queue}
    assert [queues for queues in WORKERS.values() if Queue.CAPTURE in queues] == [(Queue.CAPTURE,)]


@pytest.mark.criterion("7.5")
def test_an_optimization_leaves_some_of_what_may_be_in_flight_to_everybody_else(
    process: pytest.MonkeyPatch,
) -> None:
    process.setenv("TDSYS_MODELS", json.dumps({NAME: {"in_flight": 6, "calls_per_minute": 600}}))
    here = runtime.current()
    sparing, usual = here.sparing_allowance(NAME), here.allowance(NAME)
    assert (sparing, usual) == (Allowance(600, 3), Allowance(600, 6))
    assert here.sparing_allowance("openai/unlimited") == Allowance()
    limiter = LocalLimiter()
    given = [limiter.take("m", f"o{n}", Allowance(in_flight=sparing.in_flight)) for n in range(4)]
    assert given[:3] == [None] * 3
    assert given[3] is not None
    assert given[3].why is Why.FULL
    assert limiter.take("m", "judge", Allowance(in_flight=usual.in_flight)) is None
    limiter.give_back("m", "o0", Allowance(in_flight=3), Came.ANSWERED)
    still = limiter.take("m", "o4", Allowance(in_flight=3))
    assert still is not None
    assert still.why is Why.FULL


def test_a_share_however_small_lets_an_optimization_go_on(process: pytest.MonkeyPatch) -> None:
    terms = {NAME: {"in_flight": 2, "optimization_share": 0.1}}
    process.setenv("TDSYS_MODELS", json.dumps(terms))
    assert runtime.current().sparing_allowance(NAME).in_flight == 1
