"""Signing in by the word of an identity provider, and tying that to an account one has."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from tdsys.core.identity import (
    First,
    Grant,
    Identity,
    NotVouched,
    Terms,
    checked,
    granted,
)
from tdsys.core.people import Person
from tdsys.errors import Conflict, NotAllowed
from tdsys.stages import signing
from tdsys.stages.signing import TooManyTries, Where
from tdsys.store import Store, Tx, identities, people
from tdsys.store.identities import Connection, Known, Question

MOST_OPEN = 30  # questions of one address
SECRET_BYTES = 32
TRIES = 3


class Registered(Protocol):
    """What both know of each other."""

    @property
    def client_id(self) -> str:
        """How the provider calls this service."""
        ...

    @property
    def called(self) -> str:
        """The provider, as people call it."""
        ...


class Voucher(Protocol):
    """A provider that says who somebody is."""

    @property
    def issuer(self) -> str:
        """Its own address."""
        ...

    @property
    def registration(self) -> Registered:
        """What both know of each other."""
        ...

    def address(self, *, back: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent."""
        ...

    def claims(self, *, code: str, back: str, verifier: str) -> dict[str, Any]:
        """What it says of whoever brought the code."""
        ...

    def says_who_it_is(self) -> bool:
        """Whether it names itself when it sends a browser back."""
        ...


class Answer(NamedTuple):
    """What a browser brought back, and the token by which it is known here."""

    browser: str
    state: str
    code: str
    error: str
    issuer: str


class Arrived(NamedTuple):
    """Somebody who is in: the browser's new token (none when it was in before), and where to."""

    token: str | None
    next: str


def begin(
    store: Store,
    voucher: Voucher,
    *,
    back: str,
    browser: str,
    where: Where,
    now: datetime,
    next_: str = "/",
    person: Person | None = None,
) -> str:
    """Where to send this browser; with `person` the answer is tied to that account."""
    state, nonce, verifier = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(3))
    there = voucher.address(back=back, state=state, nonce=nonce, verifier=verifier)
    question = Question(nonce, verifier, next_, person.id if person else None)
    with store.begin() as tx:
        open_ = identities.ask(
            tx, state=state, browser=browser, question=question, address=where.address, now=now
        )
        if open_ > MOST_OPEN:
            raise TooManyTries(int(identities.LASTS.total_seconds()))
    return there


def finish(
    store: Store,
    voucher: Voucher,
    terms: Terms,
    *,
    answer: Answer,
    back: str,
    person: Person | None,
    where: Where,
    now: datetime,
) -> Arrived:
    """Let in whom the provider vouches for; NotVouched, NotAllowed or Transient."""
    with store.begin() as tx:
        question = identities.answer(tx, state=answer.state, browser=answer.browser, now=now)
    if question is None:
        raise NotVouched(
            "this sign-in was used before, is too old, or was begun in another browser",
            remedy="sign in once more",
        )
    _check_answer(voucher, answer)
    claims = voucher.claims(code=answer.code, back=back, verifier=question.verifier)
    identity = checked(
        claims, issuer=voucher.issuer, client_id=voucher.registration.client_id,
        nonce=question.nonce, now=now,
    )  # fmt: skip
    if question.user_id is not None:
        _tie(store, identity, user_id=question.user_id, person=person, now=now)
        return Arrived(None, question.next)
    user_id = _account(store, voucher, terms, identity, now=now)
    token = signing.open_session(
        store, user_id=user_id, where=where, now=now, vouched=identity.issuer
    )
    return Arrived(token, question.next)


def _check_answer(voucher: Voucher, answer: Answer) -> None:
    called = voucher.registration.called
    if answer.error:
        raise NotVouched(
            f"{called} did not sign you in: {answer.error[:60]}", remedy="sign in once more"
        )
    is_named = bool(answer.issuer) or voucher.says_who_it_is()
    if not answer.code or (is_named and answer.issuer != voucher.issuer):
        raise NotVouched(f"this answer is not from {called}", remedy="sign in once more")


def _tie(
    store: Store, identity: Identity, *, user_id: int, person: Person | None, now: datetime
) -> None:
    if person is None or person.id != user_id:
        raise NotVouched(
            "somebody else is signed in now", remedy="sign in as who you were, and connect again"
        )
    with store.begin() as tx:
        identities.connect(
            tx, user_id=user_id, issuer=identity.issuer, subject=identity.subject,
            follows=False, actor=person.name, now=now,
        )  # fmt: skip


def _account(
    store: Store, voucher: Voucher, terms: Terms, identity: Identity, *, now: datetime
) -> int:
    """The account of an identity: two first sign-ins at the same moment make one."""
    for _ in range(TRIES):
        with store.begin() as tx:
            known = identities.find(tx, issuer=identity.issuer, subject=identity.subject, now=now)
            found = _known(tx, terms, identity, known, now=now) if known else None
        if known and found is None:
            raise _stranger(identity)
        if found is not None:
            return found
        try:
            with store.begin() as tx:
                return _made(tx, voucher, terms, identity, now=now)
        except Conflict:
            continue  # somebody was faster: with the identity, or with the name
    raise Conflict("somebody signs in as you just now", remedy="sign in once more")


def _known(tx: Tx, terms: Terms, identity: Identity, known: Known, *, now: datetime) -> int | None:
    """Whose account it is; None: the provider grants nothing any more, and all access has ended."""
    if known.is_disabled:
        raise NotVouched("your account here is disabled", remedy="ask an admin")
    if known.follows and terms.first is First.MAPPED:
        grant = granted(identity, terms)
        if grant is None:
            people.end_access(tx, user_id=known.user_id, actor=identity.issuer, now=now)
            return None
        held = None if known.domains is None else frozenset(known.domains)
        if grant != Grant(known.role, held):
            _follow(tx, known, grant, identity, now=now)
    return known.user_id


def _follow(tx: Tx, known: Known, grant: Grant, identity: Identity, *, now: datetime) -> None:
    try:
        people.change(
            tx, user_id=known.user_id, role=grant.role, domains=grant.domains,
            actor=identity.issuer, now=now,
        )  # fmt: skip
    except Conflict as alone:
        raise NotVouched(
            f"the provider makes you {grant.role}, but nobody else here is an admin",
            remedy="make one on the server: `tdsys user create NAME --role admin`",
        ) from alone


def _made(tx: Tx, voucher: Voucher, terms: Terms, identity: Identity, *, now: datetime) -> int:
    """A new account, never one that is there: neither a name nor an e-mail proves anything."""
    grant = granted(identity, terms)
    if grant is None:
        raise _stranger(identity)
    made = people.create(
        tx, name=_free(tx, identity.name), password=None, role=grant.role, domains=grant.domains,
        actor=voucher.issuer, now=now,
    )  # fmt: skip
    identities.connect(
        tx, user_id=made, issuer=identity.issuer, subject=identity.subject,
        follows=terms.first is First.MAPPED, actor=voucher.issuer, now=now,
    )  # fmt: skip
    return made


def _free(tx: Tx, name: str) -> str:
    number, found = 1, name
    while people.is_taken(tx, name=found):
        number += 1
        found = f"{name}-{number}"
    return found


def _stranger(identity: Identity) -> NotVouched:
    return NotVouched(
        f"{identity.name!r} has no account here",
        remedy="ask an admin; who has one with a password connects it on the account's page",
    )


def connections(store: Store, person: Person) -> list[Connection]:
    """How else a person signs in."""
    with store.begin() as tx:
        return identities.connections(tx, user_id=person.id)


def has_password(store: Store, person: Person) -> bool:
    """Whether a person can sign in by a password."""
    with store.begin() as tx:
        return people.named(tx, name=person.name).password is not None


def disconnect(store: Store, person: Person, *, number: int, by_token: bool, now: datetime) -> None:
    """Let an identity sign in to the own account no longer."""
    if by_token:
        raise NotAllowed("an API token does not change how you sign in", remedy="sign in for it")
    with store.begin() as tx:
        identities.disconnect(tx, user_id=person.id, number=number, actor=person.name, now=now)
