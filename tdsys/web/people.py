"""People administration, for admins."""

from __future__ import annotations

from typing import Any

from tdsys.core.people import DUTIES, Right, Role
from tdsys.stages import people
from tdsys.web.pages import Action, Done, Page
from tdsys.web.visit import Visit, missing


def everybody(visit: Visit) -> dict[str, Any]:
    """Who may sign in, and what happened to accounts lately."""
    return {
        "people": people.listed(visit.store),
        "record": people.record(visit.store),
        "duties": DUTIES,
    }


def somebody(visit: Visit) -> dict[str, Any]:
    """One account."""
    name = visit.path["name"]
    found = next((one for one in people.listed(visit.store) if one.name == name), None)
    if found is None:
        raise missing("person of that name")
    return {"account": found, "duties": DUTIES}


def create(visit: Visit) -> Done:
    """Somebody new."""
    name = visit.field("name")
    people.create(
        visit.store,
        visit.runtime.passwords,
        name=name,
        password=visit.field("password"),
        role=visit.field("role", Role.VIEWER),
        domains=_domains(visit),
        actor=visit.person.name,
        now=visit.now,
    )
    return Done("/people", f"{name} may sign in now")


def change(visit: Visit) -> Done:
    """Another role, other domains."""
    people.change(
        visit.store,
        name=visit.path["name"],
        role=visit.field("role"),
        domains=_domains(visit),
        actor=visit.person.name,
        now=visit.now,
    )
    return _back(visit, "changed; whoever it is has to sign in anew")


def set_password(visit: Visit) -> Done:
    """Another password for somebody."""
    people.set_password(
        visit.store,
        visit.runtime.passwords,
        name=visit.path["name"],
        password=visit.field("password"),
        actor=visit.person.name,
        now=visit.now,
    )
    return _back(visit, "the password is set")


def disable(visit: Visit) -> Done:
    """Let somebody sign in no longer."""
    people.disable(visit.store, name=visit.path["name"], actor=visit.person.name, now=visit.now)
    return _back(visit, "disabled and signed out")


def enable(visit: Visit) -> Done:
    """Let somebody sign in again."""
    people.enable(visit.store, name=visit.path["name"], actor=visit.person.name, now=visit.now)
    return _back(visit, "may sign in again")


def revoke(visit: Visit) -> Done:
    """Sign somebody out everywhere."""
    name, actor = visit.path["name"], visit.person.name
    ended = people.revoke(visit.store, name=name, actor=actor, now=visit.now)
    return _back(visit, f"{ended} sessions ended")


def _back(visit: Visit, says: str) -> Done:
    name = visit.path["name"]
    return Done(f"/people/{name}", f"{name}: {says}")


def _domains(visit: Visit) -> list[str] | None:
    """One a line; nothing: all."""
    lines = [line.strip() for text in visit.fields("domains") for line in text.splitlines()]
    return [line for line in lines if line] or None


LIST = Page("/people", Right.ADMINISTER, everybody, "people.html")
ONE = Page("/people/{name}", Right.ADMINISTER, somebody, "person.html")
ROUTES = (
    LIST,
    Action("/people", Right.ADMINISTER, create, again=LIST),
    ONE,
    Action("/people/{name}/change", Right.ADMINISTER, change, again=ONE),
    Action("/people/{name}/password", Right.ADMINISTER, set_password, again=ONE),
    Action("/people/{name}/disable", Right.ADMINISTER, disable, again=ONE),
    Action("/people/{name}/enable", Right.ADMINISTER, enable, again=ONE),
    Action("/people/{name}/revoke", Right.ADMINISTER, revoke, again=ONE),
)
