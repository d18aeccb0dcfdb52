"""`tdsys demo`: the whole loop with one command."""

from __future__ import annotations

from pathlib import Path

import click

from tdsys.cli.arguments import as_json


@click.command()
@click.option("--lm", help="A model such as openai/MODEL; the offline model without it.")
@click.option("--keep", is_flag=True, help="Leave the data in TDSYS_HOME for `tdsys up`.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write what is printed as an SVG picture.",
)
@as_json
def demo(*, lm: str | None, keep: bool, picture: Path | None, as_json: bool) -> None:
    """Run the whole loop on 300 generated and 200 imported problems."""
    from tdsys import demo as story  # noqa: PLC0415  # pulls the whole stack in

    story.run(lm=lm, keep=keep, picture=picture, as_json=as_json)
