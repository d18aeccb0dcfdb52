"""Around everything: the headers of every answer, whose host is served, how long a body may be."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1 << 20
HERE = frozenset({"127.0.0.1", "localhost", "::1"})
# Formulas are laid out by style attributes, which run nothing.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "font-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
SECURE = {"strict-transport-security": "max-age=31536000"}


class TooLong(Exception):
    """The body went past what is taken."""


class Guard:
    """The application as browsers meet it; `uploads` are the paths that may be longer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str] | None,
        secure: bool,
        uploads: Collection[str] = (),
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._headers = {**HEADERS, **(SECURE if secure else {})}
        self._uploads = frozenset(uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request under the rules."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        given = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        if refused := self._refused(scope, given):
            await refused(scope, receive, marked)
            return
        limited = receive if scope["path"] in self._uploads else _limited(receive)
        await self._app(scope, limited, marked)

    def _refused(self, scope: Scope, given: dict[str, str]) -> PlainTextResponse | None:
        host = urlsplit(f"//{given.get('host', '')}").hostname
        if self._hosts is not None and host not in self._hosts:
            # or a page of elsewhere could have its own name point here (DNS rebinding)
            return PlainTextResponse("this server does not go by that name\n", 421)
        size = given.get("content-length", "0")
        if scope["path"] in self._uploads:
            return None
        if not size.isdecimal() or int(size) > LARGEST_BODY:
            return too_long()
        return None


def too_long() -> PlainTextResponse:
    """The answer to a body that is too long."""
    return PlainTextResponse(f"at most {LARGEST_BODY} bytes are taken here\n", 413)


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise TooLong
        return message

    return counted
