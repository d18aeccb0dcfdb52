"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from tdsys import runtime
from tdsys.core.example import check_domain
from tdsys.errors import InvalidInput

Command = TypeVar("Command", bound=Callable[..., Any])


def _named(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """The name of a domain, checked before a command does anything."""
    return None if name is None else check_domain(name)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
for_any_domain = click.option("--domain", required=True, callback=_named, help="The subject area.")


def for_domain(command: Command) -> Command:
    """A domain that is there; `for_any_domain` where it may be a new one."""
    return for_any_domain(_of_known(command))


def of_domain(command: Command, *, help_: str = "Only this subject area.") -> Command:
    """A domain that is there, or none."""
    return click.option("--domain", callback=_named, help=help_)(_of_known(command))


def _of_known(command: Command) -> Command:
    """The command, that a domain which is not there ends before it begins."""

    @wraps(command)
    def checked(*args: Any, domain: str | None, **given: Any) -> Any:
        if domain is not None:
            from tdsys.store import policies  # noqa: PLC0415  # `up` and `down` need no store

            with runtime.current().store.begin() as tx:
                policies.check(tx, domain=domain)
        return command(*args, domain=domain, **given)

    return checked  # type: ignore[return-value]


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
