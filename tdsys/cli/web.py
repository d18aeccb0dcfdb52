"""`tdsys web`: the curation web application."""

from __future__ import annotations

import click

from tdsys import runtime


@click.command()
@click.option("--host", help="Where to listen; TDSYS_WEB_HOST.")
@click.option("--port", type=click.IntRange(1, 65535), help="TDSYS_WEB_PORT.")
def web(host: str | None, port: int | None) -> None:
    """Serve the web application until Ctrl-C; `tdsys up` does it, too."""
    from tdsys.web import serving  # noqa: PLC0415  # no other command needs a web server

    here = runtime.current()
    wanted = host or here.settings.web_host
    serving.server(here, host=wanted, port=port or here.settings.web_port).run()
