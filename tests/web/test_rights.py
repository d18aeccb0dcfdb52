"""Every route and who may use it: a route that is not in the table fails, so does a wrong right."""

from __future__ import annotations

import re
from http import HTTPStatus
from itertools import pairwise

import pytest

from tdsys.core.people import ROLES, Right, Role
from tdsys.web.app import SERVED
from tests.web.site import Answer, Site

# The least role; None: everybody, signed in or not. `GET /x` stands for /x.json, too.
WHO: dict[str, Role | None] = {
    "GET /": None,
    "GET /sign-in": None,
    "POST /sign-in": None,
    "POST /sign-out": None,
    "GET /sign-in/provider": None,
    "GET /sign-in/provider/back": None,
    "GET /account": Role.VIEWER,
    "POST /account/password": Role.VIEWER,
    "POST /account/tokens": Role.VIEWER,
    "POST /account/tokens/{number:int}/end": Role.VIEWER,
    "POST /account/connections": Role.VIEWER,
    "POST /account/connections/{number:int}/end": Role.VIEWER,
    "GET /people": Role.ADMIN,
    "POST /people": Role.ADMIN,
    "GET /people/{name}": Role.ADMIN,
    "POST /people/{name}/change": Role.ADMIN,
    "POST /people/{name}/password": Role.ADMIN,
    "POST /people/{name}/disable": Role.ADMIN,
    "POST /people/{name}/enable": Role.ADMIN,
    "POST /people/{name}/revoke": Role.ADMIN,
    "GET /reports": Role.VIEWER,
    "GET /reports/quality": Role.VIEWER,
    "GET /reports/coverage": Role.VIEWER,
    "GET /reports/mix": Role.VIEWER,
    "GET /reports/freshness": Role.VIEWER,
    "GET /examples": Role.VIEWER,
    "GET /examples/{id:int}": Role.VIEWER,
    "GET /operations": Role.VIEWER,
    "GET /operations/{id:int}": Role.VIEWER,
    "GET /imports": Role.VIEWER,
    "GET /imports/{id:uuid}": Role.VIEWER,
    "GET /imports/{id:uuid}/repair": Role.VIEWER,
    "GET /captures": Role.VIEWER,
    "GET /captures/batch": Role.VIEWER,
    "GET /batches": Role.VIEWER,
    "GET /batches/new": Role.OPERATOR,
    "GET /batches/{id:uuid}": Role.VIEWER,
    "GET /datasets": Role.VIEWER,
    "GET /datasets/{id:int}": Role.VIEWER,
    "GET /datasets/{id:int}/export/{format}": Role.VIEWER,
    "GET /runs": Role.VIEWER,
    "GET /runs/{id:uuid}": Role.VIEWER,
    "GET /effectiveness": Role.VIEWER,
    "POST /effectiveness/recommend": Role.OPERATOR,
    "POST /recommendations/{id:int}/apply": Role.OPERATOR,
    "POST /recommendations/{id:int}/revert": Role.OPERATOR,
    "POST /recommendations/{id:int}/cancel": Role.OPERATOR,
    "GET /programs/{id:int}/download": Role.VIEWER,
    "GET /programs/{id:int}/envelope": Role.VIEWER,
    "GET /alerts": Role.VIEWER,
    "POST /examples/{id:int}/move": Role.CURATOR,
    "POST /operations": Role.CURATOR,
    "POST /operations/{id:int}/confirm": Role.CURATOR,
    "POST /operations/{id:int}/discard": Role.CURATOR,
    "POST /operations/{id:int}/undo": Role.CURATOR,
    "POST /imports/file": Role.OPERATOR,
    "POST /batches": Role.OPERATOR,
    "POST /batches/{id:uuid}/cancel": Role.OPERATOR,
    "POST /batches/{id:uuid}/resume": Role.OPERATOR,
    "POST /runs/{id:uuid}/cancel": Role.OPERATOR,
    "POST /alerts/{id:int}/acknowledge": Role.OPERATOR,
    "POST /alerts/{id:int}/resolve": Role.OPERATOR,
    "POST /silences": Role.OPERATOR,
    "POST /silences/{id:int}/end": Role.OPERATOR,
    "GET /review": Role.REVIEWER,
    "POST /review/next": Role.REVIEWER,
    "POST /review/decide": Role.REVIEWER,
    "POST /review/undo": Role.REVIEWER,
    "POST /review/extend": Role.REVIEWER,
    "POST /review/draft": Role.REVIEWER,
    "POST /review/{id:int}/similar": Role.REVIEWER,
}
ORDER = list(Role)
VALUES = {"int": "999999", "uuid": "00000000-0000-0000-0000-000000000000"}
LONGEST_REFUSAL = 700  # characters
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def served() -> list[tuple[str, str, str]]:
    """Each entry of the table with its method and each of its paths."""
    return [(f"{one.method} {one.path}", one.method, path) for one in SERVED for path in one.paths]


def filled(path: str) -> str:
    """The path with values that nothing has."""
    return re.sub(r"\{\w+(?::(\w+))?\}", lambda found: VALUES.get(found[1], "nobody-such"), path)


def asked(site: Site, method: str, path: str, token: str) -> Answer:
    """As a machine asks, so that a refusal is a status and no redirect."""
    if method == "POST":
        return site.ask(filled(path), token=token, document={})
    return site.ask(filled(path), token=token, headers={"Accept": "application/json"})


def shows_nothing(site: Site, method: str, path: str, token: str) -> bool:
    """Whether a browser that is refused sees the error alone, not the page around the form."""
    form: dict[str, str] | None = {} if method == "POST" else None
    answer = site.ask(filled(path), token=token, form=form)
    told = answer.body if path.endswith(".json") else answer.body.partition("<main")[2]
    return answer.status == HTTPStatus.FORBIDDEN and len(told) < LONGEST_REFUSAL


def test_every_route_is_in_the_table_and_the_other_way_round() -> None:
    assert {name for name, _, _ in served()} == set(WHO)


def test_roles_are_steps() -> None:
    rights = [ROLES[role] for role in ORDER]
    assert all(less < more for less, more in pairwise(rights))
    assert rights[-1] == frozenset(Right)


@pytest.mark.parametrize(("name", "method", "path"), served(), ids=str)
def test_a_route_serves_whoever_may_and_refuses_everybody_else(
    site: Site, name: str, method: str, path: str
) -> None:
    least = WHO[name]
    if least is None:
        assert asked(site, method, path, "").status != HTTPStatus.UNAUTHORIZED
        return
    assert asked(site, method, path, "").status == HTTPStatus.UNAUTHORIZED
    for role in ORDER:
        status = asked(site, method, path, site.person(role)).status
        if ORDER.index(role) < ORDER.index(least):
            assert status == HTTPStatus.FORBIDDEN, role
            assert shows_nothing(site, method, path, site.person(role)), role
        else:
            assert status not in REFUSED, role
            assert status < HTTPStatus.INTERNAL_SERVER_ERROR, role


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(site: Site) -> None:
    answer = site.ask("/people?x=1&y=%2F")
    assert answer.status == HTTPStatus.SEE_OTHER
    assert answer.leads_to == "/sign-in?next=/people%3Fx%3D1%26y%3D%252F"
