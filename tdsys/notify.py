"""Where alerts go: a log, a mailbox, Slack and what is like it, anybody's webhook.

One rule: an address is a secret, so it is in no error and in no row; a channel has a name.
"""

from __future__ import annotations

import json
import logging
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import httpx

from tdsys.core.notices import (
    Channel,
    Notice,
    Undelivered,
    document,
    plain,
    secret_of,
    signature,
    slack,
    subject,
)
from tdsys.errors import ConfigurationError

TIMEOUT = 10.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
FORMS = "log:, mailto:PERSON@HOST, slack+https://..., https://..."

log = logging.getLogger("tdsys.alerts")


class Mail(NamedTuple):
    """The server that takes e-mail, `smtp://` or `smtps://` with any password, and the sender."""

    url: str | None
    sender: str | None


def channel(name: str, address: str, *, mail: Mail, secret: str | None) -> Channel:
    """The channel at an address; ConfigurationError for one that nobody understands."""
    kind, _, rest = address.partition(":")
    try:
        if kind == "log":
            return LogChannel()
        if kind == "mailto":
            return MailChannel(Address(addr_spec=unquote(rest)), mail)
        if kind in {"http", "https", "slack+http", "slack+https"}:
            url = str(httpx.URL(address.removeprefix("slack+")))
            if kind.startswith("slack"):
                return WebChannel(url, lambda notice: json.dumps(slack(notice)).encode(), None)
            key = None if secret is None else secret_of(secret)
            return WebChannel(url, lambda notice: json.dumps(document(notice)).encode(), key)
    except (ValueError, IndexError, MessageError, httpx.InvalidURL) as bad:
        raise ConfigurationError(
            f"the address of the alert channel {name} is not usable: {type(bad).__name__}",
            remedy=f"use one of {FORMS} in TDSYS_ALERT_CHANNELS; for mail see TDSYS_SMTP_URL, too",
        ) from None
    raise ConfigurationError(
        f"the alert channel {name} is of no known kind", remedy=f"use one of {FORMS}"
    )


class LogChannel:
    """The log of the worker that sends."""

    def send(self, notice: Notice) -> None:
        """Write one line."""
        log.warning("%s: %s", subject(notice), plain(notice).replace("\n", " | "))


class MailChannel:
    """One mailbox; a notice that is sent again has the same Message-ID."""

    def __init__(self, to: Address, mail: Mail) -> None:
        if not (mail.url and mail.sender):
            raise ConfigurationError(
                "an alert channel is a mailbox, but no server is known",
                remedy="set TDSYS_SMTP_URL and TDSYS_ALERT_FROM",
            )
        self._to, self._sender = to, Address(addr_spec=mail.sender)
        self._server = urlsplit(mail.url)
        self._port = self._server.port or 0
        if self._server.scheme not in {"smtp", "smtps"}:
            raise ValueError(self._server.scheme)

    def send(self, notice: Notice) -> None:
        """Hand it to the server."""
        message = EmailMessage()
        message["From"], message["To"] = self._sender, self._to
        message["Subject"] = subject(notice)
        message["Message-ID"] = f"<notice-{notice.number}@{self._sender.domain}>"
        message.set_content(plain(notice))
        try:
            with self._connected() as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as bad:
            raise Undelivered(_told(bad)) from None

    def _connected(self) -> smtplib.SMTP:
        host, port = self._server.hostname or "localhost", self._port
        safe = ssl.create_default_context()
        if self._server.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=safe)
        else:
            server = smtplib.SMTP(host, port, timeout=TIMEOUT)
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=safe)
            elif self._server.username and host not in LOOPBACK:
                raise Undelivered("its server offers no encryption, so it gets no password")
        if self._server.username:
            server.login(unquote(self._server.username), unquote(self._server.password or ""))
        return server


class WebChannel:
    """An address that takes POST; redirects are not followed, the answer is not read."""

    def __init__(self, url: str, body: Callable[[Notice], bytes], secret: bytes | None) -> None:
        self._url, self._body, self._secret = url, body, secret

    def send(self, notice: Notice) -> None:
        """Post it, signed as standardwebhooks.com says where there is a secret."""
        body = self._body(notice)
        number, seconds = f"notice-{notice.number}", int(time.time())
        headers = {"content-type": "application/json", "webhook-id": number,
                   "webhook-timestamp": str(seconds)}  # fmt: skip
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, number, seconds, body)
        try:
            with httpx.stream(
                "POST", self._url, content=body, headers=headers, timeout=TIMEOUT
            ) as answer:
                status = answer.status_code
        except httpx.HTTPError as bad:
            raise Undelivered(_told(bad)) from None
        if not 200 <= status < 300:  # noqa: PLR2004  # HTTP's success
            raise Undelivered(f"it answered {status}")


def _told(bad: Exception) -> str:
    """What went wrong; the words of an error may hold an address, its kind does not."""
    if isinstance(bad, socket.gaierror):
        return "its host is not known"
    code = getattr(bad, "smtp_code", None)
    return f"{type(bad).__name__}{f' {code}' if code else ''}"


def channels(addresses: Mapping[str, str], *, mail: Mail, secret: str | None) -> dict[str, Channel]:
    """Every channel by its name; the log where there is none."""
    return {
        name: channel(name, address, mail=mail, secret=secret)
        for name, address in (addresses or {"log": "log:"}).items()
    }
