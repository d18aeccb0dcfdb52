"""Signing in by an identity provider: whom it lets in, and each way in which it must not."""

from __future__ import annotations

import html
import json
import sys
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from playwright.sync_api import expect
from pydantic import SecretStr

from tdsys.core.people import Role
from tdsys.errors import ConfigurationError
from tdsys.runtime import Runtime
from tdsys.settings import Settings
from tdsys.store import Store, people
from tests.stored import count
from tests.web.accessibility import assert_accessible
from tests.web.conftest import InBrowser
from tests.web.identity_provider import CLIENT, SECRET, Claims, IdentityProvider, provided
from tests.web.site import PASSWORD, Answer, Clock, Site, _opener, served

FRESH = "b" * 43
ROLES = {
    "staff": "viewer",
    "readers": {"role": "reviewer", "domains": ["algebra"]},
    "checkers": {"role": "reviewer", "domains": ["geometry"]},
}
ANN: Claims = {"sub": "0001", "preferred_username": "Ann", "email": "ann@example.org"}


@pytest.fixture(scope="module")
def listening() -> Iterator[IdentityProvider]:
    with provided() as found:
        yield found


@pytest.fixture(scope="module")
def addresses(database_url: str, listening: IdentityProvider) -> Iterator[dict[str, str]]:
    """The application three times: by what a first sign-in makes."""
    found: dict[str, str] = {}
    made = []
    for first in ("viewer", "mapped", "refused"):
        given = served(
            database_url, clock=CLOCK, oidc_issuer=listening.issuer, oidc_client_id=CLIENT,
            oidc_client_secret=SecretStr(SECRET), oidc_name="Acme", oidc_first=first,
            oidc_roles=json.dumps(ROLES), oidc_claim="realm_access.roles",
        )  # fmt: skip
        found[first] = given.__enter__()
        made.append(given)
    yield found
    for given in made:
        given.__exit__(None, None, None)


CLOCK = Clock()


@pytest.fixture
def provider(listening: IdentityProvider) -> IdentityProvider:
    """As it is when nothing is wrong."""
    clean = IdentityProvider(listening.issuer)
    listening.__dict__.update(clean.__dict__)
    listening.people = {"ann": dict(ANN)}
    return listening


@pytest.fixture
def sites(
    addresses: dict[str, str], provider: IdentityProvider, database_url: str
) -> Iterator[Callable[[str], Site]]:
    store = Store(database_url)
    with store.begin() as tx:
        tx.exec_driver_sql("TRUNCATE users, paces CASCADE")
    # its keys are others than those that are kept from the test before
    CLOCK.ahead += timedelta(seconds=10)
    provider.ahead = CLOCK.ahead.total_seconds()

    def of(first: str) -> Site:
        provider.back = f"{addresses[first]}/sign-in/provider/back"
        return Site(addresses[first], store)

    yield of
    store.close()


@pytest.fixture
def site(sites: Callable[[str], Site]) -> Site:
    return sites("viewer")


def leaves(site: Site, *, token: str = FRESH, next_: str = "/account") -> str:
    """Where the button leads."""
    words = urllib.parse.urlencode({"next": next_})
    return site.ask(f"/sign-in/provider?{words}", token=token).leads_to


def comes_back(site: Site, there: str, login: str = "ann") -> str:
    """Where the provider sends somebody who signed in there: a path of the site."""
    with pytest.raises(urllib.error.HTTPError) as sent:
        _opener.open(f"{there}&login={login}", timeout=10)
    with sent.value as answer:
        return answer.headers["location"].removeprefix(site.url)


def later(provider: IdentityProvider, **by: float) -> None:
    """Both clocks go on."""
    CLOCK.ahead += timedelta(**by)
    provider.ahead = CLOCK.ahead.total_seconds()


def signs_in(site: Site, login: str = "ann", *, token: str = FRESH, **how: Any) -> Answer:
    return site.ask(comes_back(site, leaves(site, token=token, **how), login), token=token)


def session(answer: Answer) -> str:
    return answer.cookies["tdsys"].partition("=")[2].partition(";")[0]


def test_somebody_signs_in_by_the_provider_and_out(site: Site, in_browser: InBrowser) -> None:
    page = in_browser().new_page()
    page.goto(site.url + "/account")
    assert_accessible(page)
    page.get_by_role("link", name="Sign in with Acme").click()
    page.get_by_role("link", name="I am ann").click()
    page.wait_for_url("**/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("ann")
    expect(page.locator("main")).to_contain_text("Acme signs you in")
    assert_accessible(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("you are signed out")
    page.goto(site.url + "/account")
    assert "/sign-in" in page.url


def test_a_first_sign_in_makes_a_viewer_and_a_second_finds_the_same(site: Site) -> None:
    first, second = (session(signs_in(site)) for _ in range(2))
    told = [site.ask("/account.json", token=token).document for token in (first, second)]
    assert [(one["name"], one["role"], one["has_password"]) for one in told] == [
        ("ann", "viewer", False)
    ] * 2
    assert len({FRESH, first, second}) == 3, "the browser's token is another after signing in"
    with site.store.begin() as tx:
        assert count(tx, "users") == count(tx, "identities") == 1
        events = [(one.event, one.actor) for one in people.happened(tx, limit=9)][-2:]
    assert ("created", site_issuer(site)) in events


def site_issuer(site: Site) -> str:
    with site.store.begin() as tx:
        return str(tx.exec_driver_sql("SELECT issuer FROM identities LIMIT 1").scalar_one())


def test_neither_a_name_nor_an_address_finds_an_account_that_is_there(
    site: Site, provider: IdentityProvider
) -> None:
    site.person(Role.ADMIN, name="ann")
    site.person(Role.ADMIN, name="ann@example.org")
    told = site.ask("/account.json", token=session(signs_in(site))).document
    assert (told["name"], told["role"]) == ("ann-2", "viewer")
    provider.people["ann"] = {"sub": "0002", "email": "ANN@example.org"}
    told = site.ask("/account.json", token=session(signs_in(site))).document
    assert (told["name"], told["role"]) == ("ann@example.org-2", "viewer")


def test_without_a_password_no_password_signs_in(site: Site) -> None:
    signs_in(site)
    for password in ("", "None", PASSWORD):
        form = {"name": "ann", "password": password}
        assert site.ask("/sign-in", token=FRESH, form=form).status == 400


def test_where_first_sign_ins_are_refused_nobody_new_comes_in(
    sites: Callable[[str], Site],
) -> None:
    site = sites("refused")
    answer = signs_in(site)
    assert answer.status == 400
    assert "has no account here" in answer.body
    with site.store.begin() as tx:
        assert count(tx, "users") == 0


@pytest.mark.parametrize(
    ("groups", "role", "domains"),
    [
        (["staff"], "viewer", None),
        (["staff", "readers"], "reviewer", ["algebra"]),
        (["readers", "checkers", "others"], "reviewer", ["algebra", "geometry"]),
    ],
)
def test_a_claim_says_role_and_domains(
    sites: Callable[[str], Site],
    provider: IdentityProvider,
    groups: list[str],
    role: str,
    domains: list[str] | None,
) -> None:
    site = sites("mapped")
    provider.people["ann"]["realm_access"] = {"roles": groups}
    told = site.ask("/account.json", token=session(signs_in(site))).document
    assert (told["role"], told["domains"]) == (role, domains)


def test_who_loses_the_groups_loses_the_role_and_who_has_none_is_refused(
    sites: Callable[[str], Site], provider: IdentityProvider
) -> None:
    site = sites("mapped")
    provider.people["ann"]["realm_access"] = {"roles": ["readers"]}
    before = session(signs_in(site))
    provider.people["ann"]["realm_access"] = {"roles": ["staff"]}
    told = site.ask("/account.json", token=session(signs_in(site))).document
    assert told["role"] == "viewer"
    assert site.ask("/account.json", token=before).status == 401, "with another role, anew"
    now = session(signs_in(site))
    provider.people["ann"]["realm_access"] = {"roles": "no list"}
    assert signs_in(site).status == 400
    assert site.ask("/account.json", token=now).status == 401, "what was open has ended"


def test_a_disabled_account_stays_out(site: Site) -> None:
    token = session(signs_in(site))
    with site.store.begin() as tx:
        user = people.named(tx, name="ann").id
        people.create(tx, name="boss", password="x", role=Role.ADMIN, domains=None, actor="t",
                      now=present())  # fmt: skip
        people.disable(tx, user_id=user, actor="t", now=present())
    assert site.ask("/account.json", token=token).status == 401
    answer = signs_in(site)
    assert answer.status == 400
    assert "disabled" in answer.body


def present() -> datetime:
    return datetime.now(UTC) + CLOCK.ahead


def without(*names: str) -> Callable[[Claims], Claims]:
    return lambda claims: {name: value for name, value in claims.items() if name not in names}


def but(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: {**claims, **changes}


DAY = 86400
FORGED = {
    "another nonce": but(nonce="of another question"),
    "no nonce": without("nonce"),
    "for another service": but(aud="another"),
    "for several, given to another": but(aud=[CLIENT, "another"], azp="another"),
    "for several, and no word to whom": but(aud=[CLIENT, "another"]),
    "by another provider": but(iss="https://evil.example"),
    "expired": but(exp=time.time() - DAY),
    "endless": without("exp"),
    "old": but(iat=time.time() - DAY),
    "from the future": but(iat=time.time() + 9 * DAY),
    "of nobody": without("sub"),
    "of a number": but(sub=7),
}


def test_a_token_that_is_not_the_answer_to_this_question_lets_nobody_in(
    site: Site, provider: IdentityProvider
) -> None:
    for name, wrong in FORGED.items():
        provider.forge = wrong
        refused(site, signs_in(site), name)
    provider.forge = lambda claims: claims
    assert signs_in(site).status == 303, "the same person, unforged"


def refused(site: Site, answer: Answer, why: str = "", *, sessions: int = 0) -> None:
    assert answer.status == 400, why
    assert 'role="alert"' in answer.body, why
    with site.store.begin() as tx:
        assert (count(tx, "sessions"), count(tx, "identities")) == (sessions, 0), why


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_that_anybody_could_have_signed_lets_nobody_in(
    site: Site, provider: IdentityProvider, algorithm: str
) -> None:
    provider.algorithm = algorithm
    refused(site, signs_in(site))


def test_a_token_signed_by_a_key_that_is_not_the_providers_lets_nobody_in(
    site: Site, provider: IdentityProvider
) -> None:
    back = comes_back(site, leaves(site))
    real = provider.key
    stranger = RSAKey.generate_key(2048, {"kid": str(real.kid)}, private=True)
    assert site.ask("/sign-in/provider", token=FRESH).status == 303
    provider.document = {"jwks_uri": f"{provider.issuer}/keys"}
    token = provider.token

    def forged(given: dict[str, str]) -> str:
        provider.key, provider.algorithm = stranger, "RS256"
        made = token(given)
        provider.key, provider.algorithm = real, "ES256"
        return made

    provider.token = forged  # type: ignore[method-assign]
    try:
        refused(site, site.ask(back, token=FRESH))
    finally:
        del provider.__dict__["token"]


def test_a_key_that_was_changed_is_looked_for_and_found(
    site: Site, provider: IdentityProvider
) -> None:
    assert signs_in(site).status == 303
    provider.rotate()
    later(provider, seconds=10)
    asked = provider.asked.count("/keys")
    assert signs_in(site).status == 303
    assert signs_in(site).status == 303
    assert provider.asked.count("/keys") == asked + 1
    assert provider.asked.count("/.well-known/openid-configuration") <= 1


@pytest.mark.parametrize("token", ["c" * 43, ""])
def test_an_answer_is_for_the_browser_that_asked(site: Site, token: str) -> None:
    back = comes_back(site, leaves(site))
    refused(site, site.ask(back, token=token))
    assert site.ask(back, token=FRESH).status == 303


def test_an_answer_counts_once(site: Site) -> None:
    back = comes_back(site, leaves(site))
    assert site.ask(back, token=FRESH).status == 303
    again = site.ask(back, token=FRESH)
    assert again.status == 400
    assert "used before" in again.body
    fresh = dict(urllib.parse.parse_qsl(comes_back(site, leaves(site)).partition("?")[2]))
    old = dict(urllib.parse.parse_qsl(back.partition("?")[2]))
    mixed = urllib.parse.urlencode({**fresh, "code": old["code"]})
    assert site.ask(f"/sign-in/provider/back?{mixed}", token=FRESH).status == 400


def test_a_code_of_another_question_is_not_taken(site: Site) -> None:
    """Somebody's own code, slipped into another's answer: the provider holds it to its verifier."""
    theirs = dict(urllib.parse.parse_qsl(comes_back(site, leaves(site)).partition("?")[2]))
    mine = dict(urllib.parse.parse_qsl(comes_back(site, leaves(site)).partition("?")[2]))
    words = urllib.parse.urlencode({**mine, "code": theirs["code"]})
    refused(site, site.ask(f"/sign-in/provider/back?{words}", token=FRESH))


def test_an_answer_that_comes_late_or_from_elsewhere_is_none(
    site: Site, provider: IdentityProvider
) -> None:
    late = comes_back(site, leaves(site))
    later(provider, minutes=11)
    refused(site, site.ask(late, token=FRESH))
    for change in ({"iss": "https://evil.example"}, {"iss": ""}, {"code": ""}):
        told = dict(urllib.parse.parse_qsl(comes_back(site, leaves(site)).partition("?")[2]))
        words = urllib.parse.urlencode({**told, **change})
        refused(site, site.ask(f"/sign-in/provider/back?{words}", token=FRESH))


def test_what_the_provider_says_went_wrong_is_told(site: Site) -> None:
    state = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(leaves(site)).query))["state"]
    words = urllib.parse.urlencode({"error": "access_denied<script>", "state": state})
    answer = site.ask(f"/sign-in/provider/back?{words}", token=FRESH)
    refused(site, answer)
    assert "Acme did not sign you in: access_denied&lt;script&gt;" in answer.body


@pytest.mark.parametrize("next_", ["https://evil.example", "//evil.example", "/\\evil.example", ""])
def test_signing_in_leads_nowhere_else(site: Site, next_: str) -> None:
    assert signs_in(site, next_=next_).leads_to == "/"


def test_a_provider_that_is_away_is_told_in_words_and_passwords_go_on(
    site: Site, provider: IdentityProvider
) -> None:
    later(provider, hours=2)
    provider.status = 503
    answer = site.ask("/sign-in/provider", token=FRESH)
    assert answer.status == 503
    assert "Acme cannot be reached just now" in answer.body
    assert 'name="password"' in answer.body, "the form is there"
    provider.status = 200
    provider.document = {"issuer": "https://evil.example"}
    assert site.ask("/sign-in/provider", token=FRESH).status == 503
    provider.document = {"token_endpoint": "http://elsewhere.example/token"}
    later(provider, hours=2)
    back = comes_back(site, leaves(site))
    assert site.ask(back, token=FRESH).status == 503, "no secret goes where there is no https"
    provider.document = {}
    later(provider, hours=2)
    assert signs_in(site).status == 303


def test_questions_of_one_address_are_limited(site: Site) -> None:
    asked = [site.ask("/sign-in/provider", token=FRESH).status for _ in range(32)]
    assert asked == [303] * 30 + [429] * 2


def asks_to_connect(site: Site, token: str) -> str:
    """What the provider sends back to who wants an account connected."""
    form = site.ask("/account/connections", token=token, form={})
    assert form.status == 200
    there = html.unescape(form.body.partition('class="button" href="')[2].partition('"')[0])
    return comes_back(site, there)


def test_an_account_is_connected_by_who_is_signed_in_to_it(site: Site) -> None:
    mine, other = site.person(Role.CURATOR, name="kim"), site.person(Role.VIEWER, name="lee")
    assert site.ask("/account/connections", token=mine, form={}, proof=False).status == 403
    refused(site, site.ask(asks_to_connect(site, mine), token=other), sessions=2)
    answer = site.ask(asks_to_connect(site, mine), token=mine)
    assert answer.leads_to == "/account", answer.body
    told = site.ask("/account.json", token=session(signs_in(site))).document
    assert (told["name"], told["role"]) == ("kim", "curator")
    assert site.ask(asks_to_connect(site, other), token=other).status == 409, "it is kim's"
    ended = f"/account/connections/{told['connections'][0]['id']}/end"
    assert site.ask(ended, token=other, form={}).status == 404
    assert site.ask(ended, token=mine, form={}).status == 303


def test_the_only_way_in_is_not_given_up(site: Site) -> None:
    mine = session(signs_in(site))
    (one,) = site.ask("/account.json", token=mine).document["connections"]
    assert site.ask(f"/account/connections/{one['id']}/end", token=mine, form={}).status == 409


def test_without_the_extra_the_process_does_not_start_and_says_what_to_do(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {
        "database_url": SecretStr(database_url), "oidc_issuer": "https://id.example.org",
        "oidc_client_id": "x", "web_origin": "https://t.example.org",
    }  # fmt: skip
    Runtime(Settings(**given)).check_provider()
    for change, told in (
        ({"web_origin": None}, "TDSYS_WEB_ORIGIN"),
        ({"oidc_client_id": None}, "TDSYS_OIDC_CLIENT_ID"),
        ({"oidc_issuer": "http://id.example.org"}, "no https address"),
        ({"oidc_first": "mapped"}, "TDSYS_OIDC_ROLES"),
        ({"oidc_roles": '{"a": "king"}'}, "not a role"),
        ({"oidc_roles": "a=b"}, "no JSON"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            Runtime(Settings(**{**given, **change})).check_provider()
    monkeypatch.setitem(sys.modules, "joserfc", None)
    monkeypatch.delitem(sys.modules, "tdsys.oidc", raising=False)
    with pytest.raises(ConfigurationError, match="joserfc") as wrong:
        Runtime(Settings(**given)).check_provider()
    assert "tdsys[oidc]" in wrong.value.remedy
