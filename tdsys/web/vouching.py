"""Signing in by an identity provider: there, back, and what of it belongs to an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsys.core.people import Right
from tdsys.errors import NotAllowed, NotFound
from tdsys.stages import vouching
from tdsys.stages.vouching import Answer
from tdsys.web import cookies
from tdsys.web.pages import SIGN_IN, Abroad, Action, Done, Go, Passage
from tdsys.web.signing import ACCOUNT, FORM
from tdsys.web.visit import NOBODY, Visit

if TYPE_CHECKING:
    from tdsys.oidc import Provider

THERE = f"{SIGN_IN}/provider"
BACK = f"{THERE}/back"
CONNECTIONS = "/account/connections"


def leave(visit: Visit) -> Abroad:
    """Send this browser to the provider; it is known again by its cookie."""
    browser = visit.token or cookies.fresh()
    there = vouching.begin(
        visit.store,
        _provider(visit),
        back=_back(visit),
        browser=browser,
        where=visit.where,
        now=visit.now,
        next_=visit.text("next", "/"),
    )
    return Abroad(there, browser)


def arrive(visit: Visit) -> Go:
    """Let in whoever comes back with the provider's word."""
    said = (visit.query.get(name, "") for name in ("state", "code", "error", "iss"))
    provider = _provider(visit)
    found = vouching.finish(
        visit.store,
        provider,
        visit.runtime.provider_terms,
        answer=Answer(visit.token, *said),
        back=_back(visit),
        person=None if visit.person is NOBODY else visit.person,
        where=visit.where,
        now=visit.now,
    )
    says = "" if found.token else f"from now on {provider.registration.called} signs you in, too"
    return Go(found.next, says, found.token)


def connect(visit: Visit) -> Done:
    """Tie an identity to the own account: what leads there is shown, for a form may not lead away.

    By a form and not by a link, or any page could tie its own identity to somebody's account.
    """
    if visit.by_token:
        raise NotAllowed("an API token does not change how you sign in", remedy="sign in for it")
    there = vouching.begin(
        visit.store,
        _provider(visit),
        back=_back(visit),
        browser=visit.token,
        where=visit.where,
        now=visit.now,
        next_="/account",
        person=visit.person,
    )
    return Done("/account", content={"leads_to": there}, show=True)


def disconnect(visit: Visit) -> Done:
    """Let an identity sign in to the own account no longer."""
    number = visit.path["number"]
    vouching.disconnect(
        visit.store, visit.person, number=number, by_token=visit.by_token, now=visit.now
    )
    return Done("/account", "it does not sign you in any more")


def _provider(visit: Visit) -> Provider:
    found = visit.runtime.provider
    if found is None:
        raise NotFound("nobody else vouches for people here", remedy="sign in with a password")
    return found


def _back(visit: Visit) -> str:
    return f"{visit.runtime.settings.web_origin}{BACK}"


ROUTES = (
    Passage(THERE, leave, again=FORM),
    Passage(BACK, arrive, again=FORM),
    Action(CONNECTIONS, Right.LOOK, connect, again=ACCOUNT),
    Action(f"{CONNECTIONS}/{{number:int}}/end", Right.LOOK, disconnect, again=ACCOUNT),
)
