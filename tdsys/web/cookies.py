"""The one cookie: a random token, and what a form proves with that came from a page of ours."""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from tdsys.errors import NotAllowed
from tdsys.store.people import LONGEST

TOKEN = re.compile(r"[\w-]{43}", re.ASCII)
OURS = frozenset({"same-origin", "none"})
LONGEST_NOTICE = 300


class Cookies(NamedTuple):
    """How cookies are called and marked; `secure` when browsers come by https."""

    secure: bool = False

    @property
    def session(self) -> str:
        """`__Host-` makes browsers refuse one set by a neighbouring host or without https."""
        return "__Host-tdsys" if self.secure else "tdsys"

    @property
    def notice(self) -> str:
        """What the page after this one says."""
        return f"{self.session}-notice"

    def token(self, request: Request) -> str:
        """The token of this browser; empty when it has none of ours."""
        found = request.cookies.get(self.session, "")
        return found if TOKEN.fullmatch(found) else ""

    def set(self, response: Response, token: str) -> None:
        """Give the browser this token."""
        self._put(response, self.session, token, int(LONGEST.total_seconds()))

    def say(self, response: Response, notice: str) -> None:
        """Have the next page say this."""
        text = urlsafe_b64encode(notice[:LONGEST_NOTICE].encode()).decode()
        self._put(response, self.notice, text, 60)

    def said(self, request: Request, response: Response) -> None:
        """The notice was shown."""
        if self.notice in request.cookies:
            self._put(response, self.notice, "", 0)

    def notice_of(self, request: Request) -> str:
        """What this page shall say."""
        try:
            text = urlsafe_b64decode(request.cookies.get(self.notice, ""))
            return text.decode()[:LONGEST_NOTICE]
        except ValueError:
            return ""

    def _put(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )


def fresh() -> str:
    """A token nobody has."""
    return secrets.token_urlsafe(32)


def form_token(token: str) -> str:
    """What forms of this browser carry: it cannot be made without the cookie, nor tell it."""
    return hmac.new(token.encode(), b"form", sha256).hexdigest()


def require_our_page(request: Request, *, token: str, carried: str) -> None:
    """NotAllowed unless the request comes from a page this server gave to this browser."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    proved = bool(token) and hmac.compare_digest(
        form_token(token).encode(), carried.encode(errors="replace")
    )
    if site not in OURS or not proved:
        raise NotAllowed(
            "this was not sent from a page of this session",
            remedy="reload the page and send it again",
        )
