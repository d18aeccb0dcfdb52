"""`tdsys user` and `tdsys token`: who may sign in to the web application."""

from __future__ import annotations

import json
import sys

import click

from tdsys import runtime
from tdsys.cli.arguments import as_json, person
from tdsys.cli.printing import note, say, show_table
from tdsys.core.people import Role
from tdsys.stages import people, signing

TITLES = ("name", "role", "domains", "since", "state")
of_role = click.Choice([role.value for role in Role])
domain_option = click.option(
    "--domain", "domains", multiple=True, help="Only this one; may be given several times."
)


@click.group()
def user() -> None:
    """People who may sign in."""


@user.command()
@click.argument("name")
@click.option("--role", type=of_role, default=Role.VIEWER.value, show_default=True)
@domain_option
def create(name: str, role: str, domains: tuple[str, ...]) -> None:
    """Let somebody sign in; the password is asked for, or read from standard input."""
    here = runtime.current()
    people.create(
        here.store,
        here.passwords,
        name=name,
        password=_password(),
        role=role,
        domains=list(domains) or None,
        actor=person(),
        now=here.now(),
    )
    note(f"{name} may sign in as {role}")


@user.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """Show everybody."""
    found = people.listed(runtime.current().store)
    if as_json:
        say(json.dumps([one._asdict() for one in found], default=str))
        return
    show_table(
        TITLES,
        (
            (
                one.name,
                one.role,
                "all" if one.domains is None else ", ".join(one.domains),
                f"{one.created_at:%Y-%m-%d}",
                "disabled" if one.disabled_at else f"{one.sessions} sessions",
            )
            for one in found
        ),
    )


@user.command("set")
@click.argument("name")
@click.option("--role", type=of_role, help="Another role.")
@domain_option
@click.option("--all-domains", is_flag=True, help="No limit to domains any more.")
@click.option("--password", "with_password", is_flag=True, help="Ask for another password.")
@click.option("--enable", is_flag=True, help="Let them sign in again.")
def set_(
    name: str,
    role: str | None,
    domains: tuple[str, ...],
    *,
    all_domains: bool,
    with_password: bool,
    enable: bool,
) -> None:
    """Change what somebody may do; they have to sign in anew."""
    here, now = runtime.current(), runtime.current().now()
    found = people.person(here.store, name=name)
    if role or domains or all_domains:
        kept = None if found.domains is None or all_domains else sorted(found.domains)
        people.change(
            here.store,
            name=name,
            role=role or found.role,
            domains=list(domains) or kept,
            actor=person(),
            now=now,
        )
    if with_password:
        secret = _password()
        store, words = here.store, here.passwords
        people.set_password(store, words, name=name, password=secret, actor=person(), now=now)
    if enable:
        people.enable(here.store, name=name, actor=person(), now=now)
    note(f"{name} is changed")


@user.command()
@click.argument("name")
def disable(name: str) -> None:
    """Let somebody sign in no longer; what they decided stays theirs."""
    here = runtime.current()
    people.disable(here.store, name=name, actor=person(), now=here.now())
    note(f"{name} may sign in no longer")


@click.group()
def token() -> None:
    """API tokens."""


@token.command("create")
@click.argument("name")
@click.option("--for", "what", required=True, help="What will use it.")
@click.option("--role", type=of_role, default=Role.VIEWER.value, show_default=True)
@click.option("--days", type=int, default=90, show_default=True)
def create_token(name: str, what: str, role: str, days: int) -> None:
    """Print a token that speaks for NAME, this once."""
    here = runtime.current()
    made = signing.make_token(
        here.store,
        people.person(here.store, name=name),
        name=what,
        role=role,
        days=days,
        actor=person(),
        now=here.now(),
    )
    say(made)


def _password() -> str:
    """Asked for twice at a terminal, else the first line of standard input; never an argument."""
    if sys.stdin.isatty():
        return str(click.prompt("password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
