"""What somebody is told of an alert, in each form."""

from __future__ import annotations

import base64
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tdsys.core.alerting import Severity
from tdsys.core.notices import (
    GIVEN_UP_AFTER,
    LONGEST_WAIT,
    News,
    Notice,
    document,
    is_wanted,
    is_worse,
    next_try,
    plain,
    secret_of,
    signature,
    slack,
    subject,
)
from tests.factories import NOW

FIRED = Notice(7, News.BEGAN, "parked", Severity.WARNING, "sums", "many", "31", "unpark", NOW)


def test_each_try_waits_longer_and_none_comes_after_a_day() -> None:
    waits = []
    now, attempts = NOW, 1
    while again := next_try(attempts, first_at=NOW, now=now):
        waits.append(again - now)
        now, attempts = again, attempts + 1
    assert waits[0] == timedelta(seconds=30)
    assert all(a <= b <= LONGEST_WAIT for a, b in pairwise(waits))
    assert GIVEN_UP_AFTER < now - NOW <= GIVEN_UP_AFTER + LONGEST_WAIT


@given(st.integers(1, 10**9))
def test_no_number_of_failures_is_too_many(attempts: int) -> None:
    assert next_try(attempts, first_at=NOW, now=NOW)


@given(st.text(), st.text(), st.sampled_from(News))
def test_no_text_from_outside_adds_a_line_or_speaks_to_anybody(
    title: str, detail: str, news: News
) -> None:
    notice = FIRED._replace(title=title, detail=detail, news=news)
    assert subject(notice).isprintable() or " " in subject(notice)
    assert "\n" not in subject(notice)
    assert len(plain(notice).splitlines()) <= 4
    assert "<" not in str(slack(notice)["text"])
    assert document(notice)["type"] == f"alert.{news}"


def test_what_is_over_needs_nothing_done() -> None:
    assert "What to do: unpark" in plain(FIRED)
    assert "What to do" not in plain(FIRED._replace(news=News.OVER))


def test_severities_have_an_order() -> None:
    assert is_wanted(Severity.CRITICAL, Severity.WARNING)
    assert not is_wanted(Severity.INFO, Severity.WARNING)
    assert is_worse(Severity.INFO, Severity.WARNING)
    assert not is_worse(Severity.WARNING, Severity.WARNING)


def test_the_signature_is_the_one_of_the_standards_own_example() -> None:
    """The example of standardwebhooks.com's reference libraries."""
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_base64_after_its_mark_and_itself_without() -> None:
    assert secret_of("whsec_" + base64.b64encode(b"abc").decode()) == b"abc"
    assert secret_of("a_b") == b"a_b"
