"""What somebody is told of an alert, in the form each channel wants; who is told what, and when.

One rule: whoever receives a notice can tell it from every other by its number, because one may
come twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import JsonValue

from tdsys.core.alerting import Severity
from tdsys.core.printable import printable

# What began and ended and begins again within this time is told once, and later.
FLAPPING = timedelta(minutes=15)
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=10)
GIVEN_UP_AFTER = timedelta(days=1)
LONGEST_SILENCE = 90 * 24.0


class News(StrEnum):
    """What happened to an alert."""

    BEGAN = "began"
    WORSE = "worse"
    OVER = "over"


class Notice(NamedTuple):
    """One piece of news for one channel; `number` is the same however often it is sent."""

    number: int
    news: News
    rule: str
    severity: Severity
    domain: str | None
    title: str
    detail: str
    remedy: str
    since: datetime
    page: str = ""


class Undelivered(Exception):
    """A notice did not arrive; the text says why, without the address."""


class Channel(Protocol):
    """One place that notices go to."""

    def send(self, notice: Notice) -> None:
        """Hand a notice over; Undelivered when it did not arrive, as far as one can know."""


def told(bad: Exception) -> str:
    """Why a notice did not arrive; of an error nobody expected its kind, for its words may tell."""
    return str(bad) if isinstance(bad, Undelivered) else type(bad).__name__


_WORDS = {News.BEGAN: "", News.WORSE: "worse: ", News.OVER: "over: "}
_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


def is_wanted(severity: Severity, least: Severity) -> bool:
    """Whether an alert is as bad as a channel wants them."""
    return _RANKS[severity] >= _RANKS[least]


def is_worse(before: Severity, now: Severity) -> bool:
    """Whether an alert got worse."""
    return _RANKS[now] > _RANKS[before]


def next_try(attempts: int, *, first_at: datetime, now: datetime) -> datetime | None:
    """When to send again after so many failures; None once a day has passed."""
    if now - first_at > GIVEN_UP_AFTER:
        return None
    wait: timedelta = FIRST_WAIT * 2 ** min(attempts - 1, 10)
    return now + min(LONGEST_WAIT, wait)


def subject(one: Notice) -> str:
    """The notice in one line, without anything that could end the line."""
    return printable(f"[tdsys {one.severity}] {_WORDS[one.news]}{one.title}")


def plain(one: Notice) -> str:
    """The notice as text: what, how much, and what to do."""
    lines = [
        f"{_WORDS[one.news]}{one.title}",
        one.detail,
        "" if one.news is News.OVER else f"What to do: {one.remedy}",
        f"{one.severity}, rule {one.rule}, since {one.since:%Y-%m-%d %H:%M} UTC",
        one.page,
    ]
    return "\n".join(printable(line) for line in lines if line)


def slack(one: Notice) -> dict[str, JsonValue]:
    """The notice as Slack's incoming webhooks take it, and what is like them.

    Of its markup only what cannot be escaped is dropped: nobody is mentioned by an example's text.
    """
    text = plain(one).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    head, _, rest = text.partition("\n")
    return {"text": f"*{head.replace('*', '∗')}*\n{rest}"}


def document(one: Notice) -> dict[str, JsonValue]:
    """The notice as data, for a program."""
    return {
        "type": f"alert.{one.news}",
        "timestamp": one.since.isoformat(),
        "data": {
            "rule": one.rule,
            "severity": one.severity.value,
            "domain": one.domain,
            "title": one.title,
            "detail": one.detail,
            "remedy": one.remedy,
            "page": one.page,
        },
    }


def signature(secret: bytes, number: str, seconds: int, body: bytes) -> str:
    """The signature of a webhook's body, version 1 of standardwebhooks.com: HMAC-SHA256, base64."""
    signed = f"{number}.{seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def secret_of(text: str) -> bytes:
    """A webhook's secret: base64 after `whsec_`, as the standard writes it, or the text itself."""
    prefix, sep, coded = text.partition("_")
    return base64.b64decode(coded) if (prefix, sep) == ("whsec", "_") else text.encode()
