"""`tdsys policy`: the rules of a domain as a document: written, checked, compared, put in force."""

from __future__ import annotations

import json
from typing import Any

import click
from pydantic import JsonValue, ValidationError

from tdsys import runtime
from tdsys.cli.arguments import as_json, for_any_domain, for_domain, pairs, person
from tdsys.cli.printing import note, say, show_table
from tdsys.cli.source import CHUNK_BYTES, Source
from tdsys.core.compatibility import conflicts
from tdsys.core.mistakes import first_mistake
from tdsys.core.policy import Difference, Policy, differences
from tdsys.errors import InvalidInput, NotReady
from tdsys.parsing.policyfile import Refused, Written, policy_from, remedy_of, text_of
from tdsys.stages import policies as rules
from tdsys.stages.policies import Change
from tdsys.store import policies
from tdsys.store.policies import Version

HOW_TO = "edit it, then `tdsys policy apply FILE`; what is left out has its default"
a_file = click.argument("file", metavar="FILE")
dry = click.option("--dry-run", is_flag=True, help="Say what would change, change nothing.")


@click.group()
def policy() -> None:
    """The versioned rules of a domain."""


@policy.command()
@for_any_domain
def init(domain: str) -> None:
    """Print a first document for a domain: every field, its meaning and its default."""
    click.echo(text_of(domain, Policy(), heading=f"The rules of one domain: {HOW_TO}."), nl=False)


@policy.command()
@a_file
@as_json
def validate(file: str, *, as_json: bool) -> None:
    """Check a document, also against what DSPy can do; needs no server.

    FILE may be - for standard input. Every mistake is told with line and column; exit code 3.
    """
    found = _read(file, as_json=as_json)
    if as_json:
        say(json.dumps({"domain": found.domain, "valid": True, "mistakes": []}))
    else:
        say(f"{found.domain}: a policy that can be applied")


@policy.command()
@for_domain
@click.option("--version", "number", type=int, help="Another than the one in force.")
@as_json
def show(domain: str, number: int | None, *, as_json: bool) -> None:
    """Print the policy in force as a document that can be edited and applied."""
    found = rules.version(runtime.current().store, domain=domain, number=number)
    if as_json:
        told = {"domain": domain, **_origin(found), "policy": found.document}
        say(json.dumps(told))
        return
    where = f"{domain}, policy version {found.version}"
    held = rules.readable(found.document, where=where)
    heading = f"{where}, by {found.author}, {found.at:%Y-%m-%d %H:%M}: {HOW_TO}."
    click.echo(text_of(domain, held, heading=heading), nl=False)


@policy.command()
@a_file
@as_json
def diff(file: str, *, as_json: bool) -> None:
    """Show where a document differs from the policy in force."""
    found = _read(file, as_json=as_json)
    change = rules.compare(runtime.current().store, domain=found.domain, policy=found.policy)
    _told(change, as_json=as_json, done=False)


@policy.command()
@a_file
@dry
@as_json
def apply(file: str, *, dry_run: bool, as_json: bool) -> None:
    """Put a document in force as the next version of its domain.

    It holds for what comes after. A document that says what is in force already changes nothing.
    """
    found, here = _read(file, as_json=as_json), runtime.current()
    here.check_embedder(found.policy)
    change = rules.apply(
        here.store,
        domain=found.domain,
        policy=found.policy,
        author=person(),
        now=here.now(),
        dry_run=dry_run,
    )
    _told(change, as_json=as_json, done=not dry_run)


@policy.command()
@for_domain
@as_json
def history(domain: str, *, as_json: bool) -> None:
    """List every version: when, by whom, and what it changed."""
    with runtime.current().store.begin() as tx:
        found = policies.history(tx, domain=domain)
    before: list[dict[str, JsonValue]] = [one.document for one in found[1:]]
    changes = [differences(old, new.document) for old, new in zip(before, found, strict=False)]
    if as_json:
        told = zip(found, [*changes, []], strict=True)
        rows = [{**_origin(one), "changed": _fields(changed)} for one, changed in told]
        say(json.dumps({"domain": domain, "versions": rows}))
        return
    texts = [*("\n".join(map(_text, changed)) or "nothing" for changed in changes), "the first"]
    show_table(
        ("version", "at", "by", "changed"),
        [
            (str(one.version), f"{one.at:%Y-%m-%d %H:%M:%S}", one.author, text)
            for one, text in zip(found, texts, strict=True)
        ],
    )


@policy.command()
@for_domain
@click.option("--to", "number", type=int, required=True, help="The version to have again.")
@dry
@as_json
def rollback(domain: str, number: int, *, dry_run: bool, as_json: bool) -> None:
    """Put an earlier version in force again, as the next one: what was is never changed."""
    here = runtime.current()
    found = rules.version(here.store, domain=domain, number=number)
    held = rules.readable(found.document, where=f"{domain}, policy version {number}")
    change = rules.apply(
        here.store, domain=domain, policy=held, author=person(), now=here.now(), dry_run=dry_run
    )
    _told(change, as_json=as_json, done=not dry_run)


@policy.command("set")
@for_any_domain
@click.argument("fields", nargs=-1, required=True, metavar="FIELD=VALUE...")
def set_(domain: str, fields: tuple[str, ...]) -> None:
    """Put a next version in force: these fields changed, the others as they are.

    A VALUE is JSON (0.7, ["easy", "hard"], null), and text where it is none. Of a section one
    field: lifecycle.max_admitted=5000.
    """
    here = runtime.current()
    given = pairs(fields, where="the field", example="min_examples=80")
    with here.store.begin() as tx:
        known = policies.currents(tx, names=[domain])
    before = known[domain][1] if domain in known else Policy()
    after = changed(before, {name: _value(text) for name, text in given.items()})
    here.check_embedder(after)
    version = rules.put(here.store, domain=domain, policy=after, author=person(), now=here.now())
    new = "" if domain in known else ", a new domain,"
    say(f"{domain}{new} has policy version {version}")


def changed(before: Policy, fields: dict[str, JsonValue]) -> Policy:
    """The policy with these fields replaced; InvalidInput names the field and what is wrong."""
    try:
        after = Policy.model_validate(_with(before.model_dump(mode="json"), fields))
    except ValidationError as bad:
        where, what = first_mistake(bad)
        raise InvalidInput(
            f"policy {where or 'these fields together'}: {what}", remedy=remedy_of(bad.errors()[0])
        ) from None
    if clashes := conflicts(after):
        told = "; ".join(f"policy {one.field}: {one.message}" for one in clashes)
        raise InvalidInput(told, remedy=clashes[0].remedy)
    return after


def _with(document: dict[str, JsonValue], fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The document with these in the place of its own; `lifecycle.max_admitted` is in a section."""
    for path, value in fields.items():
        *sections, name = path.split(".")
        place = document
        for section in sections:
            inner = place.get(section)
            place[section] = place = dict(inner) if isinstance(inner, dict) else {}
        place[name] = value
    return document


def _read(file: str, *, as_json: bool) -> Written:
    """The document in a file; NotReady when it is refused, after every mistake was told."""
    source = Source(file)
    try:
        # A megabyte is more than a document may be; of what never ends no more is read.
        head = b"".join(source.head())
        return policy_from(
            head.decode("utf-8-sig", "replace" if len(head) == CHUNK_BYTES else "strict")
        )
    except UnicodeDecodeError as bad:
        raise InvalidInput(
            f"{source.name}: byte {bad.start + 1} is no UTF-8", remedy="save it as UTF-8"
        ) from None
    except Refused as refused:
        if as_json:
            mistakes = [one._asdict() for one in refused.mistakes]
            say(json.dumps({"valid": False, "mistakes": mistakes}))
        else:
            for one in refused.mistakes:
                where = f"{source.name}:{one.line}:{one.column}"
                field = f" {one.field}:" if one.field else ""
                say(f"{where}:{field} {one.message} — {one.remedy}")
        count = len(refused.mistakes)
        raise NotReady(
            f"{source.name} is refused for {count} mistake{'s' * (count != 1)}",
            remedy="mend it and try again",
        ) from None


def _told(change: Change, *, as_json: bool, done: bool) -> None:
    changes = bool(change.differences or change.made)
    if as_json:
        told: dict[str, Any] = {
            "domain": change.domain,
            "version": change.version,
            "new_domain": change.made,
        }
        told |= {"applied": done and changes, "changed": _fields(change.differences)}
        say(json.dumps({**told, "warnings": [one._asdict() for one in change.warnings]}))
        return
    for warning in change.warnings:
        note(f"{warning.field}: {warning.message} — {warning.remedy}")
    for one in change.differences:
        say(_text(one))
    name = f"{change.domain}, a new domain," if change.made else change.domain
    if not changes:
        say(f"{name} has this policy already, as version {change.version}")
    elif done:
        say(f"{name} has policy version {change.version}")
    else:
        say(f"{name} would have policy version {change.next}")


def _origin(one: Version) -> dict[str, Any]:
    return {"version": one.version, "author": one.author, "at": one.at.isoformat()}


def _fields(found: list[Difference]) -> list[dict[str, JsonValue]]:
    return [one._asdict() for one in found]


def _text(one: Difference) -> str:
    return f"{one.field}: {json.dumps(one.before)} -> {json.dumps(one.after)}"


def _value(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found
