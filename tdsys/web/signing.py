"""Signing in and out, and the account of whoever is signed in."""

from __future__ import annotations

from typing import Any

from tdsys.core.pacing import Pace
from tdsys.core.people import DUTIES, ROLES, Right, Role
from tdsys.errors import NotAllowed
from tdsys.stages import signing, vouching
from tdsys.web.pages import SIGN_IN, Action, Done, Go, Page
from tdsys.web.visit import Visit


def front(visit: Visit) -> Go:
    """Where somebody begins: with what they may do."""
    return Go(visit.home if visit.person.id else SIGN_IN)


def ask(visit: Visit) -> dict[str, Any]:
    """The form to sign in with."""
    return {
        "next": visit.text("next") or visit.field("next", "/"),
        "provider": _provider(visit),
    }


def enter(visit: Visit) -> Done:
    """Sign in: whatever token the browser had, it gets another."""
    token = signing.sign_in(
        visit.store,
        visit.runtime.passwords,
        name=visit.field("name"),
        password=visit.field("password"),
        where=visit.where,
        now=visit.now,
    )
    return Done(visit.field("next", "/"), token=token)


def leave(visit: Visit) -> Done:
    """Sign out."""
    signing.sign_out(visit.store, token=visit.token, now=visit.now)
    return Done(SIGN_IN, "you are signed out", token="")


def account(visit: Visit) -> dict[str, Any]:
    """Who is signed in, what that person may do, and the tokens that speak for them."""
    mine = visit.person
    return {
        "name": mine.name,
        "role": mine.role,
        "duty": DUTIES[mine.role],
        "rights": sorted(mine.rights),
        "domains": None if mine.domains is None else sorted(mine.domains),
        "tokens": signing.tokens(visit.store, mine, now=visit.now),
        "roles": [role for role in Role if ROLES[role] <= mine.rights],
        "has_password": vouching.has_password(visit.store, mine),
        "provider": _provider(visit),
        "connections": vouching.connections(visit.store, mine),
    }


def _provider(visit: Visit) -> str | None:
    """What people call the provider that vouches for them, if one does."""
    found = visit.runtime.provider
    return found.registration.called if found else None


def change_password(visit: Visit) -> Done:
    """Another password; every other browser of this person is signed out."""
    token = signing.change_password(
        visit.store,
        visit.runtime.passwords,
        visit.person,
        old=visit.field("old"),
        new=visit.field("new"),
        where=visit.where,
        now=visit.now,
    )
    return Done("/account", "the password is changed; other browsers are signed out", token=token)


def make_token(visit: Visit) -> Done:
    """An API token, shown this once; not to another token, or a stolen one would never end."""
    if visit.by_token:
        raise NotAllowed(
            "an API token makes no other", remedy="sign in, and make it on your account's page"
        )
    made = signing.make_token(
        visit.store,
        visit.person,
        name=visit.field("name"),
        role=visit.field("role"),
        days=visit.field_number("days", most=signing.LONGEST_TOKEN_DAYS, least=1),
        actor=visit.person.name,
        now=visit.now,
    )
    return Done("/account", "the token is made", {"token": made}, show=True)


def end_token(visit: Visit) -> Done:
    """Let a token work no longer."""
    number = visit.path["number"]
    signing.end_token(visit.store, visit.person, token_id=number, now=visit.now)
    return Done("/account", f"token {number} works no longer")


FORM = Page(SIGN_IN, None, ask, "sign_in.html")
ACCOUNT = Page("/account", Right.LOOK, account, "account.html")
ROUTES = (
    Page("/", None, front, "error.html"),
    FORM,
    Action(SIGN_IN, None, enter, again=FORM),
    Action("/sign-out", None, leave),
    ACCOUNT,
    Action("/account/password", Right.LOOK, change_password, again=ACCOUNT, pace=Pace.COSTLY),
    Action("/account/tokens", Right.LOOK, make_token, again=ACCOUNT, pace=Pace.COSTLY),
    Action("/account/tokens/{number:int}/end", Right.LOOK, end_token),
)
