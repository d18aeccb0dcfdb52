"""`tdsys up`, `down`, `status` and `db`: what runs on this machine."""

from __future__ import annotations

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json
from tdsys.cli.printing import say


@click.command()
@click.option("--detach", is_flag=True, help="Return when everything runs.")
@click.option("--no-flower", is_flag=True, help="Without the task monitor.")
@as_json
def up(*, detach: bool, no_flower: bool, as_json: bool) -> None:
    """Start the servers, the workers, beat, the web application and Flower."""
    from tdsys.embedded import terminal  # noqa: PLC0415  # only `up` needs the wheels

    runtime.current().check_settings()
    terminal.up(
        runtime.current().settings.home, detach=detach, as_json=as_json, with_flower=not no_flower
    )


@click.command()
def down() -> None:
    """Stop what `up` started; nothing is lost."""
    from tdsys.embedded import terminal  # noqa: PLC0415

    terminal.down(runtime.current().settings.home)


@click.command()
@as_json
def status(*, as_json: bool) -> None:
    """Show the processes and their addresses."""
    from tdsys.embedded import terminal  # noqa: PLC0415

    terminal.status(runtime.current().settings.home, as_json=as_json)


@click.group()
def db() -> None:
    """The database schema."""


@db.command()
def upgrade() -> None:
    """Bring the database schema to this program's version."""
    runtime.current().store.upgrade()
    say("the database schema is up to date")
