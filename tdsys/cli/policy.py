"""`tdsys policy`: the rules of a domain, shown and replaced by a next version."""

from __future__ import annotations

import json

import click
from pydantic import JsonValue, ValidationError

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_domain, pairs, person
from tdsys.cli.printing import say, show_table
from tdsys.core.policy import Policy
from tdsys.errors import InvalidInput
from tdsys.stages import policies as rules
from tdsys.store import policies


@click.group()
def policy() -> None:
    """The versioned rules of a domain."""


@policy.command()
@for_domain
@as_json
def show(domain: str, *, as_json: bool) -> None:
    """Show the policy in force."""
    with runtime.current().store.begin() as tx:
        version, found = policies.current(tx, domain=domain)
    document = found.model_dump(mode="json")
    if as_json:
        say(json.dumps({"domain": domain, "version": version, "policy": document}))
        return
    say(f"{domain}, policy version {version}")
    show_table(("field", "value"), [(name, _text(value)) for name, value in document.items()])


@policy.command("set")
@for_domain
@click.argument("fields", nargs=-1, required=True, metavar="FIELD=VALUE...")
def set_(domain: str, fields: tuple[str, ...]) -> None:
    """Put a next version in force: these fields changed, the others as they are.

    A VALUE is JSON (0.7, ["easy", "hard"], null), and text where it is none.
    """
    here = runtime.current()
    given = pairs(fields, where="the field", example="min_examples=80")
    with here.store.begin() as tx:
        known = policies.currents(tx, names=[domain])
    before = known[domain][1] if domain in known else Policy()
    after = changed(before, {name: _value(text) for name, text in given.items()})
    version = rules.put(here.store, domain=domain, policy=after, author=person(), now=here.now())
    new = "" if domain in known else ", a new domain,"
    say(f"{domain}{new} has policy version {version}")


def changed(before: Policy, fields: dict[str, JsonValue]) -> Policy:
    """The policy with these fields replaced; InvalidInput names the field and what is wrong."""
    try:
        return Policy.model_validate({**before.model_dump(mode="json"), **fields})
    except ValidationError as bad:
        first = bad.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "these fields together"
        raise InvalidInput(
            f"policy {where}: {first['msg']}",
            remedy=f"the fields are {', '.join(Policy.model_fields)}",
        ) from None


def _value(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
