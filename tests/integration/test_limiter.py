"""The limiter in Redis: what its script does is what the core says, for all workers together."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from tdsys import limiter as limiter_module
from tdsys.broker import connect
from tdsys.core.rubric import Judgement, Question
from tdsys.core.sections import Member
from tdsys.core.throttling import FAILURES, Allowance, Came, Gauge, Standing, Wait, Why
from tdsys.embedded.ports import any_free
from tdsys.limiter import FLIGHT, KEY, SharedLimiter
from tdsys.llm.gateway import Gateway
from tdsys.llm.judge import ModelJudge
from tdsys.llm.naming import gauge
from tdsys.llm.session import Model
from tests.integration.test_judge import PROVED, candidate
from tests.processes import wait_for
from tests.stub_provider import StubProvider
from tests.valkeys import valkey

ALLOWANCES = [Allowance(), Allowance(per_minute=90), Allowance(in_flight=2),
              Allowance(per_minute=3, in_flight=1)]  # fmt: skip
FREE = Allowance()
BEGINNING = 1_000_000.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.just(0), st.just(0.0)),
        st.tuples(st.sampled_from(list(Came)), st.integers(0, 3), st.sampled_from([0.0, 0.5, 9.0])),
        st.tuples(st.just("set"), st.integers(0, len(ALLOWANCES) - 1), st.just(0.0)),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([0.01, 0.5, 1.5, 7.0, 61.0, 151.0])),
    ),
    max_size=60,
)


@pytest.fixture
def broker(redis_url: str) -> Iterator[Redis]:
    broker = connect(redis_url)
    broker.flushdb()
    yield broker
    broker.close()


class Both:
    """A gauge of the core and one in Redis, on one clock."""

    def __init__(
        self, broker: Redis, monkeypatch: pytest.MonkeyPatch, allowance: Allowance
    ) -> None:
        told = limiter_module.script().replace(
            "redis.call('TIME')", "redis.call('LRANGE', 'now', 0, 1)"
        )
        monkeypatch.setattr(limiter_module, "script", lambda: told)
        self.broker, self.allowance, self.now = broker, allowance, BEGINNING
        self.core, self.redis = Gauge(), SharedLimiter(broker)
        self.permits: list[str] = []
        self.wait(0)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.broker.delete("now")
        self.broker.rpush("now", int(self.now), round(self.now % 1 * 1e6))

    def take(self) -> tuple[Wait | None, Wait | None]:
        permit = f"p{len(self.permits)}"
        self.permits.append(permit)
        return (self.core.take(permit, self.allowance, self.now),
                self.redis.take("m", permit, self.allowance))  # fmt: skip

    def give_back(self, place: int, came: Came, pause: float) -> None:
        if self.permits:
            permit = self.permits[-1 - place % len(self.permits)]
            self.core.give_back(permit, self.allowance, came, pause, self.now)
            self.redis.give_back("m", permit, self.allowance, came, pause)

    def standings(self) -> tuple[Standing, Standing]:
        return self.core.standing(self.now), self.redis.standing("m")


@pytest.mark.parametrize("allowance", ALLOWANCES)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_the_script_and_the_core_never_differ(
    broker: Redis, allowance: Allowance, steps: list[Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        broker.delete(KEY + "m", FLIGHT + "m")
        both = Both(broker, patch, allowance)
        for what, place, seconds in steps:
            if what == "wait":
                both.wait(seconds)
            elif what == "set":
                both.allowance = ALLOWANCES[place % len(ALLOWANCES)]
            elif what == "take":
                ours, theirs = both.take()
                assert (ours is None) == (theirs is None)
                if ours and theirs:
                    assert theirs.why == ours.why
                    assert theirs.seconds == pytest.approx(ours.seconds, abs=1e-5)
            else:
                both.give_back(place, what, seconds)
            ours_now, theirs_now = map(plain, both.standings())
            assert theirs_now == pytest.approx(ours_now, rel=1e-5, abs=1e-5)


def test_they_bear_with_the_same_chance(broker: Redis) -> None:
    """Cut, measured, taken back and forgotten: so many calls no drawn steps have."""
    lot = random.Random(3)
    with pytest.MonkeyPatch.context() as patch:
        both = Both(broker, patch, Allowance())
        for _ in range(900):
            both.wait(0.203)
            if both.take()[0] is None:
                both.wait(0.203)
                both.give_back(0, Came.LIMITED if lot.random() < 0.3 else Came.ANSWERED, 0)
            ours, theirs = map(plain, both.standings())
            assert theirs == pytest.approx(ours, rel=1e-5, abs=1e-5)
        assert both.core.chance > 0.1


def plain(one: Standing) -> list[float]:
    state = ["closed", "open", "half open"].index(one.state)
    return [one.rate or 0.0, one.in_flight, state, one.broken_for, one.rests, one.pauses,
            one.calls]  # fmt: skip


# A limiter of its own for each: as in workers of their own.
def workers(broker: Redis, count: int = 4) -> list[SharedLimiter]:
    return [SharedLimiter(broker) for _ in range(count)]


def taken(limiter: SharedLimiter, permit: str, allowance: Allowance = FREE) -> Wait | None:
    return limiter.take("m", permit, allowance)


def test_all_workers_together_keep_to_one_rate(broker: Redis) -> None:
    allowance, until = Allowance(per_minute=1200), time.monotonic() + 1.5
    made: list[int] = []

    def work(name: int, limiter: SharedLimiter) -> None:
        while time.monotonic() < until:
            if wait := taken(limiter, f"{name}-{len(made)}", allowance):
                time.sleep(min(wait.seconds, 0.05))
            else:
                made.append(name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4), workers(broker)))
    # twenty at once, and twenty a second
    assert 40 <= len(made) <= 52


def test_what_one_worker_is_told_all_keep_to(broker: Redis) -> None:
    one, other, *_ = workers(broker)
    assert taken(one, "a") is None
    one.give_back("m", "a", Allowance(), Came.LIMITED, 30)
    wait = taken(other, "b")
    assert wait
    assert (wait.why, round(wait.seconds)) == (Why.PAUSED, 30)


def test_an_answer_goes_with_the_next_question_and_none_is_kept_once_nothing_is_asked(
    broker: Redis,
) -> None:
    one, other = workers(broker, 2)

    def out() -> int:
        return other.standing("m").in_flight

    for permit in "abc":
        assert taken(one, permit) is None
    for permit in "ab":
        one.give_back("m", permit, FREE, Came.ANSWERED)
    assert out() == 3
    assert taken(one, "d") is None
    assert out() == 2
    for permit in "cd":
        one.give_back("m", permit, FREE, Came.ANSWERED)
    assert out() == 0


@pytest.mark.parametrize("came", [Came.LIMITED, Came.FAILED, Came.DROPPED])
def test_what_others_must_know_takes_the_answers_before_it_along(broker: Redis, came: Came) -> None:
    one, other = workers(broker, 2)
    for permit in "abc":
        assert taken(one, permit) is None
    one.give_back("m", "a", FREE, Came.ANSWERED)
    one.give_back("m", "b", FREE, came)
    assert other.standing("m").in_flight == 1


def test_where_so_many_may_be_asked_at_once_each_answer_is_told_at_once(broker: Redis) -> None:
    one, other = workers(broker, 2)
    few = Allowance(in_flight=2)
    assert [taken(one, permit, few) for permit in "ab"] == [None, None]
    one.give_back("m", "a", few, Came.ANSWERED)
    assert taken(other, "c", few) is None


def test_a_probe_s_answer_is_told_at_once(broker: Redis) -> None:
    one, other = workers(broker, 2)
    assert taken(one, "slow") is None
    for n in range(FAILURES):
        assert taken(one, f"f{n}") is None
        one.give_back("m", f"f{n}", FREE, Came.FAILED)
    broker.hset(KEY + "m", "probe_at", 1)
    assert taken(one, "probe") is None
    one.give_back("m", "probe", FREE, Came.ANSWERED)
    assert taken(other, "x") is None


def test_a_dead_provider_is_probed_by_one_worker_while_the_others_stay_away(broker: Redis) -> None:
    limiters = workers(broker)
    for n in range(FAILURES):
        assert taken(limiters[n % 4], f"f{n}") is None
        limiters[n % 4].give_back("m", f"f{n}", Allowance(), Came.FAILED)
    assert {wait and wait.why for wait in (taken(one, "x") for one in limiters)} == {Why.BROKEN}
    broker.hset(KEY + "m", "probe_at", 1)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(taken, limiters, map(str, range(4))))
    assert [one is None for one in got].count(True) == 1
    limiters[0].give_back("m", str(got.index(None)), Allowance(), Came.ANSWERED)
    assert taken(limiters[1], "after") is None
    assert limiters[2].standing("m").state == "closed"


def test_without_redis_each_worker_goes_on_by_itself_and_keeps_to_the_settings() -> None:
    alone = SharedLimiter(connect("redis://127.0.0.1:1", connect_timeout=0.2))
    allowance = Allowance(in_flight=1)
    assert taken(alone, "a", allowance) is None
    waiting = taken(alone, "b", allowance)
    assert waiting
    assert waiting.why is Why.FULL
    alone.give_back("m", "a", allowance, Came.ANSWERED)
    assert taken(alone, "b", allowance) is None
    assert not alone.standing("m").is_shared
    assert list(alone.models()) == []


def test_redis_that_goes_and_comes_back_costs_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter_module, "AWAY_SECONDS", 0.0)
    port = any_free()
    limiter = SharedLimiter(connect(f"redis://127.0.0.1:{port}/0", connect_timeout=0.3))
    with valkey(tmp_path / "valkey", port=port):
        wait_for(lambda: limiter.standing("m").is_shared, "the server answers")
        assert taken(limiter, "a") is None
    limiter.give_back("m", "a", Allowance(), Came.ANSWERED)
    assert taken(limiter, "b") is None
    assert not limiter.standing("m").is_shared
    with valkey(tmp_path / "valkey", port=port):
        wait_for(lambda: limiter.standing("m").is_shared, "the server is back")
        assert taken(limiter, "c") is None
        assert limiter.standing("m").in_flight == 1


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubProvider]:
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    with StubProvider() as stub:
        yield stub


def judge(stub: StubProvider, broker: Redis, allowance: Allowance = FREE) -> ModelJudge:
    """One worker's judge, with a limiter of its own that shares Redis."""
    gateway = Gateway(SharedLimiter(broker), lambda _: allowance)
    return ModelJudge(Model(stub.model, api_base=stub.api_base, gateway=gateway), width=8)


def answers(judge: ModelJudge, numbers: range) -> list[bool]:
    asked = [judge.ask(Question(candidate(n), PROVED, Member())) for n in numbers]
    return [isinstance(one.result(), Judgement) for one in asked]


def test_two_workers_together_have_no_more_calls_on_their_way_than_is_allowed(
    provider: StubProvider, broker: Redis
) -> None:
    provider.behaviour.latency = 0.03
    allowance = Allowance(in_flight=3)
    both = [judge(provider, broker, allowance) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(answers, both, (range(10), range(10, 20))))
    assert all(map(all, found))
    assert provider.peak <= 3
    seen = SharedLimiter(broker).standing(gauge(provider.model, provider.api_base))
    assert (seen.in_flight, seen.state) == (0, "closed")


class Choosy(StubProvider):
    """Refuses a third of all questions, each once to three times, then answers them, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.times = Counter[int]()

    async def _reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked = crc32(str(body["messages"]).encode())
        self.times[asked] += 1
        if self.times[asked] <= meant(asked):
            return 429, {"error": {"message": "slow down", "type": "rate_limit_error"}}
        return await super()._reply(body)


def meant(asked: int) -> int:
    """How often a question is refused."""
    return max(0, asked % 9 - 5)


def test_a_third_refused_costs_no_answer(
    broker: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any text")
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))
    with Choosy() as provider:
        provider.behaviour.retry_after = "0.01"
        assert all(answers(judge(provider, broker, Allowance(per_minute=6000)), range(30)))
    refused = [meant(asked) for asked in provider.times]
    assert len(refused) == 30
    assert sum(map(bool, refused)) >= 6
    assert provider.times.total() == 30 + sum(refused)


def test_a_dead_provider_costs_a_few_calls_and_no_time(
    provider: StubProvider, broker: Redis
) -> None:
    provider.behaviour.status = 503
    began = time.monotonic()
    assert not any(answers(judge(provider, broker), range(40)))
    assert len(provider.requests) < 4 * FAILURES
    assert time.monotonic() - began < 8
    sent = len(provider.requests)
    assert not any(answers(judge(provider, broker), range(40)))
    assert len(provider.requests) - sent <= 1
