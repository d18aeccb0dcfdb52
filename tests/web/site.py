"""The web application on a real port, and people who are signed in to it."""

from __future__ import annotations

import json
import secrets
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from pydantic import SecretStr

from tdsys.core.people import Role
from tdsys.embedded.ports import any_free
from tdsys.runtime import Runtime
from tdsys.settings import Settings
from tdsys.stages.passwords import Passwords
from tdsys.store import Store, people
from tdsys.web.app import SERVED, application
from tdsys.web.cookies import form_token
from tdsys.web.pages import Served
from tdsys.web.rendering import STATIC
from tests.processes import wait_for

PASSWORD = "four plain words here"
LONGEST_ANSWER = 20  # seconds


@cache
def passwords() -> Passwords:
    return Passwords()


@cache
def password_hash() -> str:
    return passwords().hash(PASSWORD)


class Answer(NamedTuple):
    """What came back, without following where it leads."""

    status: int
    headers: Message
    body: str

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def leads_to(self) -> str:
        return self.headers.get("location", "")

    @property
    def cookies(self) -> dict[str, str]:
        """Each cookie that is set, with its marks."""
        set_ = self.headers.get_all("set-cookie") or []
        return {one.partition("=")[0]: one for one in set_}


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))


class Site:
    """A running application; `clock` moves its time."""

    def __init__(self, url: str, store: Store) -> None:
        self.url, self.store = url, store

    def ask(
        self,
        path: str,
        *,
        token: str = "",
        form: Mapping[str, str] | None = None,
        document: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        proof: bool = True,
        method: str = "",
    ) -> Answer:
        """One request; a form or document is posted with the token a page would give."""
        sent = dict(headers or {})
        if token:
            sent["Cookie"] = f"tdsys={token}"
        if form is not None:
            fields = {**({"csrf": form_token(token)} if proof and token else {}), **form}
            body = urllib.parse.urlencode(fields).encode()
        elif document is not None:
            body = json.dumps(document).encode()
            sent |= {"Content-Type": "application/json"}
            if proof and token:
                sent["X-CSRF-Token"] = form_token(token)
        request = urllib.request.Request(self.url + path, data=body, headers=sent)
        request.method = method or ("GET" if body is None else "POST")
        try:
            with _opener.open(request, timeout=LONGEST_ANSWER) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, refused.headers, refused.read().decode())

    def person(
        self, role: Role = Role.REVIEWER, *, name: str = "", domains: Iterable[str] | None = None
    ) -> str:
        """Make somebody (once) who is signed in; the token of their session."""
        name = name or str(role)
        token = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        with self.store.begin() as tx:
            known = people.credentials(tx, name=name)
            user_id = known.id if known else people.create(
                tx, name=name, password=password_hash(), role=role,
                domains=None if domains is None else list(domains), actor="test", now=now,
            )  # fmt: skip
            people.open_session(tx, user_id=user_id, token=token, address="", browser="", now=now)
        return token


class Clock:
    """How far the application's time is ahead, of now or of a moment at which it stands still."""

    def __init__(self, *, stands_at: datetime | None = None) -> None:
        self.ahead, self.stands_at = timedelta(), stands_at


class TestedRuntime(Runtime):
    """The runtime with a clock a test can move, and passwords hashed by one hasher."""

    __test__ = False

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings)
        self._clock = clock
        self.__dict__["passwords"] = passwords()

    def now(self) -> datetime:
        return (self._clock.stands_at or super().now()) + self._clock.ahead


@contextmanager
def served(
    database_url: str,
    *,
    clock: Clock | None = None,
    pages: Iterable[Served] = SERVED,
    files: Path = STATIC,
    redis_url: str = "",
    **settings: Any,
) -> Iterator[str]:
    """The application on a port of its own, in a thread; its address."""
    port = any_free()
    if "oidc_issuer" in settings:
        settings["web_origin"] = f"http://127.0.0.1:{port}"
    runtime = TestedRuntime(
        Settings(
            database_url=SecretStr(database_url),
            redis_url=SecretStr(redis_url) if redis_url else None,
            **settings,
        ),
        clock or Clock(),
    )
    app = application(runtime, served=pages, files=files)
    config = uvicorn.Config(
        app, port=port, lifespan="off", log_level="warning", access_log=False,
        server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, "the site is served")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        runtime.close()
