"""Groups of commands that are imported when they are asked for."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LateGroup(click.Group):
    """A group that also knows commands by where they are: `{"up": "stack.up"}`.

    More than half of a command's start used to be the import of all the others.
    """

    def __init__(self, *args: Any, late: Mapping[str, str], **more: Any) -> None:
        super().__init__(*args, **more)
        self._late = late

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the alphabet."""
        return sorted({*super().list_commands(ctx), *self._late})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None for a name that nobody has."""
        place = self._late.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(".")
        gc.disable()  # what is imported stays: to look for garbage in it takes an eighth of a start
        try:
            found: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        finally:
            gc.freeze()  # nor to look for it later, and in the end
            gc.enable()
        return found
