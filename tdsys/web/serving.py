"""uvicorn, as this application wants it."""

from __future__ import annotations

import uvicorn

from tdsys.runtime import Runtime
from tdsys.web.app import application

SAID_WHEN_READY = "Uvicorn running on"
LEAVE_WITHIN = 5  # seconds for requests under way


def server(runtime: Runtime, *, host: str, port: int) -> uvicorn.Server:
    """A server that is ready to run; nothing of a request is logged, addresses hold searches."""
    proxy = runtime.settings.web_proxy
    return uvicorn.Server(
        uvicorn.Config(
            application(runtime, host=host),
            host=host,
            port=port,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxy),
            forwarded_allow_ips=proxy or "",
            timeout_graceful_shutdown=LEAVE_WITHIN,
            lifespan="off",
        )
    )
