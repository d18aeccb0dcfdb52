"""The curation web application: page modules put together, served by uvicorn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from tdsys.errors import InvalidInput, NotFound, TdsysError
from tdsys.runtime import Runtime
from tdsys.web import browse, people, reviewing, signing, vouching
from tdsys.web.cookies import Cookies
from tdsys.web.guard import HERE, Guard
from tdsys.web.pages import Desk, Served, Upload
from tdsys.web.rendering import STATIC

# Page modules; each has ROUTES.
SERVED: tuple[Served, ...] = (
    *signing.ROUTES,
    *vouching.ROUTES,
    *people.ROUTES,
    *browse.ROUTES,
    *reviewing.ROUTES,
)
KEPT = "public, max-age=86400"


class Files(StaticFiles):
    """Our own files: addresses change with their content, so browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One of them."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = KEPT
        return response


def application(
    runtime: Runtime,
    *,
    served: Iterable[Served] = SERVED,
    files: Path = STATIC,
    host: str = "127.0.0.1",
) -> ASGIApp:
    """The whole application; `host` is where it listens. ConfigurationError."""
    runtime.check_provider()
    known = tuple(served)
    origin = urlsplit(runtime.settings.web_origin or "")
    secure = origin.scheme == "https"
    taken = frozenset(path for one in known for path in one.paths)
    desk = Desk(runtime, Cookies(secure), taken)
    app = Starlette(
        routes=[
            Route("/livez", lives),
            Route("/readyz", ready(runtime)),
            *desk.routes(known),
            Mount("/static", Files(directory=files)),
        ],
        exception_handlers={HTTPException: _unserved(desk)},
    )
    # or "/x/" would be sent on by a Location that carries whatever Host the browser named
    app.router.redirect_slashes = False
    uploads = [one.path for one in known if isinstance(one, Upload)]
    return Guard(app, hosts=_hosts(origin.hostname, host), secure=secure, uploads=uploads)


def _hosts(origin: str | None, host: str) -> frozenset[str] | None:
    """The names this server goes by; None: any, for it listens to a network and was told none."""
    if origin:
        return HERE | {origin}
    return HERE if host in HERE else None


def _unserved(desk: Desk) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, wrong: Exception) -> Response:
        assert isinstance(wrong, HTTPException)  # noqa: S101  # it is registered for these
        told: TdsysError
        if wrong.status_code == 404:  # noqa: PLR2004
            told = NotFound("there is no such page", remedy="go back, or begin at the front page")
        else:
            told = InvalidInput(wrong.detail, remedy="go back, or begin at the front page")
        return desk.failed(request, told, status=wrong.status_code)

    return answer


async def lives(_request: Request) -> Response:
    """Whether this process answers."""
    return JSONResponse({"lives": True})


def ready(runtime: Runtime) -> Callable[[Request], Awaitable[Response]]:
    """Whether it can work: Postgres is there, with this program's schema."""

    async def answer(_request: Request) -> Response:
        try:
            await run_in_threadpool(runtime.store.check_schema)
        except TdsysError as wrong:
            told = {"ready": False, "error": type(wrong).__name__, "remedy": wrong.remedy}
            return JSONResponse(told, 503)
        return JSONResponse({"ready": True})

    return answer
