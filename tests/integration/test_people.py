"""People from the command line and in the store, and what two at once may not do."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tdsys.core.people import ROLES, Person, Right, Role, check_domains, check_name, check_password
from tdsys.errors import Conflict, InvalidInput, NotAllowed, NotFound
from tdsys.stages import people, signing
from tdsys.stages.passwords import Passwords
from tdsys.store import Store
from tdsys.store import people as stored
from tests.commanding import Shell, one_line
from tests.factories import NOW
from tests.stored import count

SECRET = "four plain words here"
Typed = Callable[[str], None]


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords()


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """What the next command reads from standard input."""

    def put(line: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))

    return put


def admins(store: Store, *names: str) -> None:
    with store.begin() as tx:
        for name in names:
            stored.create(
                tx, name=name, password="x", role=Role.ADMIN, domains=None, actor="t", now=NOW
            )


def test_somebody_is_made_shown_changed_and_disabled(
    store: Store, tdsys: Shell, types: Typed, passwords: Passwords
) -> None:
    types(SECRET)
    assert tdsys("user", "create", "Ann", "--role", "curator", "--domain", "algebra").code == 0
    (ann,) = tdsys("user", "list", "--json").document
    assert (ann["name"], ann["role"], ann["domains"]) == ("ann", "curator", ["algebra"])
    assert tdsys("user", "set", "ann", "--role", "reviewer", "--all-domains").code == 0
    found = people.person(store, name="ann")
    assert (found.role, found.domains) == (Role.REVIEWER, None)
    types("another four plain words")
    assert tdsys("user", "set", "ann", "--password").code == 0
    where = signing.Where("192.0.2.7")
    with pytest.raises(signing.WrongPassword):
        signing.sign_in(store, passwords, name="ann", password=SECRET, where=where, now=NOW)
    new = "another four plain words"
    assert signing.sign_in(store, passwords, name="ann", password=new, where=where, now=NOW)
    assert tdsys("user", "disable", "ann").code == 0
    assert "disabled" in tdsys("user", "list").out
    with pytest.raises(signing.WrongPassword):
        signing.sign_in(store, passwords, name="ann", password=new, where=where, now=NOW)
    assert tdsys("user", "set", "ann", "--enable").code == 0
    assert signing.sign_in(store, passwords, name="ann", password=new, where=where, now=NOW)


def test_a_bad_password_or_a_second_of_a_name_is_one_line(tdsys: Shell, types: Typed) -> None:
    types("short")
    refused = tdsys("user", "create", "ann")
    assert refused.code == 2
    assert "5 characters" in one_line(refused)
    types(SECRET)
    assert tdsys("user", "create", "ann").code == 0
    types(SECRET)
    again = tdsys("user", "create", "ann")
    assert again.code == 1
    assert "already" in one_line(again)


def test_a_token_is_printed_and_works_with_the_rights_it_was_made_for(
    store: Store, tdsys: Shell
) -> None:
    admins(store, "ann")
    token = tdsys("token", "create", "ann", "--for", "cron", "--role", "reviewer").out.strip()
    later = NOW + timedelta(days=1)
    person = signing.who_speaks(store, token=token, now=later)
    assert person
    assert person.rights == ROLES[Role.REVIEWER]
    assert tdsys("token", "create", "nobody", "--for", "cron").code == 2


def test_no_password_is_an_argument(tdsys: Shell) -> None:
    assert tdsys("user", "create", "ann", SECRET).code == 2
    assert tdsys("user", "create", "ann", "--password", SECRET).code == 2


def test_two_admins_who_disable_each_other_leave_one(store: Store) -> None:
    admins(store, "ann", "bo")

    def disabled(name: str) -> bool:
        try:
            people.disable(store, name=name, actor="t", now=NOW)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(disabled, ("ann", "bo"))) == [False, True]


def test_the_last_admin_stays_one(store: Store) -> None:
    admins(store, "ann")
    with pytest.raises(Conflict, match="nobody would be left"):
        people.change(store, name="ann", role="viewer", domains=None, actor="t", now=NOW)
    assert people.person(store, name="ann").role is Role.ADMIN


def test_the_record_is_append_only(store: Store) -> None:
    admins(store, "ann")
    for change in ("UPDATE people_events SET actor = 'x'", "DELETE FROM people_events"):
        with pytest.raises(IntegrityError, match="append-only"), store.begin() as tx:
            tx.execute(text(change))


def test_failed_tries_and_ended_sessions_do_not_pile_up(store: Store) -> None:
    admins(store, "ann")
    later = NOW + timedelta(days=8)
    with store.begin() as tx:
        for n in range(3):
            stored.book_try(tx, name=f"n{n}", address="192.0.2.1", now=NOW)
            stored.open_session(tx, user_id=1, token=str(n), address="", browser="", now=NOW)
        stored.book_try(tx, name="n", address="192.0.2.1", now=later)
        stored.open_session(tx, user_id=1, token="new", address="", browser="", now=later)
        assert (count(tx, "sign_in_failures"), count(tx, "sessions")) == (1, 1)


def test_a_persons_rights_end_at_the_borders_of_the_domains() -> None:
    ann = Person(1, "ann", Role.REVIEWER, ROLES[Role.REVIEWER], frozenset({"algebra"}))
    assert ann.may(Right.REVIEW, domain="algebra")
    assert not ann.may(Right.REVIEW, domain="sums")
    assert not ann.may(Right.CURATE, domain="algebra")
    with pytest.raises(NotFound):
        ann.require(Right.CURATE, domain="sums")
    with pytest.raises(NotAllowed, match="right to curate"):
        ann.require(Right.CURATE, domain="algebra")
    anybody = ann._replace(domains=None)
    assert anybody.may(Right.REVIEW, domain="sums")


def test_names_passwords_and_domains_are_checked() -> None:
    assert check_name(" Ann@Example.org ") == "ann@example.org"
    for name in ("", "-x", "a b", "a/b", "x" * 65, "ä", "a\nb"):
        with pytest.raises(InvalidInput):
            check_name(name)
    for password in ("short", "a" * 20, "x" * 2000, "annann12345"):
        with pytest.raises(InvalidInput):
            check_password(password, name="ann")
    with pytest.raises(InvalidInput, match="never limited"):
        check_domains(Role.ADMIN, ["algebra"])
