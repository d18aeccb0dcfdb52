"""What every answer carries, and what is turned away before a page's function sees it."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from tdsys.core.people import Right, Role
from tdsys.errors import Conflict, InvalidInput, NotFound, NotReady, StoreUnavailable
from tdsys.stages import people
from tdsys.web.cookies import form_token
from tdsys.web.guard import LARGEST_BODY
from tdsys.web.pages import Action, Done, Download, File, Page, Upload
from tdsys.web.visit import Visit
from tests.web.conftest import SignedIn
from tests.web.site import Site, passwords, served

CREATE = {"name": "new", "role": "viewer", "password": "four plain words here"}
WRONGS = {
    "InvalidInput": (InvalidInput("no", remedy="mend"), 400),
    "NotFound": (NotFound("no", remedy="mend"), 404),
    "Conflict": (Conflict("no", remedy="mend"), 409),
    "NotReady": (NotReady("no", remedy="mend"), 409),
    "StoreUnavailable": (StoreUnavailable("no", remedy="mend"), 503),
    "TdsysError": (ZeroDivisionError("the secret of the trace"), 500),
}


def raise_(visit: Visit) -> dict[str, object]:
    raise WRONGS[visit.text("kind")][0]


def of_domain(visit: Visit) -> dict[str, object]:
    return {"domain": visit.domain(), "domains": visit.domains}


def change_domain(visit: Visit) -> Done:
    visit.require(Right.REVIEW, domain=visit.field("domain"))
    return Done("/", content={"changed": visit.field("domain")})


def weigh(visit: Visit) -> Done:
    taken, mark = 0, hashlib.sha256()
    for piece in visit.body:
        taken += len(piece)
        mark.update(piece)
    return Done("/", content={"bytes": taken, "sha256": mark.hexdigest()})


def file(_: Visit) -> File:
    return File('a"\r\nX: ü.csv', "text/csv; charset=utf-8", [b"a,", b"b"])


PAGES = (
    Page("/raises", None, raise_, "error.html"),
    Page("/of-domain", Right.LOOK, of_domain, "error.html"),
    Action("/change-domain", Right.REVIEW, change_domain),
    Upload("/weigh", Right.OPERATE, weigh),
    Download("/file", Right.LOOK, file),
)


@pytest.fixture(scope="module")
def own_address(database_url: str) -> Iterator[str]:
    with served(database_url, pages=PAGES) as url:
        yield url


@pytest.fixture
def own(own_address: str, site: Site) -> Site:
    """Pages of this file on the empty database of `site`."""
    return Site(own_address, site.store)


@pytest.mark.parametrize(
    "path",
    ["/sign-in", "/account", "/nowhere", "/people", "/livez", "/static/app.css", "/static/none",
     "/account.json", "/sign-in/"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_every_answer_carries_the_policy(site: Site, path: str, method: str) -> None:
    headers = site.ask(path, token=site.person(Role.VIEWER), method=method).headers
    policy = dict(part.strip().partition(" ")[::2] for part in
                  headers["content-security-policy"].split(";"))  # fmt: skip
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    kept = path == "/static/app.css" and method != "PUT"
    assert headers["cache-control"] == ("public, max-age=86400" if kept else "no-store")
    assert "server" not in headers


@pytest.mark.parametrize(
    ("proof", "headers"),
    [
        (False, {}),
        (False, {"X-CSRF-Token": form_token("another browser's")}),
        (False, {"X-CSRF-Token": ""}),
        (True, {"Sec-Fetch-Site": "cross-site"}),
        (True, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_post_from_another_site_changes_nothing(
    site: Site, proof: bool, headers: dict[str, str]  # noqa: FBT001
) -> None:  # fmt: skip
    token = site.person(Role.ADMIN)
    sent = site.ask("/people", token=token, document=CREATE, proof=proof, headers=headers)
    assert sent.status == 403
    form = site.ask("/people", token=token, form=CREATE, proof=proof, headers=headers)
    assert form.status == 403
    assert [one.name for one in people.listed(site.store)] == ["admin"]


def test_a_post_from_our_page_does(site: Site) -> None:
    token = site.person(Role.ADMIN)
    assert site.ask("/people", token=token, form=CREATE).leads_to == "/people"
    with_header = {**CREATE, "name": "two"}
    here = {"Sec-Fetch-Site": "same-origin"}
    assert site.ask("/people", token=token, document=with_header, headers=here).status == 200
    assert [one.name for one in people.listed(site.store)] == ["admin", "new", "two"]


def test_signing_in_needs_a_form_of_ours_too(site: Site) -> None:
    site.person(name="ann")
    form = {"name": "ann", "password": "four plain words here"}
    assert site.ask("/sign-in", form=form).status == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_another_host_name_is_not_answered(site: Site, host: str) -> None:
    assert site.ask("/sign-in", headers={"Host": host}).status in {400, 421}


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_of_more_than_a_megabyte_is_not_taken(site: Site, *, chunked: bool) -> None:
    where = urlsplit(site.url)
    with closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)) as line:
        headers = {"Content-Type": "application/json", "Cookie": f"tdsys={site.person()}"}
        body = (b" " * 65536 for _ in range(1 + LARGEST_BODY // 65536))
        if chunked:
            line.request("POST", "/account/tokens", body, headers, encode_chunked=True)
        else:
            line.putrequest("POST", "/account/tokens")
            line.putheader("Content-Length", str(LARGEST_BODY + 1))
            line.endheaders()
        assert line.getresponse().status == 413


def test_an_upload_comes_in_pieces_as_long_as_it_likes(own: Site) -> None:
    body = bytes(range(256)) * (3 * LARGEST_BODY // 256)
    token = own.person(Role.OPERATOR)
    headers = {"X-CSRF-Token": form_token(token), "Accept": "application/json"}
    answer = own.ask("/weigh", token=token, body=body, headers=headers)
    assert answer.document["bytes"] == len(body)
    assert answer.document["sha256"] == hashlib.sha256(body).hexdigest()
    assert own.ask("/weigh", token=token, body=body).status == 403
    viewer = own.person(Role.VIEWER)
    headers["X-CSRF-Token"] = form_token(viewer)
    assert own.ask("/weigh", token=viewer, body=b"x", headers=headers).status == 403


def test_a_downloads_name_adds_no_header(own: Site) -> None:
    answer = own.ask("/file", token=own.person(Role.VIEWER))
    assert answer.headers["content-disposition"] == 'attachment; filename="a___X__i_.csv"'.replace(
        "_i_", "__"
    )
    assert answer.body == "a,b"


@pytest.mark.parametrize("kind", WRONGS)
def test_an_error_is_a_status_a_sentence_and_a_remedy_and_never_a_trace(
    own: Site, kind: str
) -> None:
    wrong, status = WRONGS[kind]
    shown, told = own.ask(f"/raises?kind={kind}"), own.ask(f"/raises.json?kind={kind}")
    assert shown.status == told.status == status
    assert told.document["error"] == kind
    assert told.document["remedy"]
    assert told.document["message"] in shown.body
    assert "Traceback" not in shown.body
    if status == 500:
        assert str(wrong) not in shown.body + told.body


def test_a_domain_of_others_is_as_if_it_were_not_there(own: Site) -> None:
    token = own.person(name="ann", domains=["algebra"])
    answers = [own.ask(f"/of-domain.json?domain={name}", token=token) for name in
               ("algebra", "secret", "neverwas")]  # fmt: skip
    assert [one.status for one in answers] == [200, 404, 404]
    assert answers[0].document == {"domain": "algebra", "domains": ["algebra"]}
    told = [one.body.replace(name, "?") for one, name in
            zip(answers[1:], ("secret", "neverwas"), strict=True)]  # fmt: skip
    assert told[0] == told[1]
    posted = [own.ask("/change-domain", token=token, document={"domain": name}).status
              for name in ("algebra", "secret")]  # fmt: skip
    assert posted == [200, 404]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b'"x"', b"[" * 100_000, b"null", b'{"a": NaN}'],
)  # fmt: skip
def test_a_broken_body_is_a_status_not_a_crash(own: Site, body: bytes) -> None:
    token = own.person(domains=["algebra"])
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"Content-Type": kind, "X-CSRF-Token": form_token(token)}
        assert own.ask("/change-domain", token=token, body=body, headers=headers).status in {
            400,
            404,
        }


def test_what_is_no_right_value_of_a_query_is_refused() -> None:
    visit = Visit.__new__(Visit)
    object.__setattr__(visit, "query", {"n": "1e9", "big": "9" * 30, "word": "x", "ok": "7"})
    for name in ("n", "big"):
        with pytest.raises(InvalidInput, match="not usable"):
            visit.number(name, 1, most=10)
    with pytest.raises(InvalidInput, match="not usable"):
        visit.choice("word", Role)
    assert (visit.number("ok", 1, most=10), visit.number("none", 3, most=10)) == (7, 3)


def test_an_api_token_speaks_for_its_person_and_needs_no_form(site: Site) -> None:
    token = site.person(Role.CURATOR, name="ann")
    wanted = {"name": "script", "role": "viewer", "days": 3}
    made = site.ask("/account/tokens", token=token, document=wanted).document["token"]
    bearer = {"Authorization": f"Bearer {made}"}
    found = site.ask("/account", headers=bearer).document
    assert (found["name"], found["rights"]) == ("ann", ["look"])
    assert found["tokens"][0]["used_at"]
    again = {**wanted, "role": "curator"}
    assert site.ask("/account/tokens", headers=bearer, document=again).status == 403
    refused = site.ask("/operations", headers=bearer, document={})
    assert refused.status == 403
    assert "this token leaves out" in refused.document["message"]
    # nor another like itself: a stolen one would never end
    assert site.ask("/account/tokens", headers=bearer, document=wanted).status == 403
    assert (
        site.ask("/account/tokens", token=token, document={**wanted, "role": "admin"}).status == 403
    )
    assert site.ask(f"/account/tokens/{made.split('_')[1]}/end", token=token, form={}).status == 303
    assert site.ask("/account", headers=bearer).status == 401


def test_a_token_ends_with_its_time_and_with_its_person(site: Site) -> None:
    token = site.person(Role.VIEWER, name="ann")
    wanted = {"name": "script", "role": "viewer", "days": 3}
    made = site.ask("/account/tokens", token=token, document=wanted).document["token"]
    bearer = {"Authorization": f"Bearer {made}"}
    assert site.ask("/account", headers=bearer).status == 200
    with site.store.begin() as tx:
        tx.execute(text("UPDATE api_tokens SET expires_at = now()"))
    assert site.ask("/account", headers=bearer).status == 401
    with site.store.begin() as tx:
        tx.execute(text("UPDATE api_tokens SET expires_at = now() + interval '1 day'"))
        tx.execute(text("UPDATE users SET disabled_at = now()"))
    assert site.ask("/account", headers=bearer).status == 401
    assert site.ask("/account.json", token=token).status == 401


@pytest.mark.parametrize("made", ["tds_1_" + "a" * 43, "tds_1_", "x", "tds_99999999999999999999_a"])
def test_a_made_up_token_is_nobody(site: Site, made: str) -> None:
    site.person()
    assert site.ask("/account", headers={"Authorization": f"Bearer {made}"}).status == 401


def test_another_role_takes_effect_at_once_and_asks_to_sign_in(site: Site) -> None:
    admin, ann = site.person(Role.ADMIN), site.person(Role.ADMIN, name="ann")
    change = {"role": "viewer", "domains": "algebra\n\n sums "}
    assert site.ask("/people/ann/change", token=admin, form=change).leads_to == "/people/ann"
    assert site.ask("/people.json", token=ann).status == 401
    found = site.ask("/people/ann.json", token=admin).document["account"]
    assert (found["role"], found["domains"]) == ("viewer", ["algebra", "sums"])
    last = site.ask("/people/admin/disable", token=admin, document={})
    assert (last.status, last.document["error"]) == (409, "Conflict")


def test_https_makes_the_cookie_a_host_cookie(database_url: str, site: Site) -> None:
    with served(database_url, web_origin="https://tdsys.example.org") as url:
        answer = Site(url, site.store).ask("/sign-in", headers={"Host": "tdsys.example.org"})
    assert "; Secure" in answer.cookies["__Host-tdsys"]
    assert "Domain" not in answer.cookies["__Host-tdsys"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_not_ready_without_the_schema_and_says_what_to_do(
    site: Site, new_database: Callable[[], str]
) -> None:  # fmt: skip
    assert site.ask("/readyz").document == {"ready": True}
    with served(new_database()) as url:
        answer = Site(url, site.store).ask("/readyz")
    assert (answer.status, answer.document["remedy"]) == (503, "run `tdsys db upgrade`")


def test_the_frame_shows_only_what_one_may_use(signed_in: SignedIn) -> None:
    page = signed_in(Role.VIEWER)
    page.goto("/")
    assert "People" not in page.locator("nav a").all_inner_texts()
    admin = signed_in(Role.ADMIN)
    admin.goto("/people")
    assert admin.locator("nav [aria-current=page]").inner_text() == "People"


def test_passwords_of_the_wrong_kind_match_nothing() -> None:
    assert not passwords().match("not a hash", "x")
