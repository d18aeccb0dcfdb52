"""Pages, actions, downloads and uploads: declared by page modules, served alike here.

Their functions are plain and run in a thread; they get a `Visit`. A page's function returns the
content (a model, a named tuple or a mapping), or `Go`; the same content is served as HTML and, at
the path with `.json`, to machines. Errors of `tdsys.errors` become statuses with their sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tdsys.core.pacing import Pace, rate
from tdsys.core.people import Person, Right
from tdsys.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotReady,
    TdsysError,
    Transient,
)
from tdsys.runtime import Runtime
from tdsys.stages import pacing, signing
from tdsys.stages.pacing import TooSoon
from tdsys.stages.signing import Where
from tdsys.web import cookies
from tdsys.web.bodies import Given, read_form, read_pieces
from tdsys.web.cookies import Cookies
from tdsys.web.guard import TooLong
from tdsys.web.rendering import NAVIGATION, Destination, Here, document, fields, page
from tdsys.web.visit import NOBODY, Visit

SIGN_IN = "/sign-in"
SECRET_FIELDS = frozenset({"csrf", "password", "old", "new"})
STATUSES: dict[type[TdsysError], int] = {
    TooSoon: 429,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    NotReady: 409,
    InvalidInput: 400,
    Transient: 503,
}
_log = logging.getLogger(__name__)


class Go(NamedTuple):
    """Look elsewhere, on this server, which says `says`; `token` is the browser's new one."""

    then: str
    says: str = ""
    token: str | None = None


class Abroad(NamedTuple):
    """Look at an address of another server; `token` is what this browser has here."""

    address: str
    token: str


class Done(NamedTuple):
    """What an action returns: a form goes on to `then`, which says `says`; machines get `content`.

    With `show` a form gets the action's `again` page, with `content` as `made`, instead: for what
    may be shown this once only. `token` is the browser's new one, "" ends it.
    """

    then: str
    says: str = ""
    content: Mapping[str, Any] = {}
    show: bool = False
    token: str | None = None


class File(NamedTuple):
    """What a download returns."""

    name: str
    kind: str
    pieces: Iterable[bytes]


Content: TypeAlias = BaseModel | Mapping[str, Any] | tuple[Any, ...]


@dataclass(frozen=True)
class Page:
    """Something to look at; without `needs` everybody may, signed in or not."""

    path: str
    needs: Right | None
    view: Callable[[Visit], Content]
    template: str
    pace: Pace | None = None
    method = "GET"

    @property
    def json_path(self) -> str:
        """Where machines read it."""
        return f"{'/index' if self.path == '/' else self.path}.json"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is served."""
        return self.json_path, self.path


@dataclass(frozen=True)
class Passage:
    """Something that only leads on, here or elsewhere; what was wrong is told `again`."""

    path: str
    lead: Callable[[Visit], Go | Abroad]
    again: Page
    needs = None
    pace = None
    method = "GET"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is served."""
        return (self.path,)


@dataclass(frozen=True)
class Action:
    """Something to do by POST; a form that was wrong is shown `again` with what was typed."""

    path: str
    needs: Right | None
    act: Callable[[Visit], Done]
    again: Page | None = None
    pace: Pace = Pace.CHANGE
    method = "POST"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is served."""
        return (self.path,)


@dataclass(frozen=True)
class Download:
    """A file made while it is sent."""

    path: str
    needs: Right
    make: Callable[[Visit], File]
    pace = Pace.COSTLY
    method = "GET"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is served."""
        return (self.path,)


@dataclass(frozen=True)
class Upload:
    """The body of a POST as it comes, as long as it may be; the path has no variables."""

    path: str
    needs: Right
    take: Callable[[Visit], Done]
    pace = Pace.COSTLY
    method = "POST"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is served."""
        return (self.path,)


Served: TypeAlias = Page | Passage | Action | Download | Upload


@dataclass(frozen=True)
class Desk:
    """Serves what page modules declare, in one process."""

    runtime: Runtime
    cookies: Cookies
    taken: frozenset[str]  # paths that exist: the navigation leads to no other

    def routes(self, served: Iterable[Served]) -> list[Route]:
        """A route for each path; those of machines first, for `{name}` would swallow `.json`."""
        found = [
            Route(path, self._endpoint(one), methods=[one.method], name=path)
            for one in served
            for path in one.paths
        ]
        return sorted(found, key=lambda route: not route.path.endswith(".json"))

    def _endpoint(self, one: Served) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                given = await _read(request, one)
                return await run_in_threadpool(self._serve, request, one, given)
            except TooLong:
                wrong = InvalidInput("the request is too long", remedy="send less at once")
                return self.failed(request, wrong, status=413)
            except ClientDisconnect:
                return Response(status_code=499)
            except TdsysError as expected:
                return self.failed(request, expected)

        return answer

    def _serve(self, request: Request, one: Served, given: Given) -> Response:
        """Answer in a thread; whatever goes wrong is told without its trace."""
        person, visit = NOBODY, None
        try:
            person = self._person(request)
            visit = self._visit(request, person, given)
            if one.needs is not None:
                if person is NOBODY:
                    return self._not_signed_in(request)
                person.require(one.needs)
            self._keep_pace(one, visit)
            return self._answer(request, one, visit)
        except TdsysError as expected:
            again = _again_page(request, one, expected)
            if again and visit:
                return self._again(request, again, visit, mistake=expected)
            return self.failed(request, expected, person)
        except Exception:  # noqa: BLE001  # nobody may see its trace
            _log.exception("%s %s failed", request.method, request.scope["path"])
            broken = TdsysError(
                "something here is broken", remedy="the log of the server says what"
            )
            return self.failed(request, broken, person)

    def _keep_pace(self, one: Served, visit: Visit) -> None:
        """TooSoon for somebody who does more than one account may."""
        if one.pace is None or visit.person is NOBODY:
            return
        allowed = rate(one.pace, factor=self.runtime.settings.web_pace)
        if allowed:
            pacing.keep(
                visit.store, visit.person, pace=one.pace, rate=allowed,
                by_token=visit.by_token, now=visit.now,
            )  # fmt: skip

    def _answer(self, request: Request, one: Served, visit: Visit) -> Response:
        if isinstance(one, Page):
            return self._shown(request, one, visit)
        if isinstance(one, Passage):
            return self._led(one.lead(visit))
        if isinstance(one, Download):
            return _sent(one.make(visit))
        if not _bearer(request):
            carried = request.headers.get("x-csrf-token") or visit.field("csrf")
            cookies.require_our_page(request, token=visit.token, carried=carried)
        done = one.act(visit) if isinstance(one, Action) else one.take(visit)
        return self._done(request, one, visit, done)

    def _shown(self, request: Request, one: Page, visit: Visit) -> Response:
        content = one.view(visit)
        machine = for_machines(request)
        if isinstance(content, Go):
            return self._led(content)
        if machine:
            return document(content)
        return self._html(request, visit.person, one.template, fields(content))

    def _led(self, to: Go | Abroad) -> Response:
        there = to.address if isinstance(to, Abroad) else _local(to.then)
        response = RedirectResponse(there, 303)
        if isinstance(to, Go) and to.says:
            self.cookies.say(response, to.says)
        if to.token is not None:
            self.cookies.set(response, to.token)
        return response

    def _done(self, request: Request, one: Action | Upload, visit: Visit, done: Done) -> Response:
        if for_machines(request):
            told = {"done": done.says, "then": done.then, **done.content}
            response: Response = document(told)
        elif done.show and isinstance(one, Action) and one.again:
            return self._again(request, one.again, visit, made=done.content)
        else:
            response = self._led(Go(done.then, done.says))
        if done.token is not None:
            self.cookies.set(response, done.token or cookies.fresh())
        return response

    def _again(
        self,
        request: Request,
        one: Page,
        visit: Visit,
        *,
        mistake: TdsysError | None = None,
        made: Mapping[str, Any] | None = None,
    ) -> Response:
        status = status_of(mistake) if mistake else 200
        typed = {name: found[-1] for name, found in visit.form.items() if name not in SECRET_FIELDS}
        try:
            content = fields(one.view(visit))
        except TdsysError as worse:
            return self.failed(request, mistake or worse, visit.person)
        more = {"mistake": mistake, "typed": typed, "made": made}
        shown = {**content, **more}
        response = self._html(request, visit.person, one.template, shown, status=status)
        return _with_wait(response, mistake)

    def _html(
        self,
        request: Request,
        person: Person,
        template: str,
        content: Mapping[str, Any],
        *,
        status: int = 200,
    ) -> Response:
        token = self.cookies.token(request) or cookies.fresh()
        notice = self.cookies.notice_of(request)
        given = {"mistake": None, "typed": {}, "made": None, **content}
        here = self._here(request, person, token, notice)
        response = page(template, given, here, status=status)
        if token != self.cookies.token(request):
            self.cookies.set(response, token)
        self.cookies.said(request, response)
        return response

    def _here(self, request: Request, person: Person, token: str, notice: str) -> Here:
        return Here(
            person=person,
            form_token=cookies.form_token(token),
            path=request.scope["path"],
            query=dict(request.query_params),
            now=self.runtime.now(),
            navigation=self._navigation(person),
            notice=notice,
        )

    def _navigation(self, person: Person) -> tuple[Destination, ...]:
        return tuple(one for one in NAVIGATION if one.path in self.taken and person.may(one.needs))

    def failed(
        self,
        request: Request,
        wrong: TdsysError,
        person: Person = NOBODY,
        *,
        status: int | None = None,
    ) -> Response:
        """What went wrong, for people or machines."""
        code = status or status_of(wrong)
        told = {"error": type(wrong).__name__, "message": wrong.message, "remedy": wrong.remedy}
        if for_machines(request):
            response: Response = document(told, status=code)
        else:
            content = {"status": code, "title": _title(code), "wrong": wrong}
            response = self._html(request, person, "error.html", content, status=code)
        return _with_wait(response, wrong)

    def _not_signed_in(self, request: Request) -> Response:
        if for_machines(request):
            who = NotAllowed("nobody is signed in", remedy="sign in, or send an API token")
            response = self.failed(request, who, status=401)
            response.headers["www-authenticate"] = "Bearer"
            return response
        back = request.scope["path"] if request.method == "GET" else "/"
        words = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{SIGN_IN}?next={quote(back + words, safe='/')}", 303)

    def _person(self, request: Request) -> Person:
        store, now = self.runtime.store, self.runtime.now()
        if spoken := _bearer(request):
            return signing.who_speaks(store, token=spoken, now=now) or NOBODY
        token = self.cookies.token(request)
        return (signing.who(store, token=token, now=now) if token else None) or NOBODY

    def _visit(self, request: Request, person: Person, given: Given) -> Visit:
        address = request.client.host if request.client else ""
        return Visit(
            runtime=self.runtime,
            person=person,
            now=self.runtime.now(),
            where=Where(address, request.headers.get("user-agent", "")),
            token=self.cookies.token(request),
            path=request.path_params,
            query=dict(request.query_params),
            form=given.form,
            document=given.document,
            body=given.body,
            home=next((one.path for one in self._navigation(person)), "/account"),
            by_token=bool(_bearer(request)),
        )


def for_machines(request: Request) -> bool:
    """Whether JSON is wanted."""
    kinds = request.headers.get("accept", "") + request.headers.get("content-type", "")
    path: str = request.scope["path"]
    return path.endswith(".json") or bool(_bearer(request)) or "application/json" in kinds


def status_of(wrong: TdsysError) -> int:
    """The HTTP status of an error."""
    return next((code for kind, code in STATUSES.items() if isinstance(wrong, kind)), 500)


def _again_page(request: Request, one: Served, wrong: TdsysError) -> Page | None:
    """The page with the form that was wrong; whoever may not act may not see it either."""
    if not isinstance(one, Action | Passage) or isinstance(wrong, NotAllowed):
        return None
    if for_machines(request):
        return None
    return one.again


async def _read(request: Request, one: Served) -> Given:
    if isinstance(one, Upload):
        return read_pieces(request)
    return await read_form(request) if isinstance(one, Action) else Given()


def _bearer(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _sent(file: File) -> Response:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in file.name)
    headers = {"content-disposition": f'attachment; filename="{plain}"'}
    return StreamingResponse(iter(file.pieces), media_type=file.kind, headers=headers)


def _with_wait(response: Response, wrong: TdsysError | None) -> Response:
    if isinstance(wrong, TooSoon):
        response.headers["retry-after"] = str(wrong.wait)
    return response


def _local(path: str) -> str:
    r"""The path if it leads to this server, else its front page: `//elsewhere` and `/\` do not."""
    leads_here = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if leads_here else "/"


def _title(status: int) -> str:
    return HTTPStatus(status).phrase.capitalize()
