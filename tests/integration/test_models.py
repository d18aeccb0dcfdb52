"""`tdsys models`, the settings behind it, and the alert about a model that is away."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from redis import Redis

from tdsys import runtime
from tdsys.broker import connect
from tdsys.core.throttling import FAILURES, Allowance, Came, Standing
from tdsys.errors import ConfigurationError
from tdsys.limiter import KEY
from tdsys.settings import load
from tdsys.stages import outages
from tdsys.store import Store, alerts
from tests.commanding import Shell
from tests.factories import NOW

NAME = "openai/small"
TERMS = {NAME: {"calls_per_minute": 30, "in_flight": 4, "price_in": 0.25, "price_out": 2}}


@pytest.fixture
def broker(redis_url: str) -> Redis:
    broker = connect(redis_url)
    broker.flushdb()
    return broker


def test_what_limits_a_model_and_how_it_is_doing_is_shown(
    tdsys: Shell, process: pytest.MonkeyPatch, broker: Redis
) -> None:
    process.setenv("TDSYS_LM", NAME)
    process.setenv("TDSYS_JUDGE_LM", "offline")
    process.setenv("TDSYS_MODELS", json.dumps(TERMS))
    limiter = runtime.current().limiter
    for n in range(FAILURES + 1):
        assert limiter.take(NAME, str(n), Allowance()) is None
    for n in range(FAILURES):
        limiter.give_back(NAME, str(n), Allowance(), Came.FAILED)
    limiter.take("openai/other", "x", Allowance())
    ours, judge, other = tdsys("models", "--json").document
    assert (ours["model"], ours["roles"], ours["in_flight"]) == (NAME, ["program"], 1)
    terms = {**TERMS[NAME], "optimization_share": 0.5}
    assert (ours["breaker"], ours["shared"], ours["terms"]) == ("open", True, terms)
    assert (judge["roles"], judge["simulated"], judge["terms"]["price_in"]) == (["judge"], True, 0)
    assert (other["model"], other["roles"], other["rate_per_minute"]) == ("openai/other", [], None)
    shown = tdsys("models").out
    assert "open for 0 s, asked again in 5 s" in shown
    assert "unknown, unknown" in shown
    assert "1 of 4" in shown
    assert broker.ttl(KEY + NAME) > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("openai/small", "is no JSON"),
        ('{"m": {"calls_per_minute": 0}}', "greater than 0"),
        ('{"m": {"calls": 7}}', "m: calls"),
    ],
)
def test_a_mistake_in_the_terms_of_models_is_one_line(
    text: str, said: str, process: pytest.MonkeyPatch
) -> None:
    process.setenv("TDSYS_MODELS", text)
    with pytest.raises(ConfigurationError, match=said) as refused:
        load()
    assert "TDSYS_MODELS" in str(refused.value)


def test_a_breaker_that_stays_open_is_told_until_it_closes(store: Store) -> None:
    closed = Standing(None, 0, "closed", 0, 0, 0)
    away = closed._replace(state="open", broken_for=240)
    stumbled = closed._replace(state="open", broken_for=30)
    assert outages.tell(store, {NAME: away, "openai/other": stumbled}, now=NOW) == (1, 0)
    with store.begin() as tx:
        (alert,) = alerts.listed(tx)
    assert (alert.title, alert.severity, alert.domain) == (
        f"{NAME} does not answer", "critical", None
    )  # fmt: skip
    assert "4 minutes" in alert.detail
    assert outages.tell(store, {NAME: away}, now=NOW + timedelta(minutes=1)) == (0, 0)
    assert outages.tell(store, {NAME: closed}, now=NOW + timedelta(minutes=2)) == (0, 1)
