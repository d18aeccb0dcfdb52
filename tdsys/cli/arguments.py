"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import getpass
import os

import click

from tdsys.core.example import check_domain
from tdsys.errors import InvalidInput


def _named(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """The name of a domain, checked before a command does anything."""
    return None if name is None else check_domain(name)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
for_domain = click.option("--domain", required=True, callback=_named, help="The subject area.")
of_domain = click.option("--domain", callback=_named, help="Only this subject area.")


def pairs(given: tuple[str, ...], *, where: str, example: str) -> dict[str, str]:
    """`("a=b", ...)` as a mapping; InvalidInput for one that is none, or a name given twice."""
    found: dict[str, str] = {}
    for text in given:
        left, equals, right = text.partition("=")
        if not (equals and left and right):
            raise InvalidInput(
                f"{where} {text!r} is not NAME=VALUE", remedy=f"write for example {example}"
            )
        if left in found:
            raise InvalidInput(f"{where} names {left!r} twice", remedy="keep one of the two")
        found[left] = right
    return found


def person() -> str:
    """Who types: recorded with what they decide."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"
