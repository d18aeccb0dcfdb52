"""Signing in: who gets in, for how long, and what nobody learns who does not."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tdsys.core.people import Role, wait_after
from tdsys.errors import Transient
from tdsys.stages import signing
from tdsys.stages.passwords import AT_ONCE, WAITING, Passwords
from tdsys.store import people
from tests.processes import wait_for
from tests.stored import count
from tests.web.conftest import InBrowser
from tests.web.site import PASSWORD, Answer, Clock, Site, passwords

ANONYMOUS = "a" * 43  # a browser's token before anybody signed in


def enters(site: Site, name: str = "ann", password: str = PASSWORD, **over: str) -> Answer:
    form = {"name": name, "password": password, "next": "/account", **over}
    return site.ask("/sign-in", token=ANONYMOUS, form=form)


def given(answer: Answer) -> str:
    """The token that an answer sets."""
    return answer.cookies["tdsys"].partition("=")[2].partition(";")[0]


def test_somebody_signs_in_and_out(site: Site, in_browser: InBrowser) -> None:
    site.person(Role.REVIEWER, name="ann")
    page = in_browser().new_page()
    page.goto("/account")
    page.get_by_label("Name").fill("Ann ")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("ann")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("you are signed out")
    page.goto("/account")
    assert "/sign-in" in page.url


def test_the_cookie_is_for_this_site_only_and_no_script_reads_it(
    site: Site, in_browser: InBrowser
) -> None:
    site.person(name="ann")
    cookie = enters(site).cookies["tdsys"].lower()
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip() for part in cookie.split(";")}
    page = in_browser(token=site.person(name="ann")).new_page()
    page.goto("/account")
    assert page.evaluate("() => document.cookie") == ""


def test_a_planted_token_is_not_the_one_somebody_signs_in_with(site: Site) -> None:
    site.person(name="ann")
    token = given(enters(site))
    assert token != ANONYMOUS
    assert site.ask("/account", token=ANONYMOUS).leads_to.startswith("/sign-in")
    assert site.ask("/account", token=token).status == 200
    assert given(enters(site)) != token


def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    token = site.person()
    assert site.ask("/sign-out", token=token, form={}).status == 303
    assert site.ask("/account.json", token=token).status == 401


@pytest.mark.parametrize(
    ("steps", "is_in"),
    [
        ([timedelta(hours=11), timedelta(hours=11)], True),
        ([timedelta(hours=13)], False),
        ([timedelta(hours=11)] * 16, False),
    ],
)
def test_a_session_ends_idle_after_12_hours_and_in_any_case_after_7_days(
    site: Site, clock: Clock, steps: list[timedelta], *, is_in: bool
) -> None:
    token = site.person()
    status = 0
    for step in steps:
        clock.ahead += step
        status = site.ask("/account.json", token=token).status
    assert (status == 200) is is_in


def test_the_database_holds_no_token_that_anybody_could_use(site: Site) -> None:
    token = site.person(name="ann")
    wanted = {"name": "x", "role": "viewer", "days": 9}
    made = site.ask("/account/tokens", token=token, document=wanted).document["token"]
    with site.store.begin() as tx:
        told = [
            str(tuple(row))
            for table in ("users", "sessions", "api_tokens", "people_events")
            for row in tx.exec_driver_sql(f"SELECT * FROM {table}").all()  # noqa: S608
        ]
    secrets = [token, made.split("_", 2)[2], PASSWORD]
    assert told
    assert not [secret for secret in secrets for line in told if secret in line]


def test_wrong_name_and_wrong_password_are_told_in_the_same_words(site: Site) -> None:
    site.person(name="ann")
    site.person(name="gone")
    with site.store.begin() as tx:
        boss = people.create(tx, name="boss", password="x", role=Role.ADMIN, domains=None,
                             actor="t", now=_now())  # fmt: skip
        assert boss
        gone = people.named(tx, name="gone").id
        people.disable(tx, user_id=gone, actor="t", now=_now())
    answers = [
        enters(site, "ann", "wrong words again"),
        enters(site, "nobody", PASSWORD),
        enters(site, "gone", PASSWORD),
    ]
    told = [(one.status, one.body.replace(name, "?")) for one, name in
            zip(answers, ("ann", "nobody", "gone"), strict=True)]  # fmt: skip
    assert told[0] == told[1] == told[2]
    assert told[0][0] == 400
    assert "do not belong together" in told[0][1]


def _now() -> datetime:
    return datetime.now(UTC)


def test_every_try_costs_one_comparison_whoever_it_is_for(site: Site) -> None:
    compared: Counter[bool] = Counter()

    class Counting(Passwords):
        def match(self, kept: str | None, password: str) -> bool:
            compared[kept is None] += 1
            return super().match(kept, password)

    site.person(name="ann")
    counting = Counting()
    for name in ("ann", "nobody"):
        with pytest.raises(signing.WrongPassword):
            signing.sign_in(
                site.store, counting, name=name, password="wrong words", now=_now(),
                where=signing.Where("192.0.2.1"),
            )  # fmt: skip
    assert compared == {False: 1, True: 1}


def test_nobodys_password_is_hashed_as_dearly_as_anybodys() -> None:
    made = passwords()
    assert not made.is_outdated(made._nobodys)
    assert made._nobodys.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not made.match(None, "anything")
    assert AT_ONCE == 2


def test_a_flood_of_passwords_leaves_threads_for_pages() -> None:
    made = passwords()
    with ExitStack() as held:
        for _ in range(AT_ONCE):
            held.enter_context(made._slots)
        with ThreadPoolExecutor(AT_ONCE + WAITING) as threads:
            waiting = [threads.submit(made.match, None, "x") for _ in range(AT_ONCE + WAITING)]
            wait_for(lambda: made._places._value == 0, "every place is taken")
            with pytest.raises(Transient, match="too many"):
                made.match(None, "x")
            held.close()
            assert not any(one.result() for one in waiting)


def test_after_four_wrong_tries_one_has_to_wait_even_with_the_right_password(
    site: Site, clock: Clock
) -> None:
    site.person(name="ann")
    assert [enters(site, password="wrong words").status for _ in range(5)] == [400] * 5
    blocked = enters(site)
    assert blocked.status == 429
    assert 25 <= int(blocked.headers["retry-after"]) <= 30
    clock.ahead += timedelta(seconds=31)
    assert enters(site).status == 303
    assert enters(site, password="wrong words").status == 400, "signing in forgave the tries"


def test_names_nobody_has_are_blocked_alike(site: Site) -> None:
    statuses = [enters(site, "nobody", "wrong words").status for _ in range(6)]
    assert statuses == [400] * 5 + [429]


def test_tries_at_the_same_moment_are_no_way_around(site: Site) -> None:
    site.person(name="ann")
    with ThreadPoolExecutor(16) as threads:
        found = Counter(
            threads.map(lambda _: enters(site, password="wrong words").status, range(32))
        )
    assert found == {400: 5, 429: 27}


def test_waiting_doubles_to_a_quarter_of_an_hour() -> None:
    waits = [wait_after(n) for n in range(13)]
    assert waits == [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]


@pytest.mark.parametrize(
    "next_", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)",
              "/ok\r\nSet-Cookie: a=b", "\t//evil.example", ""],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(site: Site, next_: str) -> None:
    site.person(name="ann")
    answer = enters(site, next=next_)
    assert answer.status == 303
    assert answer.leads_to in {"/", "/ok"}
    assert "a" not in answer.cookies
    assert 'href="https://evil' not in site.ask(f"/sign-in?next={quote(next_)}").body


def test_a_changed_password_ends_every_other_session(site: Site) -> None:
    mine, other = site.person(name="ann"), site.person(name="ann")
    form = {"old": PASSWORD, "new": "another four plain words"}
    answer = site.ask("/account/password", token=mine, form=form)
    assert answer.status == 303
    tokens = (mine, other, given(answer))
    assert [site.ask("/account.json", token=t).status for t in tokens] == [401, 401, 200]
    assert enters(site).status == 400
    assert enters(site, password="another four plain words").status == 303


@pytest.mark.parametrize("new", ["short", "aaaaaaaaaaaaaaaa", "x" * 1025, "ann-ann-ann"])
def test_a_bad_password_is_refused_and_the_form_is_shown_again(site: Site, new: str) -> None:
    token = site.person(name="ann")
    answer = site.ask("/account/password", token=token, form={"old": PASSWORD, "new": new})
    assert answer.status == 400
    assert 'role="alert"' in answer.body
    assert new not in answer.body.replace('maxlength="1024"', "") or new == "short"
    assert site.ask("/account.json", token=token).status == 200


def test_what_happened_is_written_down(site: Site) -> None:
    site.person(name="ann")
    enters(site, password="wrong words")
    enters(site, "nobody")
    site.ask("/sign-out", token=given(enters(site)), form={})
    with site.store.begin() as tx:
        events = [one.event for one in people.happened(tx, limit=9)]
        assert count(tx, "sign_in_failures") == 1, "the name nobody has; ann signed in"
    assert events == ["signed_out", "signed_in", "refused", "created"]
